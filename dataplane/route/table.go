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

// ErrDuplicate is wrapped by a DuplicateError: a route for that exact subnet and
// next hop exists, API code 1014 (SEMANTICS 3.1).
var ErrDuplicate = errors.New("route exists already")

// DuplicateError names two routes of one tenant and virtual network that have
// the same prefix and next hop. Equal prefixes with different next hops are
// not duplicates but ECMP.
type DuplicateError struct{ First, Second Route }

// Error implements error.
func (e *DuplicateError) Error() string {
	return fmt.Sprintf("route %q: %v with next hop %d in tenant %d, vnet %d is already route %q",
		e.Second.ID, e.Second.Prefix.Masked(), e.Second.NextHop, e.Second.Tenant, e.Second.VNet, e.First.ID)
}

// Unwrap makes errors.Is(err, ErrDuplicate) true.
func (e *DuplicateError) Unwrap() error { return ErrDuplicate }

// MaxWeight is the largest weight (SEMANTICS 2.4).
const MaxWeight = 256

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

// Table is an immutable routing table of all domains; New makes one. It may be
// read by many at once.
type Table struct {
	seed    uint64
	domains map[domain]*bart.Table[*group]
}

// New builds a table. seed keys the ECMP hash. It refuses routes that cannot
// be meant, all of them in one error.
func New(seed uint64, routes []Route) (*Table, error) {
	type place struct {
		domain
		prefix netip.Prefix
	}
	type exact struct {
		place
		nextHop ident.OnRamp
	}
	var errs []error
	first := make(map[exact]Route, len(routes))
	members := make(map[place][]Route)
	var places []place
	for _, r := range routes {
		if err := r.check(); err != nil {
			errs = append(errs, fmt.Errorf("route %q: %w", r.ID, err))
			continue
		}
		p := place{domain{r.Tenant, r.VNet}, r.Prefix.Masked()}
		key := exact{p, r.NextHop}
		if old, ok := first[key]; ok {
			errs = append(errs, &DuplicateError{First: old, Second: r})
			continue
		}
		first[key] = r
		if members[p] == nil {
			places = append(places, p)
		}
		members[p] = append(members[p], r)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	t := &Table{seed: seed, domains: make(map[domain]*bart.Table[*group])}
	for _, p := range places {
		lpm := t.domains[p.domain]
		if lpm == nil {
			lpm = new(bart.Table[*group])
			t.domains[p.domain] = lpm
		}
		lpm.Insert(p.prefix, newGroup(members[p]))
	}
	return t, nil
}

// check refuses what is not a route.
func (r *Route) check() error {
	switch {
	case !r.Prefix.IsValid():
		return errors.New("want a prefix such as 10.0.1.0/24, got none")
	case r.Prefix.Addr().Is4In6():
		return fmt.Errorf("want a plain IPv4 prefix, got the mapped %v", r.Prefix)
	case r.Tenant == 0 || r.VNet == 0:
		return fmt.Errorf("want a tenant and a vnet, got %d and %d", r.Tenant, r.VNet)
	case r.Weight < 0 || r.Weight > MaxWeight:
		return fmt.Errorf("want a weight from 0 to %d, got %d", MaxWeight, r.Weight)
	case r.Source != "" && r.Source != Static && r.Source != BGP:
		return fmt.Errorf("want source %q or %q, got %q", Static, BGP, r.Source)
	case r.Plane != "" && r.Plane != WAN && r.Plane != ZT:
		return fmt.Errorf("want plane %q or %q, got %q", WAN, ZT, r.Plane)
	}
	return nil
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
	best := g.best(nil, nil)
	g.equal = len(best)
	g.slots = weigh(best)
	return g
}

// best appends to dst the hops with the least penalised priority, static before
// BGP.
func (g *group) best(dst []hop, penalty Penalty) []hop {
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
			dst = append(dst, h)
		}
	}
	return dst
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

// Lookup decides where dst is in a domain. hash is the packet's ECMP hash
// (Hash). penalty may be nil; with one, the choice is made anew.
func (t *Table) Lookup(tenant ident.Tenant, vnet ident.VNet, dst netip.Addr, hash uint64, penalty Penalty) Decision {
	var g *group
	if lpm := t.domains[domain{tenant, vnet}]; lpm != nil {
		g, _ = lpm.Lookup(dst)
	}
	if g == nil {
		return Decision{Verdict: unrouted(dst)}
	}
	slots, equal := g.slots, g.equal
	if penalty != nil {
		best := g.best(nil, penalty)
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
	shared   = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) // RFC 6598
	thisNet  = netip.PrefixFrom(netip.AddrFrom4([4]byte{}), 8)         // RFC 1122 section 3.2.1.3
	reserved = netip.PrefixFrom(netip.AddrFrom4([4]byte{240}), 4)      // RFC 1112 section 4, and broadcast
)

// unrouted is the default when no route matches: public addresses are the
// Internet, private ones are null-routed (SEMANTICS 2.3), and so is what no
// router forwards.
func unrouted(dst netip.Addr) Verdict {
	switch {
	case dst.IsPrivate(), shared.Contains(dst), // RFC 1918, RFC 6598
		dst.IsLoopback(), dst.IsMulticast(), dst.IsLinkLocalUnicast(),
		thisNet.Contains(dst), reserved.Contains(dst), !dst.IsValid():
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
