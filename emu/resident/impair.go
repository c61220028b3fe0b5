package resident

import (
	"context"
	"errors"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/emu/netem"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// impair changes what links do, if asked to, and tells of those that it was
// about.
func (k *keeper) impair(_ context.Context, c *control.Call, lab *run.Lab) error {
	var args control.ImpairArgs
	if err := c.Args(&args); err != nil {
		return err
	}
	p := lab.Plan()
	about := map[string]bool{}
	if args.On != "" {
		change, err := k.changeOf(p, &args)
		if err != nil {
			return err
		}
		if args.None || len(args.Words) > 0 {
			err = lab.Reimpair(change)
		}
		if err != nil {
			switch {
			case errors.Is(err, impair.ErrConfig) || errors.Is(err, plan.ErrApart) || errors.As(err, new(*netem.RefusedError)):
				err = control.Usagef("%v", err)
			case run.Lacks(err):
				err = control.Lackf("%v", err)
			}
			return err
		}
		for _, l := range change.Links {
			about[l.ID] = true
		}
	}
	wires, err := lab.Wires()
	if err != nil {
		return err
	}
	names := map[string]string{}
	for i, name := range p.LinkNames() {
		names[p.Links[i].ID] = name
	}
	for i := range p.Links {
		if l := &p.Links[i]; about[l.ID] && !slices.ContainsFunc(wires, func(w run.Wire) bool { return w.Link.ID == l.ID }) {
			wires = append(wires, run.Wire{Link: l}, run.Wire{Link: l, Direction: impair.BA}) // plain
		}
	}
	for i := range wires {
		w := &wires[i]
		if len(about) > 0 && !about[w.Link.ID] {
			continue
		}
		if err := c.Send(wireOf(w, names[w.Link.ID])); err != nil {
			return err
		}
	}
	return nil
}

// changeOf finds what is meant.
func (k *keeper) changeOf(p *plan.Plan, args *control.ImpairArgs) (run.Change, error) {
	c := run.Change{Links: p.LinksCalled(args.On), With: args.Impairment, Words: args.Words, None: args.None, By: args.By}
	switch args.Direction {
	case "up":
		c.Directions = []impair.Direction{impair.AB}
	case "down":
		c.Directions = []impair.Direction{impair.BA}
	default:
		c.Directions = []impair.Direction{impair.AB, impair.BA}
	}
	if c.Links == nil {
		return c, control.Usagef("%v", p.NoLink(args.On))
	}
	return c, nil
}

func wireOf(w *run.Wire, name string) control.Wire {
	out := control.Wire{
		Link: w.Link.ID, Name: name, Class: w.Link.Class, From: w.Link.A.Node, To: w.Link.B.Node, Direction: "up",
		Asked: map[string]string{}, Degraded: w.Degraded, By: w.By, Since: w.Since,
		Packets: w.Packets, Lost: w.Lost, Unasked: w.Unasked, Marked: w.Marked, Measured: w.Measured,
	}
	if w.Direction == impair.BA {
		out.From, out.To, out.Direction = out.To, out.From, "down"
	}
	for _, word := range w.Asked.Words() {
		out.Asked[word.Name] = word.Value
	}
	return out
}
