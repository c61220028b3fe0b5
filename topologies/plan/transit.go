package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Speaker is a router that speaks BGP: an AS's, or a datacenter's edge.
type Speaker struct {
	Node string `json:"node"`
	ASN  uint32 `json:"asn"`
	// ID is its router id, by which the last tie between paths is broken.
	ID       netip.Addr `json:"id"`
	Sessions []Session  `json:"sessions"`
	// Origins are what it announces.
	Origins []bgp.Origin `json:"origins"`
}

// Session is one with a neighbour, over the link between the two.
type Session struct {
	Node string `json:"node"` // the neighbour's
	// OnRamp is what a session between a customer's router and the network goes
	// through; 0 of all others.
	OnRamp    ident.OnRamp `json:"onramp,omitempty"`
	Interface string       `json:"interface,omitempty"`
	Local     netip.Addr   `json:"local"`
	Remote    netip.Addr   `json:"remote"`
	// Local6 and Remote6 are the next hops of IPv6, which the session carries too (RFC
	// 4760); invalid where it does not.
	Local6       netip.Addr `json:"local6,omitzero"`
	Remote6      netip.Addr `json:"remote6,omitzero"`
	bgp.Neighbor            // whose
}

// Hop is the next hop to a prefix that the session's neighbour is best for.
func (s *Session) Hop(to netip.Prefix) Hop {
	if to.Addr().Is6() {
		return Hop{Interface: s.Interface, Via: s.Remote6}
	}
	return Hop{Interface: s.Interface, Via: s.Remote}
}

// By finds the session whose neighbour is a next hop; -1 if there is none.
func (s *Speaker) By(hop netip.Addr) int {
	return slices.IndexFunc(s.Sessions, func(x Session) bool { return hop.IsValid() && (x.Remote == hop || x.Remote6 == hop) })
}

// Dials says whether this end opens the connection: one alone does, so that no two
// collide. Customers' routers do: the network's end is wherever their tunnel lands.
func (s *Session) Dials() bool {
	if s.OnRamp != 0 {
		return s.Relation == bgp.Provider
	}
	return s.Local.Less(s.Remote)
}

// Router are the decisions of the speaker, with all sessions down.
func (s *Speaker) Router() *bgp.Router {
	var all []bgp.Neighbor
	for _, n := range s.Sessions {
		all = append(all, n.Neighbor)
	}
	return bgp.NewRouter(s.ASN, all)
}

// Originated are the speaker's origins of each prefix, in the order of the first.
func (s *Speaker) Originated() [][]bgp.Origin {
	var all [][]bgp.Origin
	for _, o := range s.Origins {
		i := slices.IndexFunc(all, func(same []bgp.Origin) bool { return same[0].Prefix == o.Prefix })
		if i < 0 {
			i, all = len(all), append(all, nil)
		}
		all[i] = append(all[i], o)
	}
	return all
}

// session is the number of a speaker's session with a node.
func (s *Speaker) session(node string) int {
	return slices.IndexFunc(s.Sessions, func(x Session) bool { return x.Node == node })
}

// Announces are the origins of a speaker without what its datacenter has withdrawn.
func (p *Plan) Announces(s *Speaker, withdrawn []Announcement) []bgp.Origin {
	n, _ := p.Node(s.Node)
	return slices.DeleteFunc(slices.Clone(s.Origins), func(o bgp.Origin) bool {
		return n.Kind == KindEdge && slices.Contains(withdrawn, Announcement{n.Datacenter, o.Prefix})
	})
}

// Speaker finds the speaker that is a node.
func (p *Plan) Speaker(node string) (*Speaker, bool) {
	i := slices.IndexFunc(p.Speakers, func(s Speaker) bool { return s.Node == node })
	if i < 0 {
		return nil, false
	}
	return &p.Speakers[i], true
}

// Network is what all speakers come to when every session is up and everything is
// told; its routers are Speakers in their order. False if it is never quiet.
func (p *Plan) Network() (*bgp.Network, []*bgp.Router, bool) {
	var w bgp.Network
	var routers []*bgp.Router
	number := map[string]int{}
	for i := range p.Speakers {
		s := &p.Speakers[i]
		number[s.Node] = i
		routers = append(routers, s.Router())
		w.Add(routers[i])
	}
	for i := range p.Speakers {
		for n, x := range p.Speakers[i].Sessions {
			if j := number[x.Node]; i < j {
				w.Connect(i, n, j, p.Speakers[j].session(p.Speakers[i].Node))
			}
		}
	}
	for i := range p.Speakers {
		for _, own := range p.Speakers[i].Originated() {
			w.Announce(i, own[0].Prefix, own)
		}
	}
	return &w, routers, w.Settle(maxUpdates)
}

