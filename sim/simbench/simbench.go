// Package simbench measures the simulator for `homeward bench sim`: the queue of
// events, packets on a chain of routers, flows that share links, a whole scenario's hubs, what a
// flow takes in memory, and routes over a graph like the Internet.
//
// Its law is that of all benches: a number is printed beside what it is compared
// with, measured in the same run and interleaved, and results are checked before
// speed is. The baselines are ns-3 and, where links are shared without packets,
// SimGrid, for which it builds programs of its own; the tests judge this
// simulator's TCP by the same program.
package simbench

import (
	"cmp"
	"context"
	"slices"

	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Goals: how many times faster than the baseline, and what an
// event may allocate.
const (
	goalHold       = 3.5
	goalChain      = 100
	goalMaxmin     = 25
	goalEventBytes = 0
)

// Bench says how to measure.
type Bench struct {
	// Load makes a plan of a scenario file's text. Required.
	Load func(name string, text []byte) (*plan.Plan, error)
	// Rounds, of which medians are taken; 0 means 5.
	Rounds int
	// Share of the work of a round, for tests; 0 means all of it.
	Share float64
	// Flows open at once, of which alone there are rows then; 0 means all rows.
	Flows int
}

// Run measures. With an error come the rows that were measured before it.
func (b Bench) Run(ctx context.Context) (rows []figure.Row, err error) {
	b.Rounds, b.Share = cmp.Or(b.Rounds, 5), cmp.Or(b.Share, 1)
	if b.Flows > 0 {
		return b.crowds(ctx)
	}
	judge, err := BuildNS3(ctx)
	if err != nil {
		return nil, err
	}
	defer judge.Close()
	for _, measure := range []func(context.Context, *Judge) ([]figure.Row, error){b.hold, b.chains} {
		more, err := measure(ctx, judge)
		if rows = append(rows, more...); err != nil {
			return rows, err
		}
	}
	for _, measure := range []func(context.Context) ([]figure.Row, error){b.maxmin, b.crowds, b.internet, b.slices, b.sweeps} {
		more, err := measure(ctx)
		if rows = append(rows, more...); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// work is a share of a round's work.
func (b *Bench) work(n int) int { return max(int(float64(n)*b.Share), 1) }

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// beside completes a row of ns with what the judge took for the same, of which it
// should be so many times faster. Without the judge the row says why.
func beside(r figure.Row, judge *Judge, took []float64, times float64, equal bool) figure.Row {
	if judge.Absent != "" {
		return r.Beside(judge.Name+": "+judge.Absent, 0)
	}
	return r.Beside(judge.Name+" "+judge.Version, median(took)).Times(times).Checked(equal)
}
