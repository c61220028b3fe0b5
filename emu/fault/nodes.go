package fault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// power pauses or kills servers and routers.
func (e *Engine) power(h *Handle) error {
	// A router is its links, for all that others can tell.
	if err := e.cut(h, true, true); err != nil {
		return err
	}
	down, up := e.lab.Kill, e.lab.Revive
	if h.Fault.Do == spec.Pause {
		down, up = e.lab.Pause, e.lab.Resume
	}
	for _, s := range h.Fault.Servers {
		if err := e.take(h, "server "+s); err != nil {
			return err
		}
		last := time.Now() // a killed process is seen to be dead some time after
		if err := down(s); err != nil {
			return err
		}
		e.silence(h, s, last)
		h.undoes(func() error {
			if err := up(s); err != nil {
				return err
			}
			return e.back(s)
		})
	}
	return nil
}

// silence begins the time after which a server's datacenter notices that it gives
// no sign of life. The last was at the given time.
func (e *Engine) silence(h *Handle, server string, last time.Time) {
	f := h.Fault
	e.silent[server] = time.AfterFunc(time.Until(last.Add(e.plan.Detection)), func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.closed || e.silent[server] == nil {
			return
		}
		if err := e.takeOut(server); err != nil {
			e.fail(fmt.Errorf("fault %s: %w", f.ID, err))
			return
		}
		e.tell(&f, "step", fmt.Sprintf("%s is noticed to be gone: nothing is steered to it any more", server))
	})
}

// takeOut has the edge route nothing to a server, and the others do without it.
func (e *Engine) takeOut(server string) error {
	e.out[server] = true
	return errors.Join(e.reroute(), e.live(server, false))
}

// back makes a server one of the living again, if it was missed.
func (e *Engine) back(server string) error {
	e.silent[server].Stop()
	delete(e.silent, server)
	if !e.out[server] {
		return nil
	}
	delete(e.out, server)
	return errors.Join(e.live(server, true), e.reroute())
}

// live changes who can be sent packets.
func (e *Engine) live(server string, live bool) error {
	return e.lab.Reconfigure(func(c *hub.Config) { c.SetLive(server, live) })
}

// reassign gives servers' buckets to the others of their datacenters. What is
// reassigned last is given back first.
func (e *Engine) reassign(h *Handle) error {
	for _, s := range h.Fault.Servers {
		if err := e.take(h, "buckets of "+s); err != nil {
			return err
		}
		drain := func(drained bool) error {
			return e.lab.Reconfigure(func(c *hub.Config) { c.Drain(s, drained) })
		}
		if err := drain(true); err != nil {
			return err
		}
		h.undoes(func() error { return drain(false) })
	}
	return nil
}

func (e *Engine) withdraw(h *Handle) error {
	if untold := h.Fault.Untold(); untold != nil {
		return e.tellAnew(h, untold)
	}
	h.undoes(e.reroute) // the last to be undone
	for _, d := range h.Fault.Datacenters {
		for _, p := range h.Fault.Prefixes {
			a := plan.Announcement{Datacenter: d, Prefix: p}
			e.withdrawn[a]++
			h.undoes(func() error {
				if e.withdrawn[a]--; e.withdrawn[a] == 0 {
					delete(e.withdrawn, a)
				}
				return nil
			})
		}
	}
	return e.reroute()
}

// drain takes datacenters out in steps, of which the first is done at once.
func (e *Engine) drain(ctx context.Context, h *Handle) error {
	if err := e.withdraw(h); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var stopping sync.WaitGroup
	h.stop = sync.OnceFunc(func() { cancel(); stopping.Wait() })
	at := time.Now().Add(h.Fault.Wait.D())
	stopping.Go(func() {
		if !until(ctx, at) {
			return
		}
		if err := e.stopServers(h); err != nil {
			e.fail(fmt.Errorf("fault %s: %w", h.Fault.ID, err))
		}
	})
	return nil
}

// stopServers is the last step of a drain.
func (e *Engine) stopServers(h *Handle) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	for _, s := range h.Fault.Servers {
		if err := e.take(h, "server "+s); err != nil {
			return err
		}
		if err := errors.Join(e.takeOut(s), e.lab.Stop(s)); err != nil {
			return err
		}
		e.silent[s] = time.NewTimer(0)
		h.undoes(func() error {
			if err := e.lab.Revive(s); err != nil {
				return err
			}
			return e.back(s)
		})
	}
	e.tell(&h.Fault, "step", "drained: its servers have stopped")
	return nil
}

// reroute gives every router the routes that follow from who announces what and
// which servers are out, where they differ from what it has.
func (e *Engine) reroute() error {
	if err := e.announce(); err != nil {
		return err
	}
	for i := range e.plan.Nodes {
		n := &e.plan.Nodes[i]
		if n.Kind != plan.KindTransit && n.Kind != plan.KindEdge {
			continue
		}
		if err := e.apply(n, e.wanted(n)); err != nil {
			return fmt.Errorf("routes of %s: %w", n.ID, err)
		}
	}
	return nil
}

// unannounced is all that datacenters do not announce that they would.
func (e *Engine) unannounced() []plan.Announcement {
	out := func(server string) bool { return e.out[server] }
	return append(slices.Collect(maps.Keys(e.withdrawn)), e.plan.Silent(out)...)
}

// announce has the edges that speak BGP announce what they should, where that is
// not what they do.
func (e *Engine) announce() error {
	for i := range e.plan.Speakers {
		s := &e.plan.Speakers[i]
		wanted := e.plan.Announces(s, e.unannounced())
		now, changed := e.announced[s.Node]
		if !changed {
			now = s.Origins
		}
		if slices.EqualFunc(now, wanted, func(a, b bgp.Origin) bool { return a.Prefix == b.Prefix }) {
			continue
		}
		if err := e.lab.Announce(s.Node, wanted); err != nil {
			return err
		}
		e.announced[s.Node] = wanted
	}
	return nil
}

// wanted are the routes of a node that differ from the plan's.
func (e *Engine) wanted(n *plan.Node) map[netip.Prefix]plan.KernelRoute {
	all := map[netip.Prefix]plan.KernelRoute{}
	for _, r := range e.plan.Rerouted(n, e.unannounced(), func(server string) bool { return e.out[server] }, e.learned) {
		all[r.To] = r
	}
	return all
}

// apply changes a node's routes from what was applied to what is wanted.
func (e *Engine) apply(n *plan.Node, wanted map[netip.Prefix]plan.KernelRoute) error {
	had := e.applied[n.ID]
	if len(had) == 0 && len(wanted) == 0 {
		return nil
	}
	r, err := e.at(n.ID)
	if err != nil {
		return err
	}
	for p, k := range wanted {
		if old, same := had[p]; same && slices.Equal(old.Hops, k.Hops) {
			continue
		}
		if err := r.Replace(k); err != nil {
			return err
		}
	}
	for p := range maps.Keys(had) {
		if _, still := wanted[p]; still {
			continue
		}
		i := slices.IndexFunc(n.Routes, func(k plan.KernelRoute) bool { return k.To == p })
		if i < 0 {
			if err := r.Remove(had[p]); err != nil {
				return err
			}
			continue
		}
		if err := errors.Join(r.Replace(n.Routes[i]), r.Follows(n.Routes[i])); err != nil {
			return fmt.Errorf("%w: %w", errNotHealed, err)
		}
	}
	e.applied[n.ID] = wanted
	return nil
}
