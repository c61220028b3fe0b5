package plan

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// The lab's own IPv6 addresses are out of the range that RFC 5180 sets apart for
// benchmarks, as those of IPv4 are.
var (
	labRange6   = netip.MustParsePrefix("2001:2::/48")
	infraRange6 = netip.MustParsePrefix("2001:2:0:1::/64")
	// innerRange6 numbers tunnel interfaces.
	innerRange6 = netip.MustParsePrefix("2001:2:0:2::/64")
	// sourceRange6 holds the network's own sources (SEMANTICS 2.3).
	sourceRange6 = netip.MustParsePrefix("2606:4700:cf1:5000::/64")
)

// minMTU6 is what every link of IPv6 passes at the least (RFC 8200 section 5).
const minMTU6 = 1280

// six is what the lab has of IPv6. A scenario without IPv6 has a lab without.
//
// Tunnels stay GRE over IPv4 (SEMANTICS 2.9): what is outside, a branch's WAN
// among it, has no IPv6, and packets of both families travel inside.
type six struct {
	infra *pool // /127s between routers (RFC 6164)
	inner *pool // of tunnel interfaces
	hops  map[[2]string]Hop
}

// sixOf is nil if the scenario has no IPv6 address.
func sixOf(s *spec.Scenario) *six {
	found := slices.ContainsFunc(s.Datacenters, func(d spec.Datacenter) bool {
		return slices.ContainsFunc(d.Egress, func(e spec.Egress) bool { return e.Prefix.Addr().Is6() })
	}) || slices.ContainsFunc(s.Sites, func(o spec.Site) bool { return o.Lan.Addr().Is6() }) ||
		slices.ContainsFunc(s.Connectors, func(o spec.Connector) bool { return o.Lan.Addr().Is6() }) ||
		slices.ContainsFunc(s.Internet, func(o spec.InternetHost) bool { return o.Address.Is6() }) ||
		slices.ContainsFunc(accountsOf(s), func(a account) bool {
			return slices.ContainsFunc(a.Dedicated, func(d spec.Dedicated) bool { return d.IPv6.IsValid() })
		})
	if !found {
		return nil
	}
	return &six{infra: newPool6(infraRange6), inner: newPool6(innerRange6), hops: map[[2]string]Hop{}}
}

// newPool6 leaves the prefix's first pair out: its first address means the
// subnet's routers (RFC 4291 section 2.6.1).
func newPool6(p netip.Prefix) *pool { return &pool{prefix: p, next: p.Addr().Next().Next()} }

// kept is the part of the lab's own addresses that p overlaps.
func kept(p netip.Prefix) (netip.Prefix, bool) {
	for _, own := range []netip.Prefix{labRange, labRange6} {
		if p.Overlaps(own) {
			return own, true
		}
	}
	return netip.Prefix{}, false
}

// fourOf are the prefixes of IPv4.
func fourOf(all []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(all), func(p netip.Prefix) bool { return p.Addr().Is6() })
}

// infraOf is where a link of a's family gets its addresses.
func (b *builder) infraOf(a netip.Addr) *pool {
	if a.Is6() {
		return b.six.infra
	}
	return b.infra
}

// wire6 gives a link between routers, or a router and a server, its /127.
func (b *builder) wire6(l *Link, a, z *node) {
	if b.six == nil || l.Class == ClassAccess {
		return
	}
	lo, hi, ok := b.six.infra.pair()
	if !ok {
		b.fail(a.path, "too many links: %v is used up", b.six.infra.prefix)
	}
	l.A.Addresses, l.A.Neighbors = append(l.A.Addresses, netip.PrefixFrom(hi, 127)), append(l.A.Neighbors, lo)
	l.B.Addresses, l.B.Neighbors = append(l.B.Addresses, netip.PrefixFrom(lo, 127)), append(l.B.Neighbors, hi)
	b.six.hops[[2]string{a.ID, z.ID}] = Hop{Interface: l.A.Interface, Via: lo}
	b.six.hops[[2]string{z.ID, a.ID}] = Hop{Interface: l.B.Interface, Via: hi}
}

// hop6 is the next hop from one router to its neighbour.
func (b *builder) hop6(from, to *node) []Hop { return []Hop{b.six.hops[[2]string{from.ID, to.ID}]} }

// inner6 numbers a tunnel of a site whose LAN is IPv6, the servers' end first;
// without that both are invalid.
func (b *builder) inner6(r *branch, mtu int, path string) (peer, inner netip.Addr) {
	if !r.lan.Addr().Is6() {
		return
	}
	if mtu < minMTU6 {
		b.fail(path+".mtu", "%d: a tunnel with IPv6 inside passes %d bytes or more (RFC 8200)", mtu, minMTU6)
	}
	peer, inner, ok := b.six.inner.pair()
	if !ok {
		b.fail(path, "too many tunnels: %v is used up", b.six.inner.prefix)
	}
	return peer, inner
}

