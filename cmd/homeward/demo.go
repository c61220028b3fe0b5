//go:build linux

package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/emu/userns"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/reports/stage"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

func newDemo() *cobra.Command {
	var f upFlags
	var port uint16
	c := &cobra.Command{
		Use: "demo SCENARIO", Short: "Show a lab live in a browser, to be broken on stage", GroupID: "lab", Args: cobra.ExactArgs(1), ValidArgsFunction: completeScenarios(1),
		Long: `Demo brings a lab up and serves one page that shows it: the network, the ways of
the latest flows and of their replies, and how many came home. While somebody
looks, the file's traffic is sent again and again. A click on a site, a server
or a datacenter offers what can be broken there; the file's variants are buttons.

The page is served to this machine alone, at an address that nobody can guess.
Ctrl-C ends it and takes the lab down. All the other commands for labs work on
it too: homeward exec, capture, impair, break.`,
		Example: `  sudo homeward demo overlapping-branches
  sudo homeward demo branch_failover --port 8080
  homeward demo my.yaml --set shop.count=5        # without root: in a user namespace`,
		RunE: func(cmd *cobra.Command, args []string) error { return demo(cmd, args[0], f, port) },
	}
	f.register(c)
	c.Flags().Uint16Var(&port, "port", 0, "port of the page; 0 is any that is free")
	return c
}

func demo(cmd *cobra.Command, file string, f upFlags, port uint16) error {
	doc, err := open(file)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return lacking(err)
	}
	defer l.Close()
	d := &demoLab{cmd: cmd, doc: doc, file: file, flags: f}
	begin(cmd.Context())
	if err := d.raise(cmd.Context()); err != nil {
		return err
	}
	st := stage.New(d, rand.Text())
	fmt.Fprintf(cmd.OutOrStdout(), "open http://%s%s\nCtrl-C ends it\n", l.Addr(), st.Path())
	err = st.Serve(cmd.Context(), l)
	// The end of the command's context must not keep the lab from going down.
	return refusal(errors.Join(err, takeDown(context.WithoutCancel(cmd.Context()), d.now())))
}

// demoLab is a lab as the stage wants it.
type demoLab struct {
	cmd   *cobra.Command
	doc   *load.Doc
	file  string
	flags upFlags

	// use is held for as long as the lab must stay the same one.
	use sync.RWMutex
	lab *control.Lab
}

var _ stage.Show = (*demoLab)(nil)

func (d *demoLab) now() *control.Lab {
	d.use.RLock()
	defer d.use.RUnlock()
	return d.lab
}

// raise brings the lab up, in a user namespace of its own if need be: this
// process stays outside, where browsers are.
func (d *demoLab) raise(ctx context.Context) error {
	if d.flags.name == "" {
		d.flags.name = d.doc.Spec.Name
	}
	if userns.Needed() {
		code, err := userns.Run(append([]string{"up", d.file}, d.flags.words()...))
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
	s := &stage.Scene{Name: d.lab.Name, Title: cmp.Or(d.doc.Spec.Title, d.doc.Spec.Name), Variant: records.Run.Variant, Traffic: asked.Traffic, Records: records, Variants: d.variants()}
	for _, one := range b.Broken {
		s.Broken = append(s.Broken, stage.Broken{ID: one.ID, Do: one.Do, On: one.What, Heals: one.Heals})
	}
	for _, one := range b.Faults {
		s.Faults = append(s.Faults, stage.Trick{Fault: one.ID, Do: one.Do, On: one.On})
	}
	for _, do := range spec.FaultWords() {
		words, ok := stageWords[do]
		if !ok {
			continue
		}
		for _, on := range b.On[do] {
			s.Tricks = append(s.Tricks, stage.Trick{Do: do, On: on, Words: words})
		}
	}
	return s, nil
}

// stageWords are the faults that a click can have happen, and what must be said
// of them. The others are about an address, which a picture does not show.
var stageWords = map[string][]string{
	spec.Cut: nil, spec.Flap: nil, spec.Blackhole: {"direction=up"}, spec.Degrade: {"delay=80ms", "loss=5%"},
	spec.Partition: nil, spec.Pause: nil, spec.Kill: nil, spec.Restart: nil, spec.Reassign: nil, spec.Withdraw: nil, spec.Drain: nil,
}

// variants are the file's.
func (d *demoLab) variants() []stage.Variant {
	about := map[string]string{}
	for _, v := range d.doc.Spec.Variants {
		about[v.Name] = v.Title
	}
	var all []stage.Variant
	for _, name := range d.doc.Variants() {
		all = append(all, stage.Variant{Name: name, About: about[name]})
	}
	return all
}

// Send sends traffic, with the file's faults left to those who watch.
func (d *demoLab) Send(ctx context.Context, traffic []string) error {
	d.use.RLock()
	defer d.use.RUnlock()
	return d.lab.Call(ctx, control.Ask{Do: control.DoTraffic, Args: control.TrafficArgs{IDs: traffic, NoFaults: true}, Each: func(json.RawMessage) error { return nil }})
}

// Break breaks something until it is mended, or as long as the file has it.
func (d *demoLab) Break(ctx context.Context, how stage.Trick) error {
	args, words := []string{how.Do, how.On}, how.Words
	switch {
	case how.Fault != "":
		args, words = []string{how.Fault}, nil
	case how.Do == spec.Degrade:
		args, words = append(args, words...), nil
	}
	f, err := faultOf(args, words)
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
	d.flags.variant = variant
	var changes control.Changes
	if err := d.now().Get(ctx, control.DoApply, control.ApplyArgs{Plan: v.plan, Scenario: scenario}, &changes); err != nil || len(changes.Refused) == 0 {
		return err
	}
	d.use.Lock() // when the round is over
	defer d.use.Unlock()
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
