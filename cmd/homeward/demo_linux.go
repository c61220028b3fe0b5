package main

import (
	"cmp"
	"context"
	"encoding/json"
	"sync"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/emu/userns"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/reports/stage"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// demoLab is a lab as the stage wants it.
type demoLab struct {
	cmd   *cobra.Command
	doc   *load.Doc
	file  string
	flags upFlags

	// use is held for as long as the lab must stay the same one.
	use  sync.RWMutex
	lab  *control.Lab
	plan *plan.Plan
}

var _ stage.Show = (*demoLab)(nil)

func (d *demoLab) now() *control.Lab {
	d.use.RLock()
	defer d.use.RUnlock()
	return d.lab
}

// labOnStage brings one up.
func labOnStage(cmd *cobra.Command, doc *load.Doc, file string, f demoFlags) (stage.Show, func(context.Context) error, error) {
	d := &demoLab{cmd: cmd, doc: doc, file: file, flags: upFlags{name: f.name, variant: f.variant, sets: f.sets}}
	if e, ok := namedLab(f.on); ok {
		d.flags.dataplane = e.dataplane
	}
	v, _, err := oneVariant(file, f.variant, f.sets)
	if err != nil {
		return nil, nil, err
	}
	d.plan = v.plan
	if err := d.raise(cmd.Context()); err != nil {
		return nil, nil, err
	}
	return d, func(ctx context.Context) error { return refusal(takeDown(ctx, d.now())) }, nil
}

// raise brings the lab up, in a user namespace of its own if need be: this
// process stays outside, where browsers are.
func (d *demoLab) raise(ctx context.Context) error {
	if d.flags.name == "" {
		d.flags.name = d.doc.Spec.Name
	}
	if userns.Needed() {
		code, err := userns.Run(d.upWords())
		switch {
		case err != nil:
			return lacking(err)
		case code != 0:
			return &exit{code: code}
		}
	} else if err := up(d.cmd, d.file, d.flags); err != nil {
		return err
	}
	lab, err := labNamed(d.cmd, d.flags.name)
	if err != nil {
		return err
	}
	d.lab = lab
	// However this process ends, the lab does too.
	go func() { _ = lab.Call(context.WithoutCancel(ctx), control.Ask{Do: control.DoHold}) }()
	return nil
}

// upWords is the command line of the lab.
func (d *demoLab) upWords() []string {
	f := &d.flags
	words := []string{"up", d.file, "--name", f.name, "--variant", f.variant}
	for _, s := range f.sets {
		words = append(words, "--set", s)
	}
	if f.dataplane != "" {
		words = append(words, "--dataplane", f.dataplane)
	}
	return words
}

// Now asks the lab for all that the page shows.
func (d *demoLab) Now(ctx context.Context) (*stage.Scene, error) {
	d.use.RLock()
	defer d.use.RUnlock()
	asked, records, err := recordsOf(ctx, d.lab)
	if err != nil {
		return nil, err
	}
	var b control.Breakable
	if err := d.lab.Get(ctx, control.DoBroken, nil, &b); err != nil {
		return nil, err
	}
	s := &stage.Scene{Name: d.lab.Name, Title: cmp.Or(d.doc.Spec.Title, d.doc.Spec.Name), Variant: records.Run.Variant, Traffic: asked.Traffic, Records: records, Variants: stageVariants(d.doc), Tricks: stageTricks(d.plan), Faults: stageFaults(d.plan)}
	for _, one := range b.Broken {
		s.Broken = append(s.Broken, stage.Broken{ID: one.ID, Do: one.Do, On: one.What, Heals: one.Heals})
	}
	return s, nil
}

// Send sends traffic, with the file's faults left to those who watch.
func (d *demoLab) Send(ctx context.Context, traffic []string) error {
	d.use.RLock()
	defer d.use.RUnlock()
	return d.lab.Call(ctx, control.Ask{Do: control.DoTraffic, Args: control.TrafficArgs{IDs: traffic, NoFaults: true}, Each: func(json.RawMessage) error { return nil }})
}

// Break breaks something until it is mended, or as long as the file has it.
func (d *demoLab) Break(ctx context.Context, how stage.Trick) error {
	f, err := faultOfTrick(how)
	if err != nil {
		return err
	}
	var b control.Broken
	return d.now().Get(ctx, control.DoBreak, control.BreakArgs{Fault: f, By: who()}, &b)
}

// Mend heals what was broken.
func (d *demoLab) Mend(ctx context.Context, id string) error {
	return d.now().Call(ctx, control.Ask{Do: control.DoMend, Args: control.MendArgs{IDs: []string{id}, By: who()}, Each: func(json.RawMessage) error { return nil }})
}

// Vary gives the lab another variant; one that is built otherwise is another lab.
func (d *demoLab) Vary(ctx context.Context, variant string) error {
	v, scenario, err := oneVariant(d.file, variant, d.flags.sets)
	if err != nil {
		return err
	}
	var changes control.Changes
	if err := d.now().Get(ctx, control.DoApply, control.ApplyArgs{Plan: v.plan, Scenario: scenario}, &changes); err != nil {
		return err
	}
	d.use.Lock() // when the round is over
	defer d.use.Unlock()
	d.plan, d.flags.variant = v.plan, variant
	if len(changes.Refused) == 0 {
		return nil
	}
	if err := takeDown(ctx, d.lab); err != nil {
		return err
	}
	return d.raise(ctx)
}

// Follow tells what happens, in this lab and in those that take its place.
func (d *demoLab) Follow(ctx context.Context, each func(record.Event) error) error {
	for {
		lab := d.now()
		err := lab.Call(ctx, control.Ask{Do: control.DoEvents, Args: control.EventsArgs{Follow: true}, Each: func(raw json.RawMessage) error {
			var e record.Event
			if err := json.Unmarshal(raw, &e); err != nil {
				return err
			}
			return each(e)
		}})
		if ctx.Err() != nil || d.now() == lab {
			return err
		}
	}
}