// PeerOf is the servers' end of the tunnel, of a's family.
func (t *BranchTunnel) PeerOf(a netip.Addr) netip.Addr {
	if a.Is6() {
		return t.Peer6
	}
	return t.Peer
}

// assign6 fills in the IPv6 part of a datacenter's egress directory: of each
// prefix an address for each server, which is that server's whole (SEMANTICS 5.1).
func (b *builder) assign6(d *dc, servers []ident.Server) {
	for j, e := range d.spec.Egress {
		if !e.Prefix.Addr().Is6() {
			continue
		}
		path := at(d.path+".egress", j)
		if len(e.Slices) > 0 {
			b.fail(path+".slices", "%v is IPv6, where each server has addresses of its own: want no slices", e.Prefix)
			continue
		}
		hosts, err := egress.Hosts(e.Prefix, len(servers))
		if err != nil {
			b.fail(path, "%v", err)
			continue
		}
		dealt, err := egress.Assign(d.ID, hosts, servers)
		if err != nil {
			b.fail(path, "%v", err)
			continue
		}
		for _, entry := range dealt {
			if e.Spare {
				entry.Owner = [egress.Slices]ident.Server{}
			}
			entry.Country, entry.Tags = strings.ToUpper(e.Country), e.Tags
			d.directory = append(d.directory, entry)
		}
	}
}

// sources are a server's part of the network's own sources (SEMANTICS 2.3), of
// the families that connected networks have.
func (b *builder) sources(s *server) (all []hub.Source) {
	if b.connected() || b.departs() {
		all = append(all, hub.Source{Addr: advance(sourceRange.Addr(), int(s.id)), Server: s.id})
	}
	if slices.ContainsFunc(b.s.Connectors, func(o spec.Connector) bool { return o.Lan.Addr().Is6() }) {
		all = append(all, hub.Source{Addr: advance(sourceRange6.Addr(), int(s.id)), Server: s.id})
	}
	return all
}

// kernelRoutes6 gives routers their IPv6 routes. An egress prefix is announced
// everywhere, as in IPv4; inside the network each of its addresses is routed to
// the server whose it is, so that no server forwards for another (SEMANTICS SU-8).
func (b *builder) kernelRoutes6() {
	if b.six == nil {
		return
	}
	var anycast []netip.Prefix
	for _, d := range b.dcs {
		for _, p := range d.Egress {
			if p.Addr().Is6() {
				anycast = append(anycast, p)
			}
		}
	}
	for _, t := range b.towns {
		if t.as == nil { // an AS learns them (learnedRoutes)
			b.transitRoutes6(t, anycast)
		}
	}
	for _, d := range b.dcs {
		b.edgeRoutes6(d, anycast)
	}
}

func (b *builder) transitRoutes6(t *town, anycast []netip.Prefix) {
	for _, p := range anycast {
		r := KernelRoute{To: p}
		if d := b.nearest(t, p); d != nil {
			r.Hops = b.hop6(t.node, t.toward(d))
		}
		t.node.Routes = append(t.node.Routes, r)
	}
	for _, m := range b.origin {
		if !m.addr.Is6() || m.replica {
			continue
		}
		hops := []Hop{{Interface: m.link.B.Interface}}
		if m.town != t {
			hops = b.hop6(t.node, m.town.node)
		}
		t.node.Routes = append(t.node.Routes, KernelRoute{To: host(m.addr), Hops: hops})
	}
}

func (b *builder) edgeRoutes6(d *dc, anycast []netip.Prefix) {
	owner := map[ident.Server]*server{}
	for _, e := range b.dcs {
		for _, s := range e.servers {
			owner[s.id] = s
		}
	}
	for _, e := range b.dcs {
		for i := range e.directory {
			a := &e.directory[i]
			if !a.Addr.Is6() || a.Owner[1] == 0 {
				continue
			}
			next := owner[a.Owner[1]].node
			if e != d {
				next = e.edge
			}
			d.edge.Routes = append(d.edge.Routes, KernelRoute{To: host(a.Addr), Hops: b.hop6(d.edge, next)})
		}
	}
	b.replicaRoutes(d, netip.Addr.Is6)
	// What of a prefix is nobody's must not go out again.
	for _, p := range anycast {
		d.edge.Routes = append(d.edge.Routes, KernelRoute{To: p})
	}
	everything := defaultOf(labRange6.Addr())
	if len(b.s.Transit) == 0 {
		d.edge.Routes = append(d.edge.Routes, KernelRoute{To: everything, Hops: b.hop6(d.edge, d.town.node)})
	}
	for _, s := range d.servers {
		s.node.Routes = append(s.node.Routes, KernelRoute{To: everything, Hops: b.hop6(s.node, d.edge)})
	}
}

// oneFamily refuses traffic between the families: nothing translates between them.
func (b *builder) oneFamily(c *machine, to []*machine, path string) {
	for _, d := range to {
		if c.addr.Is6() != d.addr.Is6() {
			b.fail(path+".to", "%s at %v and %s at %v are of two families, and nothing translates between them", c.node.ID, c.addr, d.node.ID, d.addr)
			return
		}
	}
}
