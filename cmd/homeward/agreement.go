package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/homeward-lab/homeward/reports/compare"
	"github.com/homeward-lab/homeward/reports/record"
	simrun "github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// agreement says whether a lab found what the simulator did (DESIGN 4): a check
// of its own, whose id no file's can be.
//
// Which of several flows that look alike and start at one moment comes first no
// plan says: in a lab it is chance, or how late the machine was. Where it was
// another one there, the simulator runs once more in the lab's order, and all that
// follows from it must agree. How long transfers take that share a queue depends on
// moments that no plan says either: where the times are others, the simulator runs
// some more times, with flows that start a moment later, and the lab's may be
// between theirs.
func agreement(ctx context.Context, v *variant, sim, lab *finished) record.CheckResult {
	c := record.CheckResult{ID: compare.Agreement(simrun.Engine), Verdict: record.Error}
	if sim == nil || sim.err != nil || sim.records == nil {
		c.Detail = simrun.Engine + " has no complete run to compare with"
		return c
	}
	r, err := compare.Runs(sim.records, lab.records)
	how, simulated := "", sim.records
	if err == nil && r.Reordered() {
		if simulated, err = resimulated(ctx, v.plan, inOrder(v.plan, lab.records)); err == nil {
			r, err = compare.Runs(simulated, lab.records)
			how = ", those that look alike in the order in which the lab's came"
		}
	}
	if err == nil && r.Timed() {
		var chance []*record.Records
		for n := 0; n < chances && err == nil; n++ {
			var one *record.Records
			one, err = resimulated(ctx, v.plan, late(v.plan, n))
			chance = append(chance, one)
		}
		if err == nil {
			r, err = compare.Runs(simulated, lab.records, chance...)
			how += fmt.Sprintf(", times among those of %d simulations", chances+1)
		}
	}
	if err != nil {
		c.Detail = err.Error()
		return c
	}
	c.Verdict = r.Verdict()
	differs, what := r.Differences, "difference"
	switch c.Verdict {
	case record.Pass:
		c.Detail = fmt.Sprintf("on %s%s", count(r.Flows, "flow"), how)
		return c
	case record.Error:
		differs, what = r.Unjudged, "difference that cannot be judged"
	}
	d := &differs[0]
	c.Detail = fmt.Sprintf("%d × %s in %s%s, the first (%s, then this): %s", len(differs), what, count(r.Flows, "flow"), how, simrun.Engine, d)
	if d.Parted != [2]string{} {
		c.Detail += fmt.Sprintf("; parted at %q and %q", d.Parted[0], d.Parted[1])
	}
	return c
}

// resimulated is what the simulator says of a plan whose flows start later.
func resimulated(ctx context.Context, p *plan.Plan, late []time.Duration) (*record.Records, error) {
	var m record.Memory
	if err := simrun.Run(ctx, p, &m, simrun.Options{Late: late}); err != nil {
		return nil, err
	}
	return m.Records(), nil
}

// chances are how many simulations show what of a plan's times is chance, and
// lateness by how much at most their flows start later: what a lab's own do where
// many start at once.
const (
	chances  = 8
	lateness = 3 * time.Millisecond
)

// late is by how much each flow of a plan starts later in the n-th simulation.
func late(p *plan.Plan, n int) []time.Duration {
	r := rand.New(rand.NewPCG(p.Seed, uint64(n)))
	all := make([]time.Duration, len(p.Flows))
	for i := range all {
		all[i] = time.Duration(r.Int64N(int64(lateness)))
	}
	return all
}

// apart is how far from each other flows start that are to come in an order: more
// than their ways differ by where no link has a delay, less than a flow lasts.
const apart = 50 * time.Microsecond

// inOrder is how late each flow of a plan must start, so that those that look
// alike come in the order in which they did in a run.
func inOrder(p *plan.Plan, r *record.Records) []time.Duration {
	late := make([]time.Duration, len(p.Flows))
	index := make(map[string]int, len(p.Flows))
	name := func(traffic string, n int) string { return fmt.Sprintf("%s#%d", traffic, n) }
	for i := range p.Flows {
		index[name(p.Flows[i].Traffic, p.Flows[i].N)] = i
	}
	for _, flows := range compare.ArrivalsOf(r) {
		next := time.Duration(0)
		for _, f := range flows {
			i, known := index[name(f.Traffic, f.N)]
			if !known {
				continue
			}
			start := max(p.Flows[i].Start, next)
			late[i], next = start-p.Flows[i].Start, start+apart
		}
	}
	return late
}