const (
	// maxUpdates is beyond what any lab's network takes to be quiet.
	maxUpdates = 10_000_000
	// firstASN is the first of RFC 6996, for ASes that the file does not number.
	firstASN = 64512
	// standardHold is the hold time of a tunnel's session too (SEMANTICS 2.7).
	standardHold = 90 * time.Second
	// minHold is the shortest that there is (RFC 4271 section 4.2).
	minHold = 3 * time.Second
)

// routerIDs are numbered from here, in the order of speakers: the end of the
// routers' range, where no link is.
var routerIDs = netip.MustParseAddr("198.18.240.0")

// systems makes the routers of the file's ASes.
func (b *builder) systems() {
	for i := range b.s.Transit {
		s := &b.s.Transit[i]
		path := at("transit", i)
		code := ""
		if len(s.Near) > 0 {
			code = strings.ToLower(s.Near[0].Code)
		}
		if j := slices.IndexFunc(b.s.Datacenters, func(d spec.Datacenter) bool { return d.ID == code || code == "" }); j >= 0 {
			code = cmp.Or(strings.ToLower(b.s.Datacenters[j].Place), b.s.Datacenters[j].ID)
		}
		t := &town{code: code, pos: locate(code), as: s, path: path}
		if !t.pos.known {
			b.fail(path+".near", "%q is neither a datacenter nor a place with a known position", code)
		}
		t.node = b.add(path, t.pos.mark(Node{ID: "transit." + s.ID, Kind: KindTransit, Forward: true}, code))
		b.towns = append(b.towns, t)
	}
}

// upstream is an AS that a datacenter is linked to, and what that is to it.
type upstream struct {
	town     *town
	relation bgp.Relation
}

// uplinked are the ASes that a datacenter's edge is linked to: those that mention
// it, or the nearest.
func (b *builder) uplinked(d *dc) []upstream {
	var all []upstream
	for _, t := range b.towns {
		switch {
		case slices.Contains(t.as.Customers, d.spec.ID):
			all = append(all, upstream{t, bgp.Provider})
		case slices.Contains(t.as.Peers, d.spec.ID):
			all = append(all, upstream{t, bgp.Peer})
		}
	}
	if all == nil {
		t := slices.MinFunc(b.towns, func(x, y *town) int { return cmp.Compare(delay(d.pos, x.pos), delay(d.pos, y.pos)) })
		all = append(all, upstream{t, bgp.Provider})
	}
	return all
}

// relation is what u is to t; empty if they are not linked.
func (t *town) relation(u *town) bgp.Relation {
	has := func(list []string, of *town) bool { return slices.Contains(list, of.as.ID) }
	switch {
	case has(t.as.Customers, u) || has(u.as.Providers, t):
		return bgp.Customer
	case has(t.as.Providers, u) || has(u.as.Customers, t):
		return bgp.Provider
	case has(t.as.Peers, u) || has(u.as.Peers, t):
		return bgp.Peer
	}
	return ""
}

// sessions makes the speakers, and links ASes as their relations say, with a
// session over each link.
func (b *builder) sessions() {
	b.p.Hold = BGPHold(b.s.Timers)
	for i, t := range b.towns {
		asn := t.as.ASN
		for n := uint32(firstASN + i); asn == 0; n++ {
			if !slices.ContainsFunc(b.s.Transit, func(o spec.Transit) bool { return o.ASN == n }) {
				asn = n
			}
		}
		b.speaker(t.node, asn)
	}
	for _, d := range b.dcs {
		b.speaker(d.edge, route.NetworkASN)
	}
	for i, t := range b.towns {
		for _, u := range b.towns[i+1:] {
			switch r := t.relation(u); r {
			case bgp.Provider, bgp.Peer: // up is toward the middle of the Internet
				b.session(b.wire(ClassTransit, t.node, u.node, delay(t.pos, u.pos)), r)
			case bgp.Customer:
				b.session(b.wire(ClassTransit, u.node, t.node, delay(t.pos, u.pos)), r.Reverse())
			}
		}
	}
}

