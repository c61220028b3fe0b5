package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/homeward-lab/homeward/reports/check"
	"github.com/homeward-lab/homeward/reports/compare"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/link"
	simrun "github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// agreement says whether a lab found what the simulator did: a check
// of its own, whose id no file's can be.
//
// Which of several flows that look alike and start at one moment comes first no
// plan says: in a lab it is chance, or how late the machine was. Where something else
// became of a flow there, the simulator runs once more in the lab's order, and if that
// is not enough, or times are others, with each flow and fault as late as the lab says that
// its own was; all that follows from it must agree. How long a transfer takes may depend on
// moments that nothing says either: of which packet a full queue has no room, when a tunnel
// is probed next; so may a drop of what is under way when something ends. Where these are
// others, the simulator runs some more times, each at other moments, and the lab's may be
// among theirs; or if that is not enough, also on machines that take longer for a packet.
//
// Of a lab that was run before, what it could not judge may be judged by this run, and
// what this one cannot by that: earlier is nil or what all tries before showed together,
// and the result what they show with this one.
func agreement(ctx context.Context, v *variant, sim, lab *finished, earlier *compare.Result) (record.CheckResult, *compare.Result) {
	c := record.CheckResult{ID: compare.Agreement(simrun.Engine), Verdict: record.Error}
	if sim == nil || sim.err != nil || sim.records == nil {
		c.Detail = simrun.Engine + " has no complete run to compare with"
		return c, earlier
	}
	r, err := agree(ctx, &v.chanced, v.plan, sim.records, lab.records)
	if err != nil {
		c.Detail = err.Error()
		return c, earlier
	}
	if why := check.Saturated(lab.records); why != "" {
		r.Doubt("the lab was saturated: " + why)
	}
	if earlier != nil {
		r = compare.Together(earlier, r)
	}
	how := ""
	if r.Note != "" {
		how = ", " + r.Note
	}
	c.Verdict = r.Verdict()
	differs, what := r.Differences, "difference"
	switch c.Verdict {
	case record.Pass:
		c.Detail = fmt.Sprintf("on %s%s", count(r.Flows, "flow"), how)
		return c, r
	case record.Error:
		differs, what = r.Unjudged, "difference that cannot be judged"
	}
	d := &differs[0]
	c.Detail = fmt.Sprintf("%d × %s in %s%s, the first (%s, then this): %s", len(differs), what, count(r.Flows, "flow"), how, simrun.Engine, d)
	if d.Parted != [2]string{} {
		c.Detail += fmt.Sprintf("; parted at %q and %q", d.Parted[0], d.Parted[1])
	}
	return c, r
}

// agree compares a run of the simulator with a lab's, and simulates the plan again
// where that decides what a plan leaves to chance.
func agree(ctx context.Context, c *chanced, p *plan.Plan, sim, lab *record.Records) (*compare.Result, error) {
	r, err := compare.Runs(sim, lab)
	var how []string
	for _, as := range []struct {
		late  simrun.Late
		times bool // changes those of flows alone, too
		how   string
	}{
		{inOrder(p, lab, simrun.Late{Flows: make([]time.Duration, len(p.Flows))}), false, "those that look alike in the order in which the lab's came"},
		{inOrder(p, lab, lateAs(p, lab)), true, "flows and faults as late as the lab's"},
	} {
		if err != nil || !r.Apart() && !(as.times && r.Momentary()) {
			continue
		}
		var again *record.Records
		var better *compare.Result
		if again, err = resimulated(ctx, p, simrun.Options{Late: as.late}); err == nil {
			better, err = compare.Runs(again, lab)
		}
		if err == nil && better.Better(r) {
			sim, r, how = again, better, []string{as.how}
		}
	}
	if err == nil && r.Apart() {
		r.DoubtMoments("what became of flows differs, or could not be judged: no other moments were simulated")
	} else if err == nil && r.Momentary() {
		var chance compare.Chance
		if chance.Moments, err = c.moments.of(ctx, p, false); err == nil {
			r, err = compare.Among(sim, lab, chance)
		}
		n := chances + 1
		if err == nil && r.Momentary() { // no more is allowed than it takes
			n += chances
			if chance.Slower, err = c.slower.of(ctx, p, true); err == nil {
				r, err = compare.Among(sim, lab, chance)
			}
		}
		how = append(how, fmt.Sprintf("moments among those of %d simulations", n))
	}
	if err != nil {
		return nil, err
	}
	r.Note = strings.Join(how, ", ")
	return r, nil
}

// chanced are simulations of a plan at other moments, and on slower machines as well.
// They are the same for every lab. The zero value is ready.
type chanced struct{ moments, slower simulations }

