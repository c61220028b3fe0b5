package run

import (
	"fmt"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// turn schedules the next half of a flap's period.
func (f *faults) turn(i int, b *breakage) {
	f.at(f.world.engine.Now().Add(max(b.plan.Every.D()/2, time.Millisecond)), i, turns)
}

// mute has the fault's links carry nothing, or carry again.
func (f *faults) mute(b *breakage, cut bool) {
	if b.cut == cut {
		return
	}
	b.cut = cut
	for _, x := range f.world.wires {
		if !slices.Contains(b.plan.Links, x.link.ID) {
			continue
		}
		up := x.direction == impair.AB
		if b.plan.Do != spec.Blackhole || up == (b.plan.Direction == "up") {
			x.mute(cut)
		}
	}
}

// mute counts who cuts the wire.
func (w *wire) mute(cut bool) {
	if cut {
		w.muted++
	} else {
		w.muted--
	}
	w.SetDown(w.muted > 0)
	if w.hears != nil && (cut && w.muted == 1 || !cut && w.muted == 0) {
		w.hears.silent(cut)
	}
}

// take gives a fault what only one can have at a time.
func (f *faults) take(b *breakage, what string) error {
	if by := f.taken[what]; by != "" {
		return fmt.Errorf("%s is in the hands of fault %s", what, by)
	}
	f.taken[what] = b.plan.ID
	return nil
}

func (f *faults) degrade(b *breakage, worse bool) error {
	for _, x := range f.world.wires {
		if !slices.Contains(b.plan.Links, x.link.ID) {
			continue
		}
		what, c := "the impairment of "+x.link.ID+" from "+x.from, x.link.Impair(x.direction)
		if worse {
			c = x.link.ImpairedAs(*b.plan.Impairment)
			if err := f.take(b, what); err != nil {
				return err
			}
		} else {
			delete(f.taken, what)
		}
		if err := x.Set(c); err != nil {
			return err
		}
	}
	return nil
}

// lower gives tunnels or links a smaller MTU.
func (f *faults) lower(b *breakage, lower bool) error {
	for _, x := range f.world.wires {
		if slices.Contains(b.plan.Links, x.link.ID) {
			if err := f.resize(b, x.from+" "+x.link.ID, x, lower); err != nil {
				return err
			}
		}
	}
	if err := f.uplinks(b, lower); err != nil {
		return err
	}
	if b.plan.OnRamps == nil {
		return nil
	}
	for _, id := range b.plan.OnRamps {
		node, iface, ok := f.world.plan.RouterEnd(id)
		if !ok {
			return fmt.Errorf("on-ramp %d has no router", id)
		}
		port, ok := f.world.nodes[node].ports[iface].(resizable)
		if !ok {
			return fmt.Errorf("%s of %s has no MTU to change", iface, node)
		}
		if err := f.resize(b, iface+" of "+node, port, lower); err != nil {
			return err
		}
	}
	was := map[ident.OnRamp]int{}
	for _, o := range f.world.plan.Servers[0].Config.OnRamps {
		was[o.ID] = o.MTU
	}
	return f.world.reconfigure(func(c *hub.Config) {
		c.OnRamps = slices.Clone(c.OnRamps)
		for i := range c.OnRamps {
			switch o := &c.OnRamps[i]; {
			case !slices.Contains(b.plan.OnRamps, o.ID):
			case lower:
				o.MTU = b.plan.MTU
			default:
				o.MTU = was[o.ID]
			}
		}
	})
}

// uplinks has servers know what their own links pass.
func (f *faults) uplinks(b *breakage, lower bool) error {
	narrow := f.world.plan.ServersOn(b.plan.Links)
	if len(narrow) == 0 {
		return nil
	}
	return f.world.reconfigure(func(c *hub.Config) {
		switch {
		case !slices.Contains(narrow, c.Self):
		case lower:
			c.Uplink = b.plan.MTU
		default:
			c.Uplink = 0
		}
	})
}

// resizable is a port whose MTU a fault can change.
type resizable interface {
	// SetMTU changes it; 0 is what it was in the beginning.
	SetMTU(mtu int)
}

func (f *faults) resize(b *breakage, name string, port resizable, lower bool) error {
	what := "the MTU of " + name
	if !lower {
		delete(f.taken, what)
		port.SetMTU(0)
		return nil
	}
	if err := f.take(b, what); err != nil {
		return err
	}
	port.SetMTU(b.plan.MTU)
	return nil
}