// catchments finds out where each AS lands.
func (b *builder) catchments() {
	w, _, quiet := b.p.Network()
	if !quiet {
		b.fail("transit", "routing never comes to rest")
	}
	for i, t := range b.towns {
		if land, ok := w.Catchment(i, host(tunnelAddr)); ok && land >= len(b.towns) {
			t.serves = b.dcs[land-len(b.towns)]
		}
	}
}

func (b *builder) speaker(n *node, asn uint32) {
	id := advance(routerIDs, len(b.p.Speakers)+1)
	b.p.Speakers = append(b.p.Speakers, Speaker{Node: n.ID, ASN: asn, ID: id})
}

// session gives both ends of a link a session; relation is what B is to A.
func (b *builder) session(l *Link, relation bgp.Relation) {
	x, _ := b.p.Speaker(l.A.Node)
	y, _ := b.p.Speaker(l.B.Node)
	cost := uint32(l.Geo / time.Microsecond)
	add := func(s, far *Speaker, own, other *Endpoint, r bgp.Relation) {
		n := Session{
			Node: far.Node, Interface: own.Interface, Local: own.Addresses[0].Addr(), Remote: other.Addresses[0].Addr(),
			Neighbor: bgp.Neighbor{ASN: far.ASN, ID: far.ID, Relation: r, Cost: cost},
		}
		if b.six != nil {
			n.Local6, n.Remote6 = own.Addresses[1].Addr(), other.Addresses[1].Addr()
		}
		s.Sessions = append(s.Sessions, n)
	}
	add(x, y, &l.A, &l.B, relation)
	add(y, x, &l.B, &l.A, relation.Reverse())
}

// learnedRoutes are the routes of ASes and edges: what is on their own links, and
// what BGP brings once everything is told.
func (b *builder) learnedRoutes() {
	for _, t := range b.towns {
		b.ownRoutes(t)
	}
	_, routers, quiet := b.p.Network()
	if !quiet {
		b.fail("transit", "routing never comes to rest")
		return
	}
	for i := range b.p.Speakers {
		s := &b.p.Speakers[i]
		n := b.nodes[s.Node]
		for _, p := range routers[i].Prefixes() {
			if best := routers[i].Best(p); best >= 0 {
				n.Routes = append(n.Routes, KernelRoute{To: p, Hops: []Hop{s.Sessions[best].Hop(p)}, Learned: true})
			}
		}
	}
	for _, r := range b.branch {
		if r.link != nil && r.town.serves == nil {
			b.fail(r.node.path, "%s hangs on %s, which no path leads from to a datacenter: want an AS with a provider, or a datacenter among its customers or peers", r.node.ID, r.town.as.ID)
		}
	}
}

// ownRoutes are what an AS has without asking anybody, and announces: its origins,
// and the outer addresses of its sites.
func (b *builder) ownRoutes(t *town) {
	s, _ := b.p.Speaker(t.node.ID)
	own := func(p netip.Prefix) {
		// A host's own prefix is not announced beside one of the AS that holds it.
		if !slices.ContainsFunc(s.Origins, func(o bgp.Origin) bool { return o.Prefix.Overlaps(p) }) {
			s.Origins = append(s.Origins, bgp.Origin{Prefix: p})
		}
	}
	for _, o := range s.Originated() { // what of it is nobody's must not go out again
		if o[0].Prefix.Bits() < o[0].Prefix.Addr().BitLen() {
			t.node.Routes = append(t.node.Routes, KernelRoute{To: o[0].Prefix})
		}
	}
	t.node.Routes = append(t.node.Routes, KernelRoute{To: ownRange})
	for _, r := range b.branch {
		for _, line := range r.lines {
			if r.town == t {
				own(host(line.A.Addresses[0].Addr()))
			}
		}
	}
	for _, m := range b.origin {
		switch {
		case m.replica: // behind the edge, which tells where its resolver asks from
			if edge, ok := b.p.Speaker(m.node.Datacenter + ".edge"); ok && m.town == t && m.asks.IsValid() {
				edge.Origins = append(edge.Origins, bgp.Origin{Prefix: host(m.asks)})
			}
		case m.town == t:
			t.node.Routes = append(t.node.Routes, KernelRoute{To: host(m.addr), Hops: []Hop{{Interface: m.link.B.Interface}}})
			own(host(m.addr))
		}
	}
}
