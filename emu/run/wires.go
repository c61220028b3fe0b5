package run

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/netem"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// WireEngine is an engine of impaired links.
type WireEngine string

// Engines of impaired links: a program of the lab's own, which loses the same
// packets for the same seed, or the kernel's network emulator.
const (
	Pump  WireEngine = "pump"
	Netem WireEngine = "netem"
)

// Possible says whether this machine has the engine; a lack is a *wire.LackError.
func (w WireEngine) Possible() error {
	if w == Netem {
		return netem.Possible()
	}
	return nil
}

// Refuses says what of a plan's links the engine cannot do.
func (w WireEngine) Refuses(p *plan.Plan) error {
	if w == Netem {
		return netem.Refuses(p)
	}
	return nil
}

// carrier is a running engine: emu/pump or emu/netem.
type carrier interface {
	Set(link string, d impair.Direction, c impair.Config) error
	Add(c wire.Cut) error
	Counts() ([]pump.Count, error)
	Stop() error
	// Feature is what run.json says of it.
	Feature() string
}

// carry starts the engine with these links of the plan.
func (r *runner) carry(cuts []wire.Cut) (carrier, error) {
	if r.options.Wire == Netem {
		return netem.Start(r.lab.NS(wire.Middle), r.plan, cuts)
	}
	return pump.StartWith(r.lab.Spawn, r.plan, cuts, pump.Options{Exe: r.exe(), Args: r.options.PumpArgs, Base: r.base})
}

// wires brings impaired links to life, and measures them. Without any there is
// nothing to do: plain wires are the kernel's.
func (r *runner) wires() (err error) {
	r.manifest.Features["wire"] = r.wireFeature()
	cuts := wire.Cuts(r.plan)
	if len(cuts) == 0 {
		return nil
	}
	c, err := r.carry(cuts)
	if err != nil {
		return err
	}
	r.carrier = c
	r.closers = append(r.closers, r.carrier.Stop)
	r.manifest.Features["wire"] = r.wireFeature()
	if r.meter, err = pump.StartMeter(r.lab.NS, r.plan); err != nil {
		return err
	}
	r.closers = append(r.closers, r.meter.Close)
	return nil
}

// wireFeature says what carries packets between nodes.
func (r *runner) wireFeature() string {
	feature := "veth"
	if n := len(r.shaped()); n > 0 {
		feature += fmt.Sprintf("; rates of %d links by the kernel (tbf)", n)
	}
	if r.carrier == nil {
		return feature
	}
	return feature + "; impaired links by " + r.carrier.Feature()
}

// settling is how long after the last flow the lab waits for what is still on
// its way.
func (r *runner) settling() time.Duration {
	longest := r.asked.longest()
	for i := range r.plan.Links {
		for _, d := range []impair.Direction{impair.AB, impair.BA} {
			c := r.plan.Links[i].Impair(d)
			longest = max(longest, c.Delay+c.Jitter)
		}
	}
	return settle + min(4*longest, maxSettle)
}

// maxSettle bounds what delays add to settle.
const maxSettle = 5 * time.Second

// measured is what impaired links did so far, beside what they were asked to do.
func (r *runner) measured() ([]record.Wire, error) {
	r.asked.mu.Lock()
	defer r.asked.mu.Unlock()
	all, err := r.buckets()
	if err != nil || r.carrier == nil {
		return all, err
	}
	counts, err := r.carrier.Counts()
	if err != nil {
		return nil, err
	}
	ends := map[string]*plan.Link{}
	for i := range r.plan.Links {
		ends[r.plan.Links[i].ID] = &r.plan.Links[i]
	}
	seen := r.meter.Measured() // in the same order
	for i, c := range counts {
		l := ends[c.Link]
		w := record.Wire{
			Link: c.Link, From: l.A.Node, To: l.B.Node,
			Packets: int64(c.Model.Packets), Lost: int64(c.Model.Lost), Overflowed: int64(c.Model.Overflowed), Marked: int64(c.Model.Marked),
			Overtook: int64(c.Model.Overtook), Duplicated: int64(c.Model.Duplicated), Corrupted: int64(c.Model.Corrupted),
			Unasked: unasked(r.plan.Faults, &c), Asked: times(c.Asked), Measured: times(seen[i].Times),
		}
		if c.Direction == impair.BA {
			w.From, w.To = w.To, w.From
		}
		w.Saturated = saturated(&w)
		w.Late = r.late(nil, &c.Moments)
		all = append(all, w)
	}
	return all, nil
}

