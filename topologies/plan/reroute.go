package plan

import (
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/ident"
)

// Announcement is a prefix as a datacenter announces it.
type Announcement struct {
	Datacenter string       `json:"datacenter"`
	Prefix     netip.Prefix `json:"prefix"`
}

// Silent are the announcements of datacenters all of whose servers are out: an
// edge that has nowhere to send a prefix withdraws it.
func (p *Plan) Silent(out func(server string) bool) []Announcement {
	var all []Announcement
	for _, d := range p.Datacenters {
		alive := slices.ContainsFunc(p.Servers, func(s Server) bool { return s.Datacenter == d.Name && !out(s.Node) })
		for _, a := range p.anycast() {
			if !alive {
				all = append(all, Announcement{d.Name, a})
			}
		}
	}
	return all
}

// Rerouted are the routes of a transit router or edge that differ from the
// plan's, in order, when datacenters have withdrawn announcements, edges route
// nothing to the servers that are out, and datacenters have learned of addresses
// that moved, in the order of steps. The next nearest datacenter that announces
// a prefix takes what is sent there; if none does, it is dropped where it enters
// the Internet.
func (p *Plan) Rerouted(n *Node, withdrawn []Announcement, out func(server string) bool, steps []MoveStep) []KernelRoute {
	switch n.Kind {
	case KindTransit:
		if len(p.Speakers) > 0 {
			return nil // they find out by themselves
		}
		return p.landing(n, withdrawn)
	case KindEdge:
		return p.without(n, out, p.learnedTo(n, steps))
	}
	return nil
}

func (p *Plan) landing(n *Node, withdrawn []Announcement) []KernelRoute {
	var all []KernelRoute
	for _, a := range withdrawn {
		known := func(r KernelRoute) bool { return r.To == a.Prefix }
		if slices.ContainsFunc(all, known) {
			continue
		}
		if r, differs := p.lands(n.ID, a.Prefix, withdrawn); differs {
			all = append(all, r)
		}
	}
	return all
}

// lands is the route of a transit router to a prefix that somebody withdrew; it
// differs from the plan's unless the nearest datacenter still announces it.
func (p *Plan) lands(node string, prefix netip.Prefix, withdrawn []Announcement) (r KernelRoute, differs bool) {
	r.To = prefix
	for _, l := range p.Landings {
		if l.Node != node {
			continue
		}
		a := Announcement{l.Datacenter, prefix}
		if slices.Contains(p.Withheld, a) {
			continue
		}
		if slices.Contains(withdrawn, a) {
			differs = true
			continue
		}
		if r.Hops = l.Hops; prefix.Addr().Is6() {
			r.Hops = l.Hops6
		}
		return r, differs
	}
	return r, differs // nobody does: a black hole
}

// without are the routes of an edge that go to a server that is out, or moved.
func (p *Plan) without(n *Node, out func(server string) bool, moved []KernelRoute) []KernelRoute {
	gone := map[string]bool{}
	for i := range p.Links {
		if l := &p.Links[i]; l.Class == ClassServer && l.B.Node == n.ID && out(l.A.Node) {
			gone[l.B.Interface] = true
		}
	}
	alive := func(r KernelRoute) (KernelRoute, bool) {
		left := slices.DeleteFunc(slices.Clone(r.Hops), func(h Hop) bool { return gone[h.Interface] })
		differs := len(left) < len(r.Hops)
		r.Hops = left
		return r, differs
	}
	var all []KernelRoute
	for _, r := range moved {
		r, _ = alive(r)
		all = append(all, r)
	}
	for _, r := range n.Routes {
		if slices.ContainsFunc(moved, func(m KernelRoute) bool { return m.To == r.To }) {
			continue
		}
		if r, differs := alive(r); differs {
			all = append(all, r)
		}
	}
	return all
}

// RouterEnd is the interface of an on-ramp at the site's router; false if there
// is none.
func (p *Plan) RouterEnd(onramp ident.OnRamp) (node, iface string, ok bool) {
	for i := range p.Branches {
		b := &p.Branches[i]
		for _, t := range b.Tunnels {
			if t.OnRamp == onramp {
				return b.Node, t.Interface, true
			}
		}
	}
	for _, x := range p.Interconnects {
		if x.OnRamp != onramp {
			continue
		}
		for i := range p.Links {
			if l := &p.Links[i]; l.B.Node == x.Edge && l.B.Interface == x.Interface {
				return l.A.Node, l.A.Interface, true
			}
		}
	}
	return "", "", false
}
