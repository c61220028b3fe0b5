// Package check evaluates a scenario's checks over records: the same code for
// every engine.
//
// Compile happens before anything starts, against the measures that the
// scenario can have (EnvSpec): a misspelt measure is an error in the file, with
// a column and a suggestion, and never a false pass. It is not a general
// language: comparisons, arithmetic and logic over measures, nothing else.
//
// Its law: a check that cannot be judged is an error, never a pass. A measure
// without a value (the percentile of no answers, a share of nothing, a total
// of a run that was interrupted) makes the check an error when it is reached,
// and so does a division by zero.
//
// # Time
//
// Expect is judged at the end of the run. Always and Never are judged there too,
// over final totals: therefore they accept only measures that never shrink
// (counters, maxima, consistent), for which "always at most n" and "at most n at
// the end" are the same.
//
// Eventually, and every check with After, is judged over the time line instead:
// at each moment at which a flow or session ends or a counted event happens, over
// what has ended since judging began. So they accept what is known at every
// moment: not what servers tell at their end alone. A moment at which a measure
// has no value yet is passed over; if none has one, that is an error.
package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/homeward-lab/homeward/reports/record"
)

// Kind is how a check's expression is judged.
type Kind string

// The kinds of the scenario language.
const (
	Expect     Kind = "expect"
	Always     Kind = "always"
	Never      Kind = "never"
	Eventually Kind = "eventually"
)

// Warning is the level of a check that does not fail the run.
const Warning = "warning"

// Input is a check as the file gives it.
type Input struct {
	ID   string
	Kind Kind
	Expr string
	// Vs is the variant whose measures the expression reaches as vs.<traffic>.<measure>; empty means none.
	Vs string
	// Level is "warning" or "error"; empty means error.
	Level string
	// After is the fault at which judging begins; empty means the start of traffic.
	After string
	// Within bounds Eventually, from where judging begins; 0 means the end of the run.
	Within time.Duration
}

// CompileError is a mistake in a check. Line and Col count from 1 within the
// expression, Col in characters; both are 0 if the mistake is outside it.
type CompileError struct {
	ID        string
	Line, Col int
	Msg       string
	// Hint is a suggestion; it may be empty.
	Hint string
}

// Error implements error.
func (e *CompileError) Error() string {
	text := e.Msg
	if e.ID != "" {
		text = "check " + e.ID + ": " + text
	}
	if e.Line > 0 {
		text = fmt.Sprintf("%s (%d:%d)", text, e.Line, e.Col)
	}
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Check is a compiled check. It is immutable and safe for concurrent use.
type Check struct {
	input   Input
	program *vm.Program
	used    []string // measures in the order of their first use
	schema  schema
	spec    EnvSpec
}

// ofTimes reports whether the check asks how long something took, or took at most.
func (c *Check) ofTimes() bool {
	return c.input.Within > 0 || slices.ContainsFunc(c.used, func(measure string) bool { return strings.Contains(measure, "_ms") })
}

// EvaluateAll judges every check over one run. others holds the records of the
// same engine's other variants by name. What cannot be judged is an Error.
func EvaluateAll(checks []*Check, run *record.Records, others map[string]*record.Records) []record.CheckResult {
	results := make([]record.CheckResult, 0, len(checks))
	var own values
	for _, c := range checks {
		if own == nil {
			own = measure(run, c.spec)
		}
		results = append(results, c.evaluate(run, own, others[c.input.Vs]))
	}
	return results
}

func (c *Check) evaluate(run *record.Records, own values, other *record.Records) record.CheckResult {
	result := record.CheckResult{ID: c.input.ID, Level: c.input.Level, Verdict: record.Error}
	if why := incomplete(run); why != "" {
		result.Detail = "cannot be judged: " + why
		return result
	}
	all := own
	if c.input.Vs != "" {
		if why := incomplete(other); why != "" {
			result.Detail = fmt.Sprintf("cannot be compared with variant %s: %s", c.input.Vs, why)
			return result
		}
		all = all.with("vs.", measure(other, c.spec))
	}
	if c.input.overTime() {
		j := c.overWindow(run)
		result.Verdict, result.Detail = j.verdict, j.detail
		return result
	}
	got, err := vm.Run(c.program, all.environment())
	if err != nil {
		result.Detail = "cannot be judged: " + cause(err)
		return result
	}
	holds, ok := got.(bool)
	if !ok {
		result.Detail = fmt.Sprintf("cannot be judged: the expression gave %v, want true or false", got)
		return result
	}
	result.Verdict = record.Fail
	if holds != (c.input.Kind == Never) {
		result.Verdict = record.Pass
	}
	result.Detail = c.detail(all)
	if result.Verdict == record.Fail {
		result.Detail += example(c.used, run)
	}
	return result
}

// incomplete says why records cannot be judged, or nothing.
func incomplete(r *record.Records) string {
	switch {
	case r == nil:
		return "it has no results"
	case r.Run.Partial:
		return "the run did not finish"
	}
	return ""
}

// cause is the error without the library's drawing of the patched expression.
func cause(err error) string {
	if fe, ok := errors.AsType[*file.Error](err); ok {
		if fe.Prev != nil {
			return fe.Prev.Error()
		}
		return fe.Message
	}
	return err.Error()
}

// Reserved lists the names that no traffic may have, because checks use them
// for something else.
func Reserved() []string {
	return slices.Concat(globals(), []string{"vs", "true", "false", "nil", "and", "or", "not", "in", "let", "if", "else",
		"matches", "contains", "startsWith", "endsWith"})
}
