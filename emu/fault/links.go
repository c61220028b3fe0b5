package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// happen does what the fault does, with its way back. The lock is held.
func (e *Engine) happen(ctx context.Context, h *Handle) error {
	f := &h.Fault
	switch f.Do {
	case spec.Cut, spec.Partition:
		return e.cut(h, true, true)
	case spec.Blackhole:
		return e.cut(h, f.Direction == "up", f.Direction == "down")
	case spec.Flap:
		return e.flap(h)
	case spec.Degrade:
		return e.degrade(h)
	case spec.LowerMTU:
		return e.lower(h)
	case spec.Pause, spec.Kill, spec.Restart:
		return e.power(h)
	case spec.Withdraw:
		return e.withdraw(h)
	case spec.Drain:
		return e.drain(ctx, h)
	case spec.Move, spec.Release, spec.Allocate:
		e.move(ctx, h)
		return nil
	case spec.Freeze:
		e.freeze(h)
		return nil
	case spec.Reassign:
		return e.reassign(h)
	}
	return fmt.Errorf("no fault is called %q", f.Do)
}

// at is the socket of a node.
func (e *Engine) at(node string) (*wire.Routes, error) {
	if r := e.open[node]; r != nil {
		return r, nil
	}
	ns := e.lab.NS(node)
	if ns == nil {
		return nil, fmt.Errorf("no node %q", node)
	}
	r, err := wire.OpenRoutes(ns)
	if err != nil {
		return nil, err
	}
	e.open[node] = r
	return r, nil
}

// cut has the links' ends send nothing: A is up, B down.
func (e *Engine) cut(h *Handle, up, down bool) error {
	for _, id := range h.Fault.Links {
		l := e.links[id]
		if l == nil {
			return fmt.Errorf("no link %q", id)
		}
		for _, end := range []struct {
			cut bool
			at  *plan.Endpoint
			d   impair.Direction
		}{{up, &l.A, impair.AB}, {down, &l.B, impair.BA}} {
			if !end.cut {
				continue
			}
			where := sender(l, end.at)
			if err := e.mute(where); err != nil {
				return err
			}
			h.undoes(func() error { return e.unmute(where, l.Bucket(end.d)) })
		}
	}
	return nil
}

// sender is the interface by which an end sends: of a link with tags it is the
// one behind the program that adds them.
func sender(l *plan.Link, end *plan.Endpoint) iface {
	name := end.Interface
	if l.VLAN != 0 && end == &l.A {
		name += wire.TrunkSuffix
	}
	return iface{end.Node, name}
}

func (e *Engine) mute(i iface) error {
	r, err := e.at(i.node)
	if err != nil {
		return err
	}
	if e.muted[i] == 0 {
		if err := r.Mute(i.name); err != nil {
			return err
		}
	}
	e.muted[i]++
	return nil
}

// unmute lets an interface send again, at the rate that it had.
func (e *Engine) unmute(i iface, rate impair.Config) error {
	if e.muted[i]--; e.muted[i] > 0 {
		return nil // another fault holds it
	}
	r, err := e.at(i.node)
	if err != nil {
		return err
	}
	if err := r.Unmute(i.name); err != nil {
		return err
	}
	if rate.Rate > 0 {
		if err := r.Shape(i.name, rate); err != nil {
			return err
		}
	}
	if still, err := r.Muted(i.name); err != nil || still {
		return fmt.Errorf("%s of %s still sends nothing: %w", i.name, i.node, errors.Join(err, errNotHealed))
	}
	return nil
}

// errNotHealed is wrapped where the look after the healing found otherwise.
var errNotHealed = errors.New("not healed")

// flap cuts and mends in turns until it is healed.
func (e *Engine) flap(h *Handle) error {
	if err := e.cut(h, true, true); err != nil {
		return err
	}
	done := make(chan struct{})
	var turns sync.WaitGroup
	h.stop = sync.OnceFunc(func() { close(done); turns.Wait() })
	turns.Go(func() {
		ticker := time.NewTicker(max(h.Fault.Every.D()/2, time.Millisecond))
		defer ticker.Stop()
		for cut := false; ; cut = !cut {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			if err := e.turn(h, cut); err != nil {
				e.fail(fmt.Errorf("fault %s: %w", h.Fault.ID, err))
				return
			}
		}
	})
	return nil
}

