package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// An egress address moves from one datacenter to another in three steps
// (SEMANTICS 5.2). First every datacenter learns, after its own propagation, where
// the address will be and where it was: replies find both. When all know, who had
// it gives it out no more and says which pairs of port and remote end are taken,
// and who has it now gives out the rest. When it has drained, nobody looks where
// it was any more.
//
// Without drain flows that have it end as soon as their server learns of the move,
// and new ones begin when all know.
//
// An address of IPv6 is one server's whole, before and after, and what each edge
// routes to it goes along with what its datacenter knows (learnedTo).

// MoveStep is what the servers of one datacenter learn of an address that moves.
type MoveStep struct {
	// At is when, from the fault's time.
	At         time.Duration  `json:"at"`
	Datacenter string         `json:"datacenter"`
	Entry      egress.Address `json:"entry"`
	// Hands: it gives the address out no more, and what is taken of it is told to
	// the servers of Taker with their next step.
	Hands bool   `json:"hands,omitempty"`
	Taker string `json:"taker,omitempty"`
	// Done forgets what was told.
	Done bool `json:"done,omitempty"`
}

// onAddress moves an address.
func (d *Fault) onAddress(p *Plan) error {
	addr, err := netip.ParseAddr(d.Address)
	if err != nil {
		return fmt.Errorf("address %q, want one such as 198.51.100.1", d.Address)
	}
	from, to := p.datacenter(d.On), p.datacenter(d.To)
	nobody := &Datacenter{}
	switch d.Do {
	case spec.Release:
		to = nobody
	case spec.Allocate:
		from, to = nobody, from
	}
	var old *egress.Address
	if len(p.Servers) > 0 {
		all := p.Servers[0].Config.Egress
		if i := slices.IndexFunc(all, func(a egress.Address) bool { return a.Addr == addr }); i >= 0 {
			old = &all[i]
		}
	}
	switch {
	case from == nil || to == nil && d.Do == spec.Allocate:
		return fmt.Errorf("%q selects no datacenter", d.On)
	case to == nil || to == from:
		return fmt.Errorf("%q is no other datacenter", d.To)
	case d.Do == spec.Allocate && (old == nil || !d.free(p, old)):
		return fmt.Errorf("%v is neither a spare address of this network nor released before", addr)
	case d.Do == spec.Allocate:
	case old == nil || old.Datacenter != from.ID && !d.moved(p, addr, from.ID):
		return fmt.Errorf("%v is no egress address of %s", addr, from.Name)
	}
	for _, dc := range []*Datacenter{from, to} {
		if dc != nobody {
			d.Datacenters = append(d.Datacenters, dc.Name)
		}
	}
	was, now := p.divided(old, from), p.divided(old, to)
	d.steps(p, was, now, from, to)
	return nil
}

// free reports whether an address is nobody's when the fault comes: a spare one, or
// released by the file's last fault of it.
func (d *Fault) free(p *Plan, a *egress.Address) bool {
	free, last := a.Owner == [egress.Slices]ident.Server{}, time.Duration(-1)
	for i := range p.Faults {
		f := &p.Faults[i]
		about := slices.ContainsFunc(f.Moves, func(s MoveStep) bool { return s.Entry.Addr == a.Addr })
		if about && f.At < d.At && f.At.D() >= last {
			free, last = f.Do == spec.Release, f.At.D()
		}
	}
	return free
}

// moved reports whether an earlier move of the file has taken the address there.
func (d *Fault) moved(p *Plan, addr netip.Addr, to ident.Datacenter) bool {
	return slices.ContainsFunc(p.Faults, func(f Fault) bool {
		return (f.Do == spec.Move || f.Do == spec.Allocate) && f.At < d.At && slices.ContainsFunc(f.Moves, func(s MoveStep) bool {
			return s.Entry.Addr == addr && s.Entry.Datacenter == to
		})
	})
}

func (p *Plan) datacenter(name string) *Datacenter {
	for i := range p.Datacenters {
		if p.Datacenters[i].Name == name {
			return &p.Datacenters[i]
		}
	}
	return nil
}

// divided is an address as a datacenter's servers share it.
func (p *Plan) divided(a *egress.Address, d *Datacenter) egress.Address {
	if a.Datacenter == d.ID && a.Owner != [egress.Slices]ident.Server{} {
		return *a
	}
	next := *a
	if d.Name == "" { // nobody's; replies still look for it where it was
		next.Owner = [egress.Slices]ident.Server{}
		return next
	}
	next.Datacenter, next.Owner = d.ID, [egress.Slices]ident.Server{}
	var servers []ident.Server
	for _, s := range p.Servers {
		if s.Datacenter == d.Name && s.Index < egress.Slices {
			next.Owner[s.Index] = s.Config.Self
			servers = append(servers, s.Config.Self)
		}
	}
	if a.Addr.Is6() {
		next.Own(servers[p.turn(a.Addr)%len(servers)])
	}
	return next
}

// turn is the number of an address of IPv6 among those of its prefix, by which they
// are dealt to servers.
func (p *Plan) turn(a netip.Addr) (n int) {
	of := p.rangeOf(a)
	for _, e := range p.Servers[0].Config.Egress {
		if of.Contains(e.Addr) && e.Addr.Less(a) {
			n++
		}
	}
	return n
}