// shaped are the links whose rates the kernel has.
func (r *runner) shaped() []*plan.Link {
	var all []*plan.Link
	for i := range r.plan.Links {
		if r.plan.Links[i].Shaped() {
			all = append(all, &r.plan.Links[i])
		}
	}
	return all
}

// buckets are what the kernel counted where it has the rates. How long packets
// took there nobody measures.
func (r *runner) buckets() ([]record.Wire, error) {
	var all []record.Wire
	for _, l := range r.shaped() {
		for _, d := range []struct {
			from, to *plan.Endpoint
			rate     impair.Config
		}{{&l.A, &l.B, l.Impair(impair.AB)}, {&l.B, &l.A, l.Impair(impair.BA)}} {
			if d.rate.Rate == 0 {
				continue
			}
			w := record.Wire{Link: l.ID, From: d.from.Node, To: d.to.Node}
			node, err := wire.OpenRoutes(r.lab.NS(d.from.Node))
			if err != nil {
				return nil, err
			}
			sent, overflowed, err := node.Shaped(d.from.Interface)
			node.Close()
			if err != nil {
				return nil, err
			}
			w.Packets, w.Overflowed = int64(sent+overflowed), int64(overflowed)
			all = append(all, w)
		}
	}
	return all, nil
}

// measure writes down what impaired links did in all.
func (r *runner) measure() (err error) {
	r.manifest.Metrics.Wires, err = r.measured()
	if err == nil {
		r.manifest.Metrics.Backbone, err = r.backbone()
	}
	r.lateFeature()
	for _, w := range r.manifest.Metrics.Wires {
		if w.Saturated != "" {
			r.event(record.Event{Kind: "saturated", Node: w.From, Peer: w.To, Text: fmt.Sprintf("%s to %s is not the wire that was asked for: %s", w.From, w.To, w.Saturated)})
		}
	}
	return err
}

func times(s pump.Spread) record.Times {
	return record.Times{N: s.N, P50Ns: s.P50.Nanoseconds(), P99Ns: s.P99.Nanoseconds(), MaxNs: s.Max.Nanoseconds()}
}

// Tolerances of the measured delay. A quiet machine stays below a tenth of them;
// beyond them it had no time for the lab. Of few packets the 99th percentile is
// the slowest one, which says little.
const (
	tolerance50 = time.Millisecond
	tolerance99 = 5 * time.Millisecond
	relative    = 50 // and a so manieth of what was asked: half of it is the resolution
	enough      = 200
)

// unasked is how many packets a link lost although nobody asked for it. Where a fault
// makes a link narrow the kernel refuses what is under way and too long by then: that
// was asked for.
func unasked(faults []plan.Fault, c *pump.Count) int64 {
	if slices.ContainsFunc(faults, func(f plan.Fault) bool { return f.Do == spec.LowerMTU && slices.Contains(f.Links, c.Link) }) {
		return int64(c.Unasked() - c.Refused)
	}
	return int64(c.Unasked())
}

// saturated says why a wire was not what was asked for, if it was not.
func saturated(w *record.Wire) string {
	var why []string
	if w.Unasked > 0 {
		why = append(why, fmt.Sprintf("%d packets were lost that nobody asked to lose", w.Unasked))
	}
	over := func(name string, asked, measured int64, tolerance time.Duration) {
		if off := measured - asked; off > int64(tolerance)+asked/relative {
			why = append(why, fmt.Sprintf("%s took %v longer than the %v asked", name, time.Duration(off).Round(10*time.Microsecond), time.Duration(asked).Round(10*time.Microsecond)))
		}
	}
	if w.Measured.N > 0 && w.Asked.N > 0 {
		over("half of the packets", w.Asked.P50Ns, w.Measured.P50Ns, tolerance50)
	}
	if w.Measured.N >= enough && w.Asked.N > 0 {
		over("one packet in a hundred", w.Asked.P99Ns, w.Measured.P99Ns, tolerance99)
	}
	return strings.Join(why, "; ")
}
