package study

import (
	"fmt"
	"math"
	"slices"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/stat"
)

// fewEvents is how many events must have been seen for the interval of a share: of
// fewer, values are so skew that Student's t claims too much.
const fewEvents = 10

// sample is what is known of a point.
type sample struct {
	replicas []Replica
	outcomes []*Outcome
}

// measured are a measure's values that are independent of each other: means over the
// seeds of each topology where there are several, since what one graph says it says
// with every seed.
func (s *sample) measured(of func(*Outcome) (float64, bool)) (values []float64, missing int) {
	var topologies []int
	sums, counts := map[int]float64{}, map[int]float64{}
	var raw []float64
	for i, o := range s.outcomes {
		v, ok := of(o)
		if !ok {
			missing++
			continue
		}
		t := s.replicas[i].Topology
		if counts[t] == 0 {
			topologies = append(topologies, t)
		}
		sums[t] += v
		counts[t]++
		raw = append(raw, v)
	}
	if len(topologies) < 2 {
		return raw, missing
	}
	for _, t := range topologies {
		values = append(values, sums[t]/counts[t])
	}
	return values, missing
}

func (s *sample) topologies() int {
	var all []int
	for _, r := range s.replicas {
		if !slices.Contains(all, r.Topology) {
			all = append(all, r.Topology)
		}
	}
	return len(all)
}

func named(measure string) func(*Outcome) (float64, bool) {
	return func(o *Outcome) (float64, bool) {
		v, ok := o.Measures[measure]
		return v, ok
	}
}

// estimate is a measure's, and false if no outcome has it.
func (s *sample) estimate(measure string, level float64) (record.StudyEstimate, bool) {
	values, missing := s.measured(named(measure))
	if len(values) == 0 {
		return record.StudyEstimate{}, false
	}
	e := describe(measure, values, level)
	switch events, trials := s.events(measure); {
	case missing > 0:
		e.Refused = fmt.Sprintf("%d of %d replicas have no value", missing, len(s.outcomes))
	case trials > 0 && events == 0:
		e.Refused = fmt.Sprintf("never seen in %.3g trials: below %.2g with 95 %%, if they are independent; longer runs are a poor way to see it", trials, 3/trials)
	case trials > 0 && events < fewEvents:
		e.Refused = fmt.Sprintf("seen %.0f times, want at least %d", events, fewEvents)
	case len(values) == 1:
		s.within(&e, measure, level)
	default:
		s.controlled(&e, measure, values, level)
		if e.Half != nil && *e.Half == 0 && 0 < events && events < trials {
			e.Half, e.Refused = nil, fmt.Sprintf("all of %d replicas have the same, of something that is left to chance: more would differ", len(values))
		}
	}
	return e, true
}

// describe is the estimate without an interval.
func describe(measure string, values []float64, level float64) record.StudyEstimate {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return record.StudyEstimate{Measure: measure, Mean: sum / float64(len(values)), Level: level, N: len(values), Least: slices.Min(values), Greatest: slices.Max(values)}
}

// events are how often a share's event was seen, and of how many trials.
func (s *sample) events(measure string) (events, trials float64) {
	for _, o := range s.outcomes {
		events += o.Measures[measure] * o.Of[measure]
		trials += o.Of[measure]
	}
	return math.Round(events), trials
}

// interval takes over what stat found.
func interval(e *record.StudyEstimate, x stat.Estimate, err error) {
	switch {
	case err != nil:
		e.Refused = err.Error()
	case math.IsNaN(x.Half) || math.IsInf(x.Half, 0):
		e.Refused = "no finite interval"
	default:
		e.Mean, e.Half, e.N = x.Mean, &x.Half, x.N
	}
}

// controlled is the interval over replicas, by the control variate where the
// outcomes have one and it narrows the interval.
func (s *sample) controlled(e *record.StudyEstimate, measure string, values []float64, level float64) {
	plain, err := stat.Mean(values, level)
	interval(e, plain, err)
	expected, all := 0.0, true
	control, _ := s.measured(func(o *Outcome) (float64, bool) {
		c, ok := o.Controls[measure]
		all = all && ok
		expected = c.Expected
		return c.Value, ok
	})
	if err != nil || !all || len(control) != len(values) {
		return
	}
	if x, err := stat.Controlled(values, control, expected, level); err == nil && x.Half < plain.Half {
		interval(e, x, nil)
		e.Note = fmt.Sprintf("by a control variate, %.1f times narrower", plain.Half/x.Half)
	}
}

// within is the interval of a single replica, from its series: the beginning cut off,
// by means of batches.
func (s *sample) within(e *record.StudyEstimate, measure string, level float64) {
	series := s.outcomes[0].Series[measure]
	if len(series) == 0 {
		e.Refused = "one replica"
		return
	}
	cut, err := stat.Warmup(series)
	if err != nil {
		e.Refused = err.Error()
		return
	}
	x, err := stat.Batches(series[cut:], level)
	interval(e, x, err)
	e.Note = fmt.Sprintf("of one run, its first %d of %d values cut off as warm-up", cut, len(series))
}

// difference is a point's measure less the reference's, replica by replica.
func (s *sample) difference(from *sample, measure string, level float64) (record.StudyEstimate, bool) {
	both := sample{}
	var d []*Outcome
	for i, r := range s.replicas {
		k := slices.Index(from.replicas, r)
		if k < 0 {
			continue
		}
		a, okA := from.outcomes[k].Measures[measure]
		b, okB := s.outcomes[i].Measures[measure]
		if okA && okB {
			both.replicas = append(both.replicas, r)
			d = append(d, &Outcome{Measures: map[string]float64{measure: b - a}})
		}
	}
	both.outcomes = d
	values, _ := both.measured(named(measure))
	if len(values) == 0 {
		return record.StudyEstimate{}, false
	}
	e := describe(measure, values, level)
	x, err := stat.Mean(values, level)
	interval(&e, x, err)
	return e, true
}

// narrow says whether half the interval is at most a share of the mean.
func narrow(e record.StudyEstimate, share float64) bool {
	return e.Half != nil && (*e.Half <= share*math.Abs(e.Mean) || *e.Half == 0)
}

// tables are the outcomes' tables, each value the mean over replicas; a row that a
// replica does not have is nothing in it.
func (s *sample) tables() map[string]record.StudyTable {
	all := map[string]record.StudyTable{}
	for _, name := range s.tableNames() {
		var t record.StudyTable
		at := map[string]int{}
		for _, o := range s.outcomes {
			one := o.Tables[name]
			if len(t.Columns) == 0 {
				t.Keys, t.Columns = one.Keys, one.Columns
			}
			for _, r := range one.Rows {
				key := fmt.Sprintf("%q", r.Key)
				i, ok := at[key]
				if !ok {
					i = len(t.Rows)
					at[key] = i
					t.Rows = append(t.Rows, record.StudyRow{Key: r.Key, Values: make([]float64, len(r.Values)), Greatest: slices.Clone(r.Values)})
				}
				for k, v := range r.Values {
					t.Rows[i].Values[k] += v / float64(len(s.outcomes))
					t.Rows[i].Greatest[k] = max(t.Rows[i].Greatest[k], v)
				}
			}
		}
		all[name] = t
	}
	return all
}

func (s *sample) tableNames() []string {
	var names []string
	for _, o := range s.outcomes {
		for name := range o.Tables {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
