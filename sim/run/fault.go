package run

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// faults are the plan's, at work. What each does is what the lab's do (emu/fault).
type faults struct {
	world  *world
	all    []*breakage
	entity engine.Entity
	// taken are who holds what only one fault can have at a time.
	taken map[string]string
	// withdrawn are announcements, once for each fault that withdrew them; out are
	// servers that their edge routes nothing to.
	withdrawn []plan.Announcement
	out       map[string]bool
	// untold are routes that customers' routers have withdrawn, once for each fault
	// that has; frozen the datacenters that hear of none.
	untold  map[plan.Learned]int
	frozen  map[string]int
	applied map[string][]plan.KernelRoute // by node: what differs from the plan
	end     vt.Instant                    // when the last has happened and healed
}

// breakage is one fault.
type breakage struct {
	plan *plan.Fault
	// active: it has happened and not healed. cut: its links are muted now.
	active, cut bool
	// down are the servers that it stopped.
	down []*server
	// step is the next of the plan's moves, held what was told of the address.
	step int
	held []hub.Held
}

// What an event of a fault's means, in the lowest bits of its argument; the rest
// is the fault's index.
const (
	happens uint32 = iota
	heals
	turns
	drains
	moves
	relays    // the index is a datacenter's
	faultBits = 3
)

// schedule has the plan's faults happen, from the start of traffic on.
func (w *world) schedule(base vt.Instant) {
	f := &w.faults
	*f = faults{world: w, entity: w.entity(), taken: map[string]string{}, out: map[string]bool{}, untold: map[plan.Learned]int{}, frozen: map[string]int{}, applied: map[string][]plan.KernelRoute{}}
	for i := range w.plan.Faults {
		p := &w.plan.Faults[i]
		f.all = append(f.all, &breakage{plan: p})
		at := base.Add(p.At.D())
		f.at(at, i, happens)
		if p.For > 0 || p.Do == spec.Restart {
			at = at.Add(p.For.D())
			f.at(at, i, heals)
		}
		for _, s := range p.Moves {
			at = max(at, base.Add(p.At.D()+s.At))
		}
		f.end = max(f.end, at)
	}
}

func (f *faults) at(at vt.Instant, i int, what uint32) {
	f.world.engine.At(at, classFault, f.entity, kindFault, uint32(i)<<faultBits|what)
}

// handle takes an event of a fault's.
func (f *faults) handle(arg uint32) {
	if arg&(1<<faultBits-1) == relays {
		if err := f.relay(f.world.plan.Datacenters[arg>>faultBits].Name); err != nil {
			f.world.fail(err)
		}
		return
	}
	i, b := int(arg>>faultBits), f.all[arg>>faultBits]
	var err error
	switch arg & (1<<faultBits - 1) {
	case happens:
		b.active = true
		f.tell(b, "fault", journal.Happened(b.plan))
		err = f.happen(i, b)
	case heals:
		b.active = false
		if err = f.heal(b); err == nil {
			f.tell(b, "healed", journal.Healed(b.plan))
		}
	case turns:
		if b.active {
			f.mute(b, !b.cut)
			f.turn(i, b)
		}
	case drains:
		if b.active {
			err = f.stop(b)
		}
	case moves:
		err = f.move(b)
	}
	if err != nil {
		f.world.fail(fmt.Errorf("fault %s: %w", b.plan.ID, err))
	}
}

func (f *faults) tell(b *breakage, kind, text string) {
	f.world.event(record.Event{Node: b.plan.On, Kind: kind, Fault: b.plan.ID, Text: text})
}

// happen does what the fault does.
func (f *faults) happen(i int, b *breakage) error {
	switch b.plan.Do {
	case spec.Cut, spec.Partition, spec.Blackhole:
		f.mute(b, true)
	case spec.Flap:
		f.mute(b, true)
		f.turn(i, b)
	case spec.Degrade:
		return f.degrade(b, true)
	case spec.LowerMTU:
		return f.lower(b, true)
	case spec.Pause, spec.Kill, spec.Restart:
		f.mute(b, true) // a router is its links, for all that others can tell
		return f.silence(b)
	case spec.Move:
		for _, s := range b.plan.Moves {
			f.at(f.world.engine.Now().Add(s.At), i, moves)
		}
	case spec.Freeze:
		f.freeze(b, 1)
	case spec.Withdraw, spec.Drain:
		f.tellAnew(b, 1)
		for _, d := range b.plan.Datacenters {
			for _, p := range b.plan.Prefixes {
				f.withdrawn = append(f.withdrawn, plan.Announcement{Datacenter: d, Prefix: p})
			}
		}
		if b.plan.Do == spec.Drain {
			f.at(f.world.engine.Now().Add(b.plan.Wait.D()), i, drains)
		}
		return f.reroute()
	default:
		return fmt.Errorf("no fault is called %q", b.plan.Do)
	}
	return nil
}

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

// heal undoes it, in reverse.
func (f *faults) heal(b *breakage) error {
	var errs []error
	for _, s := range slices.Backward(b.down) {
		errs = append(errs, f.back(b, s))
	}
	b.down = nil
	f.mute(b, false)
	switch b.plan.Do {
	case spec.Degrade:
		errs = append(errs, f.degrade(b, false))
	case spec.LowerMTU:
		errs = append(errs, f.lower(b, false))
	case spec.Freeze:
		f.freeze(b, -1)
	case spec.Withdraw, spec.Drain:
		f.tellAnew(b, -1)
		for _, d := range b.plan.Datacenters {
			for _, p := range b.plan.Prefixes {
				k := slices.Index(f.withdrawn, plan.Announcement{Datacenter: d, Prefix: p})
				f.withdrawn = slices.Delete(f.withdrawn, k, k+1)
			}
		}
		errs = append(errs, f.reroute())
	}
	return errors.Join(errs...)
}

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

// live changes who takes part in the bucket table. A server that went is asked
// for nothing; one that comes back asks those who held its buckets meanwhile.
func (f *faults) live(s *server, live bool) error {
	return f.world.reconfigure(func(c *hub.Config) {
		c.Servers = slices.Clone(c.Servers)
		for i := range c.Servers {
			x := &c.Servers[i]
			if x.Name == s.plan.Node {
				x.Live, x.WasLive = live, false
				continue
			}
			x.WasLive = x.Live
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
		wanted := p.Rerouted(n, withdrawn, out)
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
