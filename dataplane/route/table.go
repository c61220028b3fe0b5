package route

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// Penalty is added to a next hop's priority while its tunnel is unhealthy
// (SEMANTICS 2.3). It never removes a route. nil means none.
type Penalty func(ident.OnRamp) int

// Verdict says where a destination is.
type Verdict uint8

const (
	// Internet: no route, and the address is public.
	Internet Verdict = iota
	// Null: a null route, or no route for an address that is not public.
	Null
	// Via: an on-ramp.
	Via
)

// Decision is the answer of a look-up.
type Decision struct {
	Verdict Verdict
	// NextHop is set with Via.
	NextHop ident.OnRamp
	// Equal is how many next hops shared the choice; 0 without a route.
	Equal int
}

// domain is a routing domain: one virtual network of one tenant.
type domain struct {
	tenant ident.Tenant
	vnet   ident.VNet
}

// hop is one route of a prefix.
type hop struct {
	nextHop  ident.OnRamp
	priority int
	weight   int
	static   bool
}

// group is the routes of one prefix that are left after plane, in next-hop
// order, and the slots of those that win without any penalty.
type group struct {
	hops  []hop
	slots []ident.OnRamp
	equal int
}

// lpm is the routes of a domain.
type lpm = bart.Table[*group]

// Table is an immutable routing table of all domains; New makes one. It may be
// read by many at once.
type Table struct {
	seed uint64
	// domains hold all routes, or those of the WAN alone where zt has the others.
	domains map[domain]*lpm
	// zt holds the ZT plane of tenants in legacy mode, which is asked first.
	zt map[domain]*lpm
	// fallback holds each tenant's default network and its WAN routes.
	fallback map[ident.Tenant]fallback
}

// fallback is where a miss in another virtual network is looked up.
type fallback struct {
	vnet ident.VNet
	wan  *lpm
}

// Default says of a tenant what its routes do not.
type Default struct {
	Tenant ident.Tenant
	// VNet is the default virtual network; 0 means DefaultVNet.
	VNet ident.VNet
	// Legacy keeps the planes apart (SEMANTICS 2.1): whatever the ZT plane
	// matches is its own, however short the prefix, and only the rest is looked
	// up among the routes of the WAN (2.3). Otherwise there is one table.
	Legacy bool
}

// DefaultVNet is the default network of a tenant of which no Default speaks:
// the one that an account has before it makes any (SEMANTICS 3.1).
const DefaultVNet ident.VNet = 1

