package check

import (
	"fmt"
	"slices"

	"github.com/homeward-lab/homeward/reports/record"
)

// Saturated says why the run's figures may be the machine's instead of the
// network's, empty if there is no sign of it.
func Saturated(r *record.Records) string {
	var text string
	more := 0
	for _, e := range r.Events {
		switch {
		case e.Kind != "saturated":
		case text == "":
			text = e.Node + ": " + e.Text
		default:
			more++
		}
	}
	if more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

// Judge is a run's verdict: the checks in expectFail must fail, all others
// must pass. What is otherwise in a lab that was saturated, as the text tells,
// cannot be judged. It returns the results with Expected and UnexpectedPass set, in order; an entry of
// expectFail that is no check is added as an error. Warnings do not fail a
// run, but one that could not be judged is an error like any other.
func Judge(results []record.CheckResult, expectFail []string, saturated string) (record.Verdict, []record.CheckResult) {
	results = slices.Clone(results)
	for _, id := range expectFail {
		if !slices.ContainsFunc(results, func(r record.CheckResult) bool { return r.ID == id }) {
			results = append(results, record.CheckResult{ID: id, Verdict: record.Error, Detail: "expect_fail names a check that was not evaluated"})
		}
	}
	verdict := record.Pass
	for i := range results {
		r := &results[i]
		listed := slices.Contains(expectFail, r.ID)
		r.Expected = listed && r.Verdict == record.Fail
		if effect(*r, listed) == record.Fail && saturated != "" {
			r.Verdict, r.Detail = record.Error, r.Detail+"; the lab was saturated: "+saturated
		}
		verdict = Worse(verdict, effect(*r, listed))
		if r.UnexpectedPass = listed && r.Verdict == record.Pass && r.Level != Warning; r.UnexpectedPass {
			r.Detail += "; this variant expects it to fail, and it held"
		}
	}
	return verdict, results
}

// TimesAlone reports whether nothing but checks of times fell short that were to hold,
// of results that Judge gave: another try of a lab whose machine was busy may show that
// those hold.
func TimesAlone(checks []*Check, results []record.CheckResult) bool {
	some := false
	for i := range results {
		r := &results[i]
		if effect(*r, r.Expected || r.UnexpectedPass) != record.Fail {
			continue
		}
		if r.UnexpectedPass || !slices.ContainsFunc(checks, func(c *Check) bool { return c.input.ID == r.ID && c.ofTimes() }) {
			return false
		}
		some = true
	}
	return some
}

// Together is what two tries of one run show, both judged: of a check that the later
// could not judge what the earlier found. Either may be nil.
func Together(earlier, later []record.CheckResult) (record.Verdict, []record.CheckResult) {
	results := slices.Clone(later)
	verdict := record.Pass
	for i := range results {
		r := &results[i]
		if r.Verdict == record.Error {
			if k := slices.IndexFunc(earlier, func(e record.CheckResult) bool { return e.ID == r.ID }); k >= 0 && earlier[k].Verdict != record.Error {
				*r = earlier[k]
			}
		}
		verdict = Worse(verdict, effect(*r, r.Expected || r.UnexpectedPass))
	}
	return verdict, results
}

// effect is what one check means for the run.
func effect(r record.CheckResult, expectedToFail bool) record.Verdict {
	switch r.Verdict {
	case record.Pass, record.Fail:
		if (r.Verdict == record.Fail) == expectedToFail || r.Level == Warning {
			return record.Pass
		}
		return record.Fail
	case record.Skip:
		return record.Skip
	}
	return record.Error
}

// Worse is the one that decides when both are found: fail, then error, then
// pass, then skip. A check that fell short is certain even where another could
// not be judged.
func Worse(a, b record.Verdict) record.Verdict {
	order := []record.Verdict{record.Skip, record.Pass, record.Error, record.Fail}
	rank := func(v record.Verdict) int {
		if i := slices.Index(order, v); i >= 0 {
			return i
		}
		return slices.Index(order, record.Error) // an unknown word is no verdict
	}
	if rank(b) > rank(a) {
		return order[rank(b)]
	}
	return order[rank(a)]
}

// Exit codes that follow from verdicts.
const (
	ExitPass  = 0
	ExitFail  = 1
	ExitSkip  = 4 // only skips
	ExitError = 5
)

// ExitCode is the process's exit code for a set of runs: 0 all hold, 1 a check
// fell short, 5 something could not be judged, 4 there were only skips. No run
// at all is an error: nothing was shown.
func ExitCode(runs []record.Summary) int {
	if len(runs) == 0 {
		return ExitError
	}
	verdict := record.Skip
	for _, r := range runs {
		verdict = Worse(verdict, r.Verdict)
	}
	switch verdict {
	case record.Pass:
		return ExitPass
	case record.Fail:
		return ExitFail
	case record.Skip:
		return ExitSkip
	}
	return ExitError
}
