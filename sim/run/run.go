package run

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/connected"
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/host"
	"github.com/homeward-lab/homeward/sim/tcp"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Engine is this engine's name in results.
const Engine = "sim"

// Options say how to run. The zero value is good.
type Options struct {
	// Queue holds the events; nil means a ladder. Results do not depend on it.
	Queue engine.Queue
	// Budget is the most events of a run; 0 means no bound.
	Budget uint64
	// Congestion is the algorithm of every TCP connection.
	Congestion tcp.Algorithm
	// Late is how much later than planned things begin.
	Late Late
	// Rest is how long the network stands before traffic begins: what it does by
	// itself, such as to probe tunnels, is elsewhere in its rhythm then.
	Rest time.Duration
	// Hop is the most that a packet takes through a wire of which nothing is asked,
	// each another time, drawn by Chance; 0 means that each takes link.Hop.
	Hop    time.Duration
	Chance uint64
	// Watch sees hubs and hosts.
	Watch Watch
	// Versions go into run.json beside that of Go.
	Versions map[string]string
}

// Late is how much later than planned each flow starts, and each fault happens and
// heals, by their indices; nil means none does.
type Late struct{ Flows, Faults, Heals []time.Duration }

// of is the n-th of what is late.
func of(late []time.Duration, n int) time.Duration {
	if late == nil {
		return 0
	}
	return late[n]
}

// StageFlows is the stage of progress in which traffic runs.
const StageFlows = "flows"

const (
	// settle is how long after the last flow the run goes on, in virtual time, as
	// in the lab: last acknowledgements, and replies to somebody else.
	settle = 300 * time.Millisecond
	// maxSettle bounds what delays add to it.
	maxSettle = 5 * time.Second
	// acceptLimit is how long a server may take to accept a device or connector.
	acceptLimit = 5 * time.Second
	// burst is how many events are handled at most between two looks at the context,
	// lookUp how long they should take.
	burst  = 1 << 14
	lookUp = 100 * time.Millisecond
)

// Run runs the plan in virtual time and writes everything to sink. When ctx ends,
// what is known is written and marked as partial, and the error is ctx's cause.
func Run(ctx context.Context, p *plan.Plan, sink record.Sink, o Options) error {
	if refused := Refused(p); len(refused) > 0 {
		return fmt.Errorf("%s: this engine cannot do it", refused[0].Word)
	}
	start := time.Now()
	r := &runner{ctx: ctx, plan: p, sink: sink, began: start, late: o.Late, rest: o.Rest}
	// Virtual time begins at the epoch of Unix, so that equal runs have equal
	// sessions.
	r.journal = journal.New(p, sink, time.Unix(0, 0))
	r.manifest = record.Run{
		Scenario: p.Scenario, Variant: p.Variant, Title: p.Title, Engine: Engine, Seed: p.Seed, Started: start,
		Versions: map[string]string{"go": runtime.Version()}, Features: map[string]string{"time": "virtual"},
		Topology: journal.Topology(p), Traffic: p.Traffic, Blocks: journal.Blocks(p),
		Metrics: record.Metrics{Servers: map[string]map[string]int64{}, Config: p.Objects.ByKind()},
	}
	for name, version := range o.Versions {
		r.manifest.Versions[name] = version
	}
	err := r.lifetime(o)
	r.manifest.WallMs = time.Since(start).Milliseconds()
	r.manifest.Partial = err != nil
	sink.Run(r.manifest)
	return err
}

// Refused are the words of the plan that this engine cannot do.
func Refused(p *plan.Plan) []plan.Feature {
	var all []plan.Feature
	for _, f := range p.Features {
		if !strings.HasPrefix(f.Word, "faults.") {
			all = append(all, f)
		}
	}
	return all
}

// runner is one run.
type runner struct {
	ctx      context.Context
	plan     *plan.Plan
	sink     record.Sink
	journal  *journal.Journal
	world    *world
	manifest record.Run
	began    time.Time
	// base is when traffic begins.
	base vt.Instant
	done int
	late Late
	rest time.Duration
}

// lifetime is up, traffic, collect.
func (r *runner) lifetime(o Options) (err error) {
	r.event(record.Event{Kind: "run", Text: "building the network"})
	if r.world, err = newWorld(r.plan, o); err != nil {
		return err
	}
	r.world.tell(r.journal, r.sink)
	r.manifest.Metrics.UpMs = time.Since(r.began).Milliseconds()
	r.event(record.Event{Kind: "run", Text: fmt.Sprintf("the network is up: %d nodes, %d links", len(r.plan.Nodes), len(r.plan.Links))})
	err = r.up()
	if err == nil {
		err = r.traffic()
	}
	err = errors.Join(err, r.stop())
	r.collect()
	return err
}

// up waits until the network has come to rest: every connected tunnel accepted,
// and known to every server.
func (r *runner) up() error {
	r.world.powerOn()
	for {
		t := r.world.waits()
		switch {
		case t == nil:
			r.base = r.base.Add(r.rest)
			return r.until(r.base)
		case t.client.State() == connected.Refused:
			return fmt.Errorf("tunnel %s: the server refused its context", t.plan.Name)
		case r.base >= vt.Instant(acceptLimit):
			return fmt.Errorf("tunnel %s: no server accepted it within %v", t.plan.Name, acceptLimit)
		}
		r.base += vt.Instant(time.Millisecond)
		if err := r.until(r.base); err != nil {
			return err
		}
	}
}