// learnedTo is where an edge routes the addresses of IPv6 that its datacenter has
// learned of in these steps, the last of which counts: to whom flows may begin with
// it, or begin soon, or still are; else nowhere.
func (p *Plan) learnedTo(edge *Node, steps []MoveStep) []KernelRoute {
	var all []KernelRoute
	for i := range steps {
		e := &steps[i].Entry
		if steps[i].Datacenter != edge.Datacenter || !e.Addr.Is6() {
			continue
		}
		r := KernelRoute{To: host(e.Addr)}
		if k := slices.IndexFunc(p.Servers, func(s Server) bool { return s.Config.Self == cmp.Or(e.Opens()[1], e.Owner[1], e.Was[1]) }); k >= 0 {
			next := p.Servers[k].Node
			if dc := p.Servers[k].Datacenter; dc != edge.Datacenter {
				next = dc + ".edge"
			}
			r.Hops = p.hops6(edge.ID, next)
		}
		all = append(slices.DeleteFunc(all, func(old KernelRoute) bool { return old.To == r.To }), r)
	}
	return all
}

// hops6 is the next hop of IPv6 from a router to its neighbour.
func (p *Plan) hops6(from, to string) []Hop {
	for i := range p.Links {
		l := &p.Links[i]
		own, other := &l.A, &l.B
		if other.Node == from {
			own, other = other, own
		}
		if own.Node != from || other.Node != to {
			continue
		}
		for _, a := range own.Neighbors {
			if a.Is6() {
				return []Hop{{Interface: own.Interface, Via: a}}
			}
		}
	}
	return nil
}

// steps are what each datacenter learns, and when.
func (d *Fault) steps(p *Plan, was, now egress.Address, from, to *Datacenter) {
	last := time.Duration(0)
	for _, dc := range p.Datacenters {
		last = max(last, dc.Propagation)
	}
	now.Version = was.Version + 1
	drains := now
	drains.Was = was.Owner
	closed := drains
	closed.Closed = true
	if d.Wait == 0 {
		drains.Was = [egress.Slices]ident.Server{}
		closed = drains
		closed.Closed = true
	}
	for _, dc := range p.Datacenters {
		d.Moves = append(d.Moves, MoveStep{At: dc.Propagation, Datacenter: dc.Name, Entry: closed})
	}
	// Who had it first, then who has it.
	order := slices.Clone(p.Datacenters)
	rank := func(dc Datacenter) int { return [...]int{2, 1, 0}[btoi(dc.ID == to.ID)+2*btoi(dc.ID == from.ID)] }
	slices.SortStableFunc(order, func(a, b Datacenter) int { return cmp.Compare(rank(a), rank(b)) })
	for _, dc := range order {
		s := MoveStep{At: last, Datacenter: dc.Name, Entry: drains}
		if dc.ID != from.ID && dc.ID != to.ID {
			s.At += dc.Propagation
		}
		if dc.ID == from.ID && d.Wait != 0 && to.Name != "" {
			s.Hands, s.Taker = true, to.Name
		}
		d.Moves = append(d.Moves, s)
	}
	if d.Wait != 0 {
		for _, dc := range p.Datacenters {
			d.Moves = append(d.Moves, MoveStep{At: last + d.Wait.D(), Datacenter: dc.Name, Entry: now, Done: true})
		}
	}
	slices.SortStableFunc(d.Moves, func(a, b MoveStep) int { return cmp.Compare(a.At, b.At) })
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Concerns reports whether the step is for the servers of which self is one.
func (s *MoveStep) Concerns(p *Plan, self ident.Server) bool {
	return slices.ContainsFunc(p.Servers, func(x Server) bool { return x.Config.Self == self && x.Datacenter == s.Datacenter })
}

// Apply gives a server's configuration what the step says; held is what was told
// of the address.
func (s *MoveStep) Apply(c *hub.Config, held []hub.Held) {
	c.Egress = slices.Clone(c.Egress)
	for i := range c.Egress {
		if c.Egress[i].Addr == s.Entry.Addr {
			c.Egress[i] = s.Entry
		}
	}
	c.Held = slices.DeleteFunc(slices.Clone(c.Held), func(h hub.Held) bool { return h.Egress.Addr() == s.Entry.Addr })
	if !s.Done {
		c.Held = append(c.Held, held...)
	}
}

// Text says for people what the step is.
func (s *MoveStep) Text(d *Fault) string {
	switch {
	case d.Do == spec.Release && s.Entry.Closed:
		return fmt.Sprintf("%s knows that %s is to be nobody's (version %d)", s.Datacenter, s.Entry.Addr, s.Entry.Version)
	case d.Do == spec.Release:
		return fmt.Sprintf("to %s, %s is nobody's", s.Datacenter, s.Entry.Addr)
	case d.Do == spec.Allocate && s.Entry.Closed:
		return fmt.Sprintf("%s knows that %s is to be of %s (version %d)", s.Datacenter, s.Entry.Addr, d.On, s.Entry.Version)
	case d.Do == spec.Allocate:
		return fmt.Sprintf("to %s, flows with %s begin at %s", s.Datacenter, s.Entry.Addr, d.On)
	case s.Done:
		return fmt.Sprintf("%s has drained: %s knows %s alone", s.Entry.Addr, s.Datacenter, d.To)
	case s.Entry.Closed:
		return fmt.Sprintf("%s knows that %s goes from %s to %s (version %d)", s.Datacenter, s.Entry.Addr, d.On, d.To, s.Entry.Version)
	case s.Hands:
		return fmt.Sprintf("%s gives %s out no more", s.Datacenter, s.Entry.Addr)
	}
	return fmt.Sprintf("to %s, flows with %s begin at %s", s.Datacenter, s.Entry.Addr, d.To)
}
