package compare

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// ErrNothing is wrapped where there is no pair of runs to compare.
var ErrNothing = errors.New("nothing to compare")

// Judge compares two runs: Runs does.
type Judge func(a, b *record.Records) (*Result, error)

// Engines compares the engines of one results directory: each run with that of
// the first engine of its variant.
func Engines(r *record.Results, judge Judge) ([]*Result, error) {
	type variant struct{ scenario, variant string }
	first := make(map[variant]*record.Records)
	var all []*Result
	for _, run := range r.Runs {
		v := variant{run.Run.Scenario, run.Run.Variant}
		if first[v] == nil {
			first[v] = run
			continue
		}
		one, err := with(judge, r, first[v], r, run)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: %w: no variant was run on two engines", r.Dir, ErrNothing)
	}
	return all, nil
}

// Results compares two results directories, run by run: those of one scenario,
// variant and engine, or, where each has a variant once, whatever the engine. A
// run that is in one of them alone is a difference.
func Results(a, b *record.Results, judge Judge) ([]*Result, error) {
	var all []*Result
	used := make(map[*record.Records]bool)
	for _, x := range a.Runs {
		y := b.Run(x.Run.Scenario, x.Run.Variant, x.Run.Engine)
		if y == nil && count(a, x) == 1 && count(b, x) == 1 {
			y = find(b, x)
		}
		if y == nil {
			all = append(all, &Result{A: name(x), Differences: []Difference{{What: "run", A: string(verdict(a, x))}}})
			continue
		}
		used[y] = true
		one, err := with(judge, a, x, b, y)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	for _, y := range b.Runs {
		if !used[y] {
			all = append(all, &Result{B: name(y), Differences: []Difference{{What: "run", B: string(verdict(b, y))}}})
		}
	}
	if len(used) == 0 {
		return nil, fmt.Errorf("%s and %s: %w: they have no scenario and variant in common", a.Dir, b.Dir, ErrNothing)
	}
	return all, nil
}

func same(x, y *record.Records) bool {
	return x.Run.Scenario == y.Run.Scenario && x.Run.Variant == y.Run.Variant
}

// count is how many engines ran the variant of x.
func count(r *record.Results, x *record.Records) (n int) {
	for _, y := range r.Runs {
		if same(x, y) {
			n++
		}
	}
	return n
}

func find(r *record.Results, x *record.Records) *record.Records {
	for _, y := range r.Runs {
		if same(x, y) {
			return y
		}
	}
	return nil
}

// Agreement is the id of the check that a run agrees with an engine's, which no
// file's check can have. It is of comparison, and is not compared itself.
func Agreement(engine string) string { return agreement + engine }

const agreement = "agrees with "

// own are the checks of a summary's file.
func own(all []record.CheckResult) []record.CheckResult {
	return slices.DeleteFunc(slices.Clone(all), func(c record.CheckResult) bool { return strings.HasPrefix(c.ID, agreement) })
}

// disagreed reports whether a verdict is of a run that did not agree with another:
// that is found here anew.
func disagreed(s *record.Summary) bool {
	return slices.ContainsFunc(s.Checks, func(c record.CheckResult) bool {
		return strings.HasPrefix(c.ID, agreement) && c.Verdict != record.Pass
	})
}

// with compares two runs and the verdicts of their checks.
func with(judge Judge, ra *record.Results, a *record.Records, rb *record.Results, b *record.Records) (*Result, error) {
	r, err := judge(a, b)
	if err != nil {
		return nil, err
	}
	x, y := ra.Summary(a.Run), rb.Summary(b.Run)
	if x == nil || y == nil {
		return r, nil
	}
	if x.Verdict != y.Verdict && !disagreed(x) && !disagreed(y) {
		r.judged("verdict", x.Verdict, y.Verdict)
	}
	other := make(map[string]record.Verdict)
	for _, c := range own(y.Checks) {
		other[c.ID] = c.Verdict
	}
	for _, c := range own(x.Checks) {
		if v, both := other[c.ID]; !both || v != c.Verdict {
			r.judged("check "+c.ID, c.Verdict, v)
		}
		delete(other, c.ID)
	}
	for _, c := range own(y.Checks) {
		if v, alone := other[c.ID]; alone {
			r.add(Difference{What: "check " + c.ID, B: string(v)})
		}
	}
	return r, nil
}

// judged is a difference of verdicts; none that says anything where one of the runs
// could not be judged.
func (r *Result) judged(what string, a, b record.Verdict) {
	d := Difference{What: what, A: string(a), B: string(b)}
	if a == record.Error || b == record.Error {
		d.Why = "one of the runs could not be judged"
	}
	r.add(d)
}

func verdict(r *record.Results, x *record.Records) record.Verdict {
	if s := r.Summary(x.Run); s != nil {
		return s.Verdict
	}
	return record.Error
}