// traffic sends all flows, and waits for what is still on its way.
func (r *runner) traffic() error {
	w := r.world
	w.begin(r.base)
	r.journal.Begin(r.plan.Flows)
	r.event(record.Event{AtNs: int64(r.base), Kind: "traffic", Text: fmt.Sprintf("traffic begins: %d flows", len(r.plan.Flows))})
	total := len(r.plan.Flows)
	r.sink.Progress(StageFlows, 0, total)
	w.hosts.Ended = func(int) {
		r.done++
		if r.done == total {
			w.engine.Halt()
		}
	}
	if err := w.starts(r.base, r.late.Flows); err != nil {
		return err
	}
	w.schedule(r.base, r.late)
	if total > 0 {
		if err := r.until(vt.Never); err != nil {
			return err
		}
	}
	r.sink.Progress(StageFlows, r.done, total)
	end := max(w.engine.Now(), r.base)
	r.event(record.Event{AtNs: int64(end), Kind: "traffic", Text: "traffic ends"})
	// As in the lab, a run lasts until every fault has happened and healed.
	return r.until(max(end.Add(r.settling()), w.faults.end))
}

// until handles events up to an instant, or until the world halts. It looks up about
// as often as somebody who waits wants to see or stop it: an event may be that of a
// whole window of packets, which come at one instant where links have no rate.
func (r *runner) until(end vt.Instant) error {
	n := uint64(burst / 16)
	for {
		began := time.Now()
		if err := context.Cause(r.ctx); err != nil {
			return err
		}
		more, err := r.world.engine.Steps(r.world, end, n)
		switch {
		case err != nil:
			return err
		case r.world.failed != nil:
			return r.world.failed
		case !more:
			return nil
		}
		if took := time.Since(began); took > lookUp {
			n = max(n/2, 1)
		} else if took < lookUp/4 {
			n = min(2*n, burst)
		}
		r.progress()
	}
}

// progress tells how far the run is, in both times, how fast, and at which virtual
// time it is over at the latest.
func (r *runner) progress() {
	e, wall := r.world.engine, time.Since(r.began)
	end := max(r.base.Add(r.plan.Length), r.world.faults.end)
	stage := fmt.Sprintf("%s: %v of at most %v in %v, %.2g million events/s", StageFlows,
		time.Duration(e.Now()).Round(time.Millisecond), time.Duration(end).Round(time.Millisecond), wall.Round(100*time.Millisecond),
		float64(e.Handled())/1e6/max(wall.Seconds(), 1e-9))
	r.sink.Progress(stage, r.done, len(r.plan.Flows))
}

// settling is how long after the last flow the run waits for what is still on
// its way.
func (r *runner) settling() time.Duration {
	longest := time.Duration(0)
	for i := range r.plan.Links {
		for _, d := range []impair.Direction{impair.AB, impair.BA} {
			c := r.plan.Links[i].Impair(d)
			longest = max(longest, c.Delay+c.Jitter)
		}
	}
	return settle + min(4*longest, maxSettle)
}

// stop ends the servers, which write their last sessions.
func (r *runner) stop() error {
	w := r.world
	m := &r.manifest.Metrics
	var errs []error
	for _, s := range w.servers {
		errs = append(errs, s.close())
		for _, reason := range drop.Reasons() {
			if n := s.past[journal.CounterOfDrop(reason.String())]; n != 0 {
				r.journal.Drops(s.plan.Node, reason.String(), n, int64(w.engine.Now()))
			}
		}
		m.Servers[s.plan.Node] = s.past
		m.ReturnRouteLookups += s.past["route_lookups"]
		m.PortsSeen += s.checked
		if m.PortOutsideSlice += s.outside; s.outside > 0 {
			r.event(record.Event{Kind: "error", Node: s.plan.Node, Count: s.outside, Text: fmt.Sprintf("%d packets left with a port outside the server's slices, the first from %s", s.outside, s.firstOutside)})
		}
	}
	m.Wires, m.Backbone, m.Lost = w.measured(), w.backbone(), w.lost
	r.manifest.Fingerprint = w.engine.Fingerprint().String()
	return errors.Join(errs...)
}

// collect writes a line for each flow.
func (r *runner) collect() {
	outcomes := r.world.hosts.Outcomes()
	for i := range r.plan.Flows {
		f, o := &r.world.hosts.Flows[i], r.outcome(&r.world.hosts.Flows[i], &outcomes[i])
		o.Late = of(r.late.Flows, i)
		r.journal.Flow(f, o)
	}
}

func (r *runner) outcome(f *plan.Flow, o *host.Outcome) *journal.Outcome {
	x := &journal.Outcome{
		Result: o.Result, Reason: o.Reason, Up: o.Up, Down: o.Down, RTT: o.RTT, Stall: o.Stall, StartNs: int64(o.Start), EndNs: int64(o.End), Egress: o.Egress,
	}
	if !o.Ended() {
		now := int64(r.world.engine.Now())
		x.StartNs = int64(r.base.Add(f.Start))
		x.EndNs = max(x.StartNs, now)
		x.Result, x.Reason = record.Failed, "interrupted"
		if now <= x.StartNs {
			x.Reason = "interrupted before it started"
		}
	}
	d := &x.Delivery
	switch {
	case len(o.Strays) > 0:
		d.Node, d.Misdelivered, d.Own, d.Others, d.AtNs = o.Strays[0], true, o.Own, o.Strays[1:], int64(o.StrayAt)
	case o.Own:
		d.Node, d.Own = f.Client, true
	}
	return x
}

// event writes e at the current virtual time, unless it says when.
func (r *runner) event(e record.Event) {
	if e.AtNs == 0 && r.world != nil {
		e.AtNs = int64(r.world.engine.Now())
	}
	r.sink.Event(e)
}
