package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/reports/stage"
	simrun "github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// demoSim is a simulated network as the stage wants it: each round of traffic is a
// run, and what is broken is so from its beginning.
type demoSim struct {
	doc  *load.Doc
	name string
	sets []string

	mu      sync.Mutex
	variant string
	file    *plan.Plan // as the file has it
	plan    *plan.Plan // without the file's faults, with what is broken
	broken  []spec.Fault
	broke   int // so many so far
	records *record.Records
	each    func(record.Event) error
}

var _ stage.Show = (*demoSim)(nil)

// simOnStage makes one.
func simOnStage(_ *cobra.Command, doc *load.Doc, _ string, f demoFlags) (stage.Show, func(context.Context) error, error) {
	d := &demoSim{doc: doc, name: cmp.Or(f.name, doc.Spec.Name), sets: f.sets, variant: f.variant}
	if err := d.compile(f.variant, nil); err != nil {
		return nil, nil, err
	}
	return d, func(context.Context) error { return nil }, nil
}

// compile makes the network of a variant in which faults are in force.
func (d *demoSim) compile(variant string, broken []spec.Fault) error {
	ch, err := parseChanges(d.sets, 0, []string{variant})
	if err != nil {
		return err
	}
	vs, err := prepare(d.doc, ch)
	if err == nil {
		err = refuse(vs, simulator())
	}
	if err != nil {
		return err
	}
	s := *vs[0].spec
	s.Faults = broken
	p, err := plan.CompileVariant(&s, variant)
	if err != nil {
		return err
	}
	if variant != d.variant || d.records == nil {
		d.records = &record.Records{Run: record.Run{Variant: variant, Topology: journal.Topology(p)}}
	}
	d.variant, d.file, d.plan, d.broken = variant, vs[0].plan, p, broken
	return nil
}

// Now is the network with its latest round.
func (d *demoSim) Now(context.Context) (*stage.Scene, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &stage.Scene{
		Name: d.name + ", simulated", Title: cmp.Or(d.doc.Spec.Title, d.doc.Spec.Name), Variant: d.variant, Variants: stageVariants(d.doc),
		Traffic: d.plan.Traffic, Records: d.records, Faults: stageFaults(d.file),
	}
	for i, f := range d.broken {
		one := stage.Broken{ID: f.ID, Do: f.Do, On: []string{f.On}}
		if exact := &d.plan.Faults[i]; len(exact.Links) > 0 {
			one.On = exact.Links
		}
		s.Broken = append(s.Broken, one)
	}
	for _, t := range stageTricks(d.plan) {
		if t.Do != spec.Restart { // a run begins anew by itself
			s.Tricks = append(s.Tricks, t)
		}
	}
	return s, nil
}

// Send simulates a round; of one traffic alone the others' flows are left out.
func (d *demoSim) Send(ctx context.Context, traffic []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := *d.plan
	if len(traffic) > 0 {
		p.Flows = slices.DeleteFunc(slices.Clone(p.Flows), func(f plan.Flow) bool { return !slices.Contains(traffic, f.Traffic) })
	}
	memory := &record.Memory{}
	if err := simrun.Run(ctx, &p, memory, simrun.Options{Versions: versions()}); err != nil {
		return err
	}
	fresh := memory.Records()
	for _, f := range d.records.Flows {
		if len(traffic) > 0 && !slices.Contains(traffic, f.Traffic) {
			fresh.Flows = append(fresh.Flows, f)
		}
	}
	d.records = fresh
	slices.SortStableFunc(fresh.Events, func(a, b record.Event) int { return cmp.Compare(a.AtNs, b.AtNs) })
	for _, e := range fresh.Events {
		if d.each != nil {
			if err := d.each(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// Break has a fault be in force from the next round on.
func (d *demoSim) Break(_ context.Context, how stage.Trick) error {
	f, err := faultOfTrick(how)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if how.Fault != "" {
		i := slices.IndexFunc(d.file.Faults, func(f plan.Fault) bool { return f.ID == how.Fault })
		f = d.file.Faults[i].Fault // stage asks for those of the scene alone
	}
	d.broke++
	f.ID, f.At, f.For = fmt.Sprintf("%s-%d", f.Do, d.broke), 0, 0
	return d.compile(d.variant, append(slices.Clone(d.broken), f))
}

// Mend takes a fault away.
func (d *demoSim) Mend(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.compile(d.variant, slices.DeleteFunc(slices.Clone(d.broken), func(f spec.Fault) bool { return f.ID == id }))
}

// Vary is another variant, in which the same is broken.
func (d *demoSim) Vary(_ context.Context, variant string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.compile(variant, d.broken)
}

// Follow tells what happens in each round when it is over.
func (d *demoSim) Follow(ctx context.Context, each func(record.Event) error) error {
	d.mu.Lock()
	d.each = each
	d.mu.Unlock()
	<-ctx.Done()
	return nil
}