// turn is one half of a flap's period.
func (e *Engine) turn(h *Handle, cut bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	if cut {
		return e.cut(h, true, true)
	}
	return h.revert()
}

// take gives a fault what only one can have at a time.
func (e *Engine) take(h *Handle, what string) error {
	if by := e.taken[what]; by != "" {
		return fmt.Errorf("%s is in the hands of fault %s", what, by)
	}
	e.taken[what] = h.Fault.ID
	h.undoes(func() error { delete(e.taken, what); return nil })
	return nil
}

func (e *Engine) degrade(h *Handle) error {
	for _, id := range h.Fault.Links {
		l := e.links[id]
		if err := e.take(h, "the impairment of "+id); err != nil {
			return err
		}
		for _, d := range []impair.Direction{impair.AB, impair.BA} {
			worse := l.ImpairedAs(*h.Fault.Impairment)
			if err := e.lab.Degrade(id, d, &worse); err != nil {
				return err
			}
			h.undoes(func() error { return e.lab.Degrade(id, d, nil) })
		}
	}
	return nil
}

// lower gives tunnels or links a smaller MTU.
func (e *Engine) lower(h *Handle) error {
	for _, id := range h.Fault.Links {
		l := e.links[id]
		for _, end := range []*plan.Endpoint{&l.A, &l.B} {
			if err := e.setMTU(h, iface{end.Node, end.Interface}, h.Fault.MTU); err != nil {
				return err
			}
		}
	}
	if err := e.uplinks(h); err != nil {
		return err
	}
	lowered := map[ident.OnRamp]int{}
	for _, id := range h.Fault.OnRamps {
		node, name, ok := e.plan.RouterEnd(id)
		if !ok {
			return fmt.Errorf("on-ramp %d has no router", id)
		}
		if err := e.setMTU(h, iface{node, name}, h.Fault.MTU); err != nil {
			return err
		}
		lowered[id] = h.Fault.MTU
	}
	if len(lowered) == 0 {
		return nil
	}
	was := map[ident.OnRamp]int{}
	for _, o := range e.plan.Servers[0].Config.OnRamps {
		if _, yes := lowered[o.ID]; yes {
			was[o.ID] = o.MTU
		}
	}
	h.undoes(func() error { return e.onrampMTU(was) })
	return e.onrampMTU(lowered)
}

// uplinks has servers know what their own links pass.
func (e *Engine) uplinks(h *Handle) error {
	narrow := e.plan.ServersOn(h.Fault.Links)
	if len(narrow) == 0 {
		return nil
	}
	set := func(mtu int) error {
		return e.lab.Reconfigure(func(c *hub.Config) {
			if slices.Contains(narrow, c.Self) {
				c.Uplink = mtu
			}
		})
	}
	h.undoes(func() error { return set(0) })
	return set(h.Fault.MTU)
}

func (e *Engine) onrampMTU(mtu map[ident.OnRamp]int) error {
	return e.lab.Reconfigure(func(c *hub.Config) {
		c.OnRamps = slices.Clone(c.OnRamps)
		for i := range c.OnRamps {
			if m, yes := mtu[c.OnRamps[i].ID]; yes {
				c.OnRamps[i].MTU = m
			}
		}
	})
}

func (e *Engine) setMTU(h *Handle, i iface, mtu int) error {
	if err := e.take(h, "the MTU of "+i.name+" of "+i.node); err != nil {
		return err
	}
	r, err := e.at(i.node)
	if err != nil {
		return err
	}
	was, err := r.MTU(i.name)
	if err != nil {
		return err
	}
	h.undoes(func() error {
		if err := r.SetMTU(i.name, was); err != nil {
			return err
		}
		if now, err := r.MTU(i.name); err != nil || now != was {
			return fmt.Errorf("the MTU of %s of %s is %d, was %d: %w", i.name, i.node, now, was, errors.Join(err, errNotHealed))
		}
		return nil
	})
	return r.SetMTU(i.name, mtu)
}
