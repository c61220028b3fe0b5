package run

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// move lets the servers of a datacenter learn the next step of an address's move.
func (f *faults) move(b *breakage) error {
	w := f.world
	s := &b.plan.Moves[b.step]
	b.step++
	err := w.reconfigure(func(c *hub.Config) {
		if s.Concerns(w.plan, c.Self) {
			s.Apply(c, b.toldTo(s))
		}
	})
	f.learned = append(f.learned, *s)
	err = errors.Join(err, f.reroute())
	f.tell(b, "step", s.Text(b.plan))
	if !s.Hands {
		return err
	}
	b.held = nil
	for _, x := range w.servers {
		if s.Concerns(w.plan, x.plan.Config.Self) && x.is == running {
			b.held = append(b.held, hub.Occupies(x.plan.Config.Self, x.hub.Sessions(), s.Entry.Addr)...)
		}
	}
	return err
}

// toldTo are the pairs that the servers of a step must not give out.
func (b *breakage) toldTo(s *plan.MoveStep) []hub.Held {
	if s.Datacenter != b.plan.To {
		return nil
	}
	return b.held
}

// silence pauses or kills servers, whose datacenter notices later.
func (f *faults) silence(b *breakage) error {
	w := f.world
	for _, name := range b.plan.Servers {
		s, err := f.takeServer(b, name)
		if err != nil {
			return err
		}
		if b.plan.Do == spec.Pause {
			s.is = paused
		} else {
			s.kill()
		}
		s.missed = b
		w.engine.Arm(s.detection, w.engine.Now().Add(w.plan.Detection))
	}
	return nil
}

func (f *faults) takeServer(b *breakage, name string) (*server, error) {
	if err := f.take(b, "server "+name); err != nil {
		return nil, err
	}
	s := f.world.nodes[name].server
	b.down = append(b.down, s)
	return s, nil
}

// missed is when a datacenter notices that a server gives no sign of life.
func (f *faults) missed(s *server) {
	b := s.missed
	if b == nil {
		return
	}
	if err := f.takeOut(s); err != nil {
		f.world.fail(fmt.Errorf("fault %s: %w", b.plan.ID, err))
		return
	}
	f.tell(b, "step", fmt.Sprintf("%s is noticed to be gone: nothing is steered to it any more", s.plan.Node))
}

// takeOut has the edge route nothing to a server, and the others do without it.
func (f *faults) takeOut(s *server) error {
	f.out[s.plan.Node] = true
	return errors.Join(f.reroute(), f.live(s, false))
}

// back lets a server go on, and makes it one of the living again if it was missed.
func (f *faults) back(b *breakage, s *server) error {
	delete(f.taken, "server "+s.plan.Node)
	s.missed = nil
	f.world.engine.Stop(s.detection)
	if err := s.revive(); err != nil {
		return err
	}
	if !f.out[s.plan.Node] {
		return nil
	}
	delete(f.out, s.plan.Node)
	return errors.Join(f.live(s, true), f.reroute())
}

// live changes who can be sent packets.
func (f *faults) live(s *server, live bool) error {
	return f.world.reconfigure(func(c *hub.Config) { c.SetLive(s.plan.Node, live) })
}

// reassign gives servers' buckets to the others of their datacenters, or back.
func (f *faults) reassign(b *breakage, drained bool) error {
	return f.world.reconfigure(func(c *hub.Config) {
		for _, s := range b.plan.Servers {
			c.Drain(s, drained)
		}
	})
}

// stop is the last step of a drain.
func (f *faults) stop(b *breakage) error {
	for _, name := range b.plan.Servers {
		s, err := f.takeServer(b, name)
		if err != nil {
			return err
		}
		if err := f.takeOut(s); err != nil {
			return err
		}
		if err := s.close(); err != nil {
			return err
		}
	}
	f.tell(b, "step", "drained: its servers have stopped")
	return nil
}

// reroute gives every router the routes that follow from who announces what and
// which servers are out.
func (f *faults) reroute() error {
	p := f.world.plan
	out := func(server string) bool { return f.out[server] }
	withdrawn := append(slices.Clone(f.withdrawn), p.Silent(out)...)
	f.world.announce(withdrawn)
	slices.SortFunc(withdrawn, func(a, b plan.Announcement) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), cmp.Compare(a.Datacenter, b.Datacenter))
	})
	for i := range p.Nodes {
		n := &p.Nodes[i]
		wanted := p.Rerouted(n, withdrawn, out, f.learned)
		m := f.world.nodes[n.ID]
		for _, old := range f.applied[n.ID] {
			if err := m.restore(old.To); err != nil {
				return err
			}
		}
		for k := range wanted {
			if err := m.route(&wanted[k]); err != nil {
				return err
			}
		}
		f.applied[n.ID] = wanted
	}
	return nil
}

// restore sets the plan's route to a prefix, or takes the prefix away.
func (m *machine) restore(to netip.Prefix) error {
	m.node.DeleteRoute(to)
	for i := range m.plan.Routes {
		if r := &m.plan.Routes[i]; r.To == to {
			return m.route(r)
		}
	}
	return nil
}
