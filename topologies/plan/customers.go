package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
)

// customerASN is what a site's router has that the file gives no number (RFC 6996).
const customerASN = 65000

// customers gives every router by which routes are learned its BGP speaker, with a
// session through each on-ramp that it tells routes by, and every datacenter's edge
// the other end of all sessions: whichever a tunnel lands in, the network's address
// inside is there (SEMANTICS 2.7).
func (b *builder) customers() {
	for _, a := range b.accounts {
		for _, r := range b.routes(a) {
			if r.Source == route.BGP && r.NextHop != 0 {
				b.tells(&r)
			}
		}
	}
	for i := range b.p.Customers {
		for k := range b.p.Customers[i].Sessions {
			b.ends(&b.p.Customers[i], &b.p.Customers[i].Sessions[k])
		}
	}
	if len(b.p.Customers) > 0 {
		b.p.Hold = BGPHold(b.s.Timers)
	}
}

// tells has the router of an on-ramp tell a route by it.
func (b *builder) tells(r *planned) {
	name := b.ramps[r.NextHop-1].Name
	i := slices.IndexFunc(b.branch, func(x *branch) bool {
		return slices.ContainsFunc(x.ways, func(w way) bool { return w.name == name })
	})
	if i < 0 {
		return // connectors have no ways, and are refused
	}
	x := b.branch[i]
	way := x.wayOf(name)
	k := slices.IndexFunc(b.p.Customers, func(s Speaker) bool { return s.Node == x.Node })
	if k < 0 {
		k = len(b.p.Customers)
		b.p.Customers = append(b.p.Customers, Speaker{Node: x.Node, ASN: cmp.Or(x.asn, customerASN), ID: way.inner})
	}
	s := &b.p.Customers[k]
	n := slices.IndexFunc(s.Sessions, func(x Session) bool { return x.OnRamp == r.NextHop })
	if n < 0 {
		n = len(s.Sessions)
		s.Sessions = append(s.Sessions, Session{
			Node: name, OnRamp: r.NextHop, Interface: way.hop.Interface, Local: way.inner, Remote: way.peer,
			Neighbor: bgp.Neighbor{ASN: route.NetworkASN, Relation: bgp.Provider},
		})
		o := &b.ramps[r.NextHop-1].OnRamp
		o.Peer, o.BGP = way.inner, true
	}
	s.Origins = append(s.Origins, bgp.Origin{Prefix: r.Prefix, To: []int{n}, Prepend: r.prepend, Communities: r.communities})
}

// ends gives every datacenter's edge the network's end of a session.
func (b *builder) ends(s *Speaker, x *Session) {
	for i, d := range b.dcs {
		if len(b.p.Relays) <= i {
			b.p.Relays = append(b.p.Relays, Speaker{Node: d.edge.ID, ASN: route.NetworkASN, ID: advance(routerIDs, len(b.p.Speakers)+i+1)})
		}
		own := make([]Hop, 0, len(d.servers))
		for _, server := range d.servers {
			own = append(own, b.hop(d.edge, server.node)...)
		}
		d.edge.Loopback = append(d.edge.Loopback, host(x.Remote))
		d.edge.Routes = append(d.edge.Routes, KernelRoute{To: host(x.Local), Hops: own, Source: x.Remote})
		b.p.Relays[i].Sessions = append(b.p.Relays[i].Sessions, Session{
			Node: s.Node, OnRamp: x.OnRamp, Local: x.Remote, Remote: x.Local,
			Neighbor: bgp.Neighbor{ASN: s.ASN, ID: s.ID, Relation: bgp.Customer},
		})
	}
}

// Learned is a route that a customer's router tells by BGP over its on-ramp
// (SEMANTICS 2.7).
type Learned struct {
	OnRamp ident.OnRamp
	Prefix netip.Prefix
}

// Learned are the routes that customers' routers tell, with their priorities, while
// nothing is broken.
func (p *Plan) Learned() map[Learned]int {
	all := map[Learned]int{}
	for _, r := range p.Servers[0].Config.Routes { // they exist everywhere
		if r.Source == route.BGP {
			all[Learned{r.NextHop, r.Prefix}] = r.Priority
		}
	}
	return all
}

// OnRampName is what the file calls an on-ramp: "shop.1.wan".
func (p *Plan) OnRampName(id ident.OnRamp) string {
	return p.Servers[0].Config.OnRamps[id-1].Name
}

// Told are the origins of a customer's router without those that it has taken back.
func (s *Speaker) Told(untold func(Learned) bool) []bgp.Origin {
	return slices.DeleteFunc(slices.Clone(s.Origins), func(o bgp.Origin) bool {
		return slices.ContainsFunc(o.To, func(n int) bool { return untold(Learned{s.Sessions[n].OnRamp, o.Prefix}) })
	})
}