// simulations are made once, when first asked for.
type simulations struct {
	once sync.Once
	all  []*record.Records
	err  error
}

// of makes them, as many at once as there are processors: nothing is measured
// meanwhile.
func (s *simulations) of(ctx context.Context, p *plan.Plan, slower bool) ([]*record.Records, error) {
	s.once.Do(func() {
		s.all = make([]*record.Records, chances)
		var group errgroup.Group
		group.SetLimit(processors)
		for n := range chances {
			o := moments(p, n)
			if slower {
				o.Hop, o.Chance = link.Hop+time.Duration(n+1)*(slowest-link.Hop)/chances, uint64(n)
			}
			group.Go(func() (err error) { s.all[n], err = resimulated(ctx, p, o); return err })
		}
		s.err = group.Wait()
	})
	return s.all, s.err
}

// resimulated is what the simulator says of a plan at other moments.
func resimulated(ctx context.Context, p *plan.Plan, o simrun.Options) (*record.Records, error) {
	var m record.Memory
	if err := simrun.Run(ctx, p, &m, o); err != nil {
		return nil, err
	}
	return m.Records(), nil
}

// chances are how many simulations show what of a plan's times is chance. Their flows
// start later by up to lateness, as a lab's do where many start at once, and the
// network stands for up to rest before they do: an interval of probes, by default.
// Where machines are slower a packet takes up to slowest through a plain wire and what
// is behind it, each another time: fifteen of them there and back take as long as a
// round trip of 40 ms may differ by.
const (
	chances  = 8
	lateness = 3 * time.Millisecond
	rest     = time.Second
	slowest  = 300 * time.Microsecond
)

// moments are those of the n-th simulation.
func moments(p *plan.Plan, n int) simrun.Options {
	r := rand.New(rand.NewPCG(p.Seed, uint64(n)))
	o := simrun.Options{Late: simrun.Late{Flows: make([]time.Duration, len(p.Flows))}, Rest: time.Duration(r.Int64N(int64(rest)))}
	for i := range o.Late.Flows {
		o.Late.Flows[i] = time.Duration(r.Int64N(int64(lateness)))
	}
	return o
}

// apart is how far from each other flows start that are to come in an order: more
// than their ways differ by where no link has a delay, less than a flow lasts.
const apart = 50 * time.Microsecond

// inOrder is how late each flow of a plan must be, late or more, so that those that
// look alike come in the order in which they did in a run.
func inOrder(p *plan.Plan, r *record.Records, late simrun.Late) simrun.Late {
	index := indices(p)
	for _, flows := range compare.ArrivalsOf(r) {
		next := time.Duration(0)
		for _, f := range flows {
			if i, known := index[flowName{f.Traffic, f.N}]; known {
				start := max(p.Flows[i].Start+late.Flows[i], next)
				late.Flows[i], next = start-p.Flows[i].Start, start+apart
			}
		}
	}
	return late
}

// lateAs is how late each flow and fault of a plan must be to begin when it did in a run.
func lateAs(p *plan.Plan, r *record.Records) simrun.Late {
	late := simrun.Late{Flows: make([]time.Duration, len(p.Flows)), Faults: make([]time.Duration, len(p.Faults)), Heals: make([]time.Duration, len(p.Faults))}
	base := time.Duration(-1) // when traffic was to begin: any flow tells that did not begin before its time
	index := indices(p)
	for i := range r.Flows {
		f := &r.Flows[i]
		if n, known := index[flowName{f.Traffic, f.N}]; known && f.LateNs > 0 {
			late.Flows[n] = time.Duration(f.LateNs)
			base = time.Duration(f.StartNs-f.LateNs) - p.Flows[n].Start
		}
	}
	for i := range p.Faults {
		f := &p.Faults[i]
		for j := range r.Events {
			switch e := &r.Events[j]; {
			case e.Fault != f.ID || base < 0:
			case e.Kind == "fault":
				late.Faults[i] = max(time.Duration(e.AtNs)-base-f.At.D(), 0)
			case e.Kind == "healed":
				late.Heals[i] = max(time.Duration(e.AtNs)-base-(f.At+f.For).D(), 0)
			}
		}
	}
	return late
}

// flowName is a flow's traffic and number.
type flowName struct {
	traffic string
	n       int
}

// indices are those of a plan's flows.
func indices(p *plan.Plan) map[flowName]int {
	all := make(map[flowName]int, len(p.Flows))
	for i := range p.Flows {
		all[flowName{p.Flows[i].Traffic, p.Flows[i].N}] = i
	}
	return all
}