// New builds a table. seed keys the ECMP hash. defaults name the default
// virtual networks, to whose WAN routes a miss in any other falls back
// (SEMANTICS 3.1), and who is in legacy mode. New refuses routes that cannot be
// meant, all of them in one error.
func New(seed uint64, routes []Route, defaults ...Default) (*Table, error) {
	s := newSet()
	var errs []error
	for _, r := range routes {
		if err := r.check(); err != nil {
			errs = append(errs, fmt.Errorf("route %q: %w", r.ID, err))
		} else if err := s.add(r); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	of := make(map[ident.Tenant]Default, len(defaults))
	for _, d := range defaults {
		of[d.Tenant] = d
	}
	t := &Table{seed: seed, domains: make(map[domain]*lpm), zt: make(map[domain]*lpm), fallback: make(map[ident.Tenant]fallback)}
	common := make(map[domain]*lpm) // what a miss falls back to
	for _, p := range s.places {
		all := s.members[p]
		zt, wan := planes(all)
		if of[p.tenant].Legacy {
			insert(t.zt, p.domain, p.prefix, zt)
			all = wan
		}
		insert(t.domains, p.domain, p.prefix, all)
		if p.vnet == cmp.Or(of[p.tenant].VNet, DefaultVNet) {
			insert(common, p.domain, p.prefix, wan)
		}
	}
	for _, tables := range []map[domain]*lpm{t.zt, t.domains, common} {
		for _, m := range tables {
			reserve(m)
		}
	}
	for d, m := range common {
		t.fallback[d.tenant] = fallback{d.vnet, m}
	}
	return t, nil
}

// planes divides the routes of a prefix.
func planes(routes []Route) (zt, wan []Route) {
	for _, r := range routes {
		if r.Plane == ZT {
			zt = append(zt, r)
		} else {
			wan = append(wan, r)
		}
	}
	return zt, wan
}

// insert puts the routes of a prefix into their domain's table.
func insert(into map[domain]*lpm, d domain, prefix netip.Prefix, routes []Route) {
	if len(routes) == 0 {
		return
	}
	m := into[d]
	if m == nil {
		m = new(lpm)
		into[d] = m
	}
	m.Insert(prefix, newGroup(routes))
}

// reserve keeps the reserved ranges out of the reach of broader routes
// (SEMANTICS 2.3). Routes inside a range stay: the network's own are.
func reserve(m *lpm) {
	for _, r := range ReservedRanges() {
		if _, own := m.Get(r.Prefix); own {
			continue
		}
		if _, reached := m.LookupPrefix(r.Prefix); reached {
			m.Insert(r.Prefix, newGroup([]Route{{}}))
		}
	}
}

// newGroup keeps the routes of the better plane (SEMANTICS 2.3: ZT beats WAN at
// equal length, whatever the priorities) and works out who wins while all is
// healthy.
func newGroup(routes []Route) *group {
	zt := slices.ContainsFunc(routes, func(r Route) bool { return r.Plane == ZT })
	g := new(group)
	for _, r := range routes {
		if (r.Plane == ZT) == zt {
			g.hops = append(g.hops, hop{r.NextHop, r.Priority, r.Weight, r.Source != BGP})
		}
	}
	slices.SortFunc(g.hops, func(a, b hop) int { return cmp.Compare(a.nextHop, b.nextHop) })
	best := g.best(nil)
	g.equal = len(best)
	g.slots = weigh(best)
	return g
}

// best are the hops with the least penalised priority, static before BGP.
func (g *group) best(penalty Penalty) (best []hop) {
	cost := func(h hop) int {
		if penalty == nil {
			return h.priority
		}
		return h.priority + penalty(h.nextHop)
	}
	least := g.hops[0]
	for _, h := range g.hops[1:] {
		if c, l := cost(h), cost(least); c < l || c == l && h.static && !least.static {
			least = h
		}
	}
	for _, h := range g.hops {
		if cost(h) == cost(least) && h.static == least.static {
			best = append(best, h)
		}
	}
	return best
}

// weigh spreads the next hops over slots in proportion to their weights, with
// the common divisor taken out: equal weights are one slot each, so that the
// choice is hash mod N (SEMANTICS 2.4). An unweighted hop among weighted ones
// counts as 1.
func weigh(hops []hop) []ident.OnRamp {
	divisor := 0
	for _, h := range hops {
		divisor = gcd(divisor, max(h.weight, 1))
	}
	var slots []ident.OnRamp
	for _, h := range hops {
		slots = append(slots, slices.Repeat([]ident.OnRamp{h.nextHop}, max(h.weight, 1)/divisor)...)
	}
	return slots
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// find is the routes of the longest prefix: of the domain itself, in legacy
// mode plane by plane, or else of the default network's WAN (SEMANTICS 3.1). nil
// if there are none.
func (t *Table) find(d domain, dst netip.Addr) *group {
	if m := t.zt[d]; m != nil {
		if g, ok := m.Lookup(dst); ok {
			return g
		}
	}
	if m := t.domains[d]; m != nil {
		if g, ok := m.Lookup(dst); ok {
			return g
		}
	}
	if f := t.fallback[d.tenant]; f.wan != nil && f.vnet != d.vnet {
		g, _ := f.wan.Lookup(dst)
		return g
	}
	return nil
}

// Lookup decides where dst is in a domain, falling back to the WAN routes of
// the tenant's default network. hash is the packet's ECMP hash (Hash). penalty
// may be nil; with one, the choice is made anew.
func (t *Table) Lookup(tenant ident.Tenant, vnet ident.VNet, dst netip.Addr, hash uint64, penalty Penalty) Decision {
	g := t.find(domain{tenant, vnet}, dst)
	if g == nil {
		return Decision{Verdict: unrouted(dst)}
	}
	slots, equal := g.slots, g.equal
	if penalty != nil {
		best := g.best(penalty)
		slots, equal = weigh(best), len(best)
	}
	d := Decision{Verdict: Via, NextHop: slots[hash%uint64(len(slots))], Equal: equal}
	if d.NextHop == 0 {
		d.Verdict = Null
	}
	return d
}

// Shared and reserved address space that is not ours to send to the Internet.
// net/netip knows the rest.
var (
	own      = ReservedRanges()                                        // SEMANTICS 2.3
	shared   = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) // RFC 6598
	thisNet  = netip.PrefixFrom(netip.AddrFrom4([4]byte{}), 8)         // RFC 1122 section 3.2.1.3
	reserved = netip.PrefixFrom(netip.AddrFrom4([4]byte{240}), 4)      // RFC 1112 section 4, and broadcast
)

// unrouted is the default when no route matches: public addresses are the
// Internet, private ones are null-routed (SEMANTICS 2.3), and so is what no
// router forwards.
func unrouted(dst netip.Addr) Verdict {
	switch {
	case dst.IsPrivate(), shared.Contains(dst), // RFC 1918 and 4193, RFC 6598
		dst.IsLoopback(), dst.IsMulticast(), dst.IsLinkLocalUnicast(), dst.IsUnspecified(),
		thisNet.Contains(dst), reserved.Contains(dst), !dst.IsValid():
		return Null
	}
	if Reserves(dst) {
		return Null
	}
	return Internet
}

// Hash is the ECMP hash of a packet: addresses always, ports for TCP and UDP
// only, so that ICMP between two hosts never splits (SEMANTICS 2.5). Neither
// tenant nor on-ramp is in it: two sites with one tuple share one choice.
func (t *Table) Hash(src, dst netip.AddrPort, proto uint8) uint64 {
	k := flow.Key{Src: src.Addr().As16(), Dst: dst.Addr().As16()}
	if proto == pkt.ProtoTCP || proto == pkt.ProtoUDP {
		k.SrcPort, k.DstPort = src.Port(), dst.Port()
	}
	return flow.Hash(t.seed, &k)
}
