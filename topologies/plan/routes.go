package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// kernelRoutes gives every router the routes by which plain IP works. There is
// none for a site's LAN: private prefixes are unroutable outside a site, which
// is what the servers are for.
func (b *builder) kernelRoutes() {
	anycast := fourOf(b.p.anycast())
	if len(b.s.Transit) > 0 {
		b.learnedRoutes()
	} else {
		for _, t := range b.towns {
			b.transitRoutes(t, anycast)
		}
	}
	for _, d := range b.dcs {
		b.edgeRoutes(d, anycast)
	}
	for _, r := range b.branch {
		b.branchRoutes(r)
	}
}

// sortRoutes puts every node's routes in order.
func (b *builder) sortRoutes() {
	for _, n := range b.order {
		slices.SortFunc(n.Routes, func(x, y KernelRoute) int {
			return cmp.Or(x.To.Addr().Compare(y.To.Addr()), cmp.Compare(x.To.Bits(), y.To.Bits()))
		})
	}
}

// hop is the next hop from one router to its neighbour.
func (b *builder) hop(from, to *node) []Hop { return []Hop{b.hops[[2]string{from.ID, to.ID}]} }

// transitRoutes is the Internet of one place: anycast addresses go to the
// nearest datacenter, all else to where it is.
func (b *builder) transitRoutes(t *town, anycast []netip.Prefix) {
	for _, p := range anycast {
		r := KernelRoute{To: p} // a black hole where nobody announces it
		if d := b.nearest(t, p); d != nil {
			r.Hops = b.hop(t.node, t.toward(d))
		}
		t.node.Routes = append(t.node.Routes, r)
	}
	t.node.Routes = append(t.node.Routes, KernelRoute{To: ownRange})
	for _, r := range b.branch {
		if r.town == t {
			continue // it is on the link
		}
		for _, line := range r.lines {
			outer := host(line.A.Addresses[0].Addr())
			t.node.Routes = append(t.node.Routes, KernelRoute{To: outer, Hops: b.hop(t.node, r.town.node)})
		}
	}
	for _, m := range b.origin {
		if m.addr.Is6() || m.replica && !m.asks.IsValid() {
			continue
		}
		to, hops := m.addr, []Hop{{Interface: m.link.B.Interface}}
		switch {
		case m.town != t:
			hops = b.hop(t.node, m.town.node)
		case m.replica:
			hops = b.hop(t.node, b.nodes[m.node.Datacenter+".edge"])
		}
		if m.replica {
			to = m.asks
		}
		t.node.Routes = append(t.node.Routes, KernelRoute{To: host(to), Hops: hops})
	}
}

// edgeRoutes balances anycast addresses over the datacenter's own servers and
// carries hand-overs to theirs and over the backbone.
func (b *builder) edgeRoutes(d *dc, anycast []netip.Prefix) {
	own := make([]Hop, 0, len(d.servers))
	for _, s := range d.servers {
		own = append(own, b.hop(d.edge, s.node)...)
	}
	for _, p := range anycast {
		d.edge.Routes = append(d.edge.Routes, KernelRoute{To: p, Hops: own})
	}
	if d.unconnected.IsValid() {
		d.edge.Routes = append(d.edge.Routes, KernelRoute{To: host(unconnectedAddr), Hops: own})
	}
	for _, e := range b.dcs {
		if e != d && e.unconnected.IsValid() {
			d.edge.Routes = append(d.edge.Routes, KernelRoute{To: host(e.unconnected), Hops: b.hop(d.edge, e.edge)})
		}
		for _, s := range e.servers {
			next := s.node
			if e != d {
				next = e.edge
			}
			d.edge.Routes = append(d.edge.Routes, KernelRoute{To: host(s.handover), Hops: b.hop(d.edge, next)})
		}
	}
	b.replicaRoutes(d, netip.Addr.Is4)
	if len(b.s.Transit) == 0 {
		d.edge.Routes = append(d.edge.Routes, KernelRoute{To: defaultOf(tunnelAddr), Hops: b.hop(d.edge, d.town.node)})
	}
	for _, s := range d.servers {
		s.node.Routes = append(s.node.Routes, KernelRoute{To: defaultOf(tunnelAddr), Hops: b.hop(s.node, d.edge)})
	}
}

// branchRoutes sends what leaves a branch over its on-ramps (Choice), and the
// tunnels' own packets over the WAN: without the second they would go into the
// first. What a connector translates comes back into its tunnel, and nothing
// else goes there.
func (b *builder) branchRoutes(r *branch) {
	if r.link != nil {
		r.node.Routes = append(r.node.Routes, KernelRoute{To: host(tunnelAddr), Hops: b.hop(r.node, r.town.node)})
	}
	if len(r.ways) == 0 {
		return
	}
	to := defaultOf(r.inside())
	if r.nat.IsValid() {
		to = host(r.nat)
	}
	way := KernelRoute{To: to, Hops: []Hop{r.ways[0].hop}}
	if r.Choice != nil && r.Choice.Select == spec.ECMP {
		r.node.Multipath, way.Hops = true, nil
		for _, w := range r.Choice.Ways {
			way.Hops = append(way.Hops, w.Hop)
		}
	}
	r.node.Routes = append(r.node.Routes, way)
}
