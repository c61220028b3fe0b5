package study

import (
	"fmt"
	"slices"

	"github.com/homeward-lab/homeward/reports/record"
)

// expected are the measures over all states of failure, each weighed by how likely it
// is: what a simulation would have to run for years to see.
func (r *Runner) expected(of *record.Study) []record.StudyExpected {
	f := r.Study.Failures
	if f == nil || f.MTBF == 0 {
		return nil
	}
	n := len(r.Datacenters)
	if len(f.Of) > 0 {
		n = len(f.Of)
	}
	var order []string
	groups := map[string][]record.StudyPoint{}
	for _, p := range of.Points {
		key := fmt.Sprintf("%q %q", p.Case, p.Values)
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], p)
	}
	var out []record.StudyExpected
	for _, key := range order {
		for _, m := range of.Measures {
			e := record.StudyExpected{Case: groups[key][0].Case, Values: groups[key][0].Values, Measure: m.Name, Beyond: 1}
			half, sure := 0.0, true
			for _, p := range groups[key] {
				x, ok := p.Estimate(m.Name)
				if !ok {
					continue
				}
				w := likely(f, len(p.Down), n)
				e.Mean += w * x.Mean
				e.Beyond -= w
				if x.Half == nil {
					sure = false
				} else {
					half += w * *x.Half // states share their seeds: no better than the sum
				}
			}
			if e.Beyond = max(0, e.Beyond); e.Beyond > 0.999 {
				continue
			}
			e.Mean /= 1 - e.Beyond
			if half /= 1 - e.Beyond; sure {
				e.Half = &half
			}
			out = append(out, e)
		}
	}
	return slices.Clip(out)
}
