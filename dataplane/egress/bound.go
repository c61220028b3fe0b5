package egress

import (
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// An address that a tenant has to itself carries so many flows at a time toward
// one remote end, whatever ports its slices have left (SEMANTICS 6.1, EG-7).
//
// No server sees more than its own flows, and what others tell of theirs is always a
// little old. So the flows are divided as the ports are: of n slices each may have
// an n-th of them, less what drains where the address was, and none opens more.
// However late news are, in whatever order or lost, all together stay within.
//
// Who has its share hands a flow on to a server that has room (Elsewhere). For that,
// and for nothing else, servers tell one another how many flows they have: seldom
// while there is room, once what was not told is a quarter of it, and each flow where
// there is little. So a flow is refused while there is room only if that is not known yet.

// Together is how many flows an address of a tenant's own has at most toward one
// remote end.
const Together = 40_000

// Use is how many flows of an address a server has toward one remote end.
type Use struct {
	Addr   netip.Addr     `json:"addr"`
	Proto  uint8          `json:"proto"`
	Remote netip.AddrPort `json:"remote"`
	Server ident.Server   `json:"server"`
	Flows  int            `json:"flows"`
}

// bound counts the flows of addresses that can reach it.
type bound struct {
	self ident.Server
	// owners are those of each slice of such an address, by how a flow asks for it:
	// what the network itself serves in every datacenter is another remote end in
	// each, and has the address divided anew (From.Proxied).
	owners map[From][]ident.Server
	// tenants have such an address.
	tenants map[ident.Tenant]bool
	// Keys are reverse keys without the egress port. held are flows that drain.
	own, told, held map[flow.Key]int
	others          map[flow.Key]map[ident.Server]int
	news            []Use
}

func newBound(self ident.Server) *bound {
	return &bound{
		self: self, owners: map[From][]ident.Server{}, tenants: map[ident.Tenant]bool{},
		own: map[flow.Key]int{}, told: map[flow.Key]int{}, held: map[flow.Key]int{},
		others: map[flow.Key]map[ident.Server]int{},
	}
}

// add takes an address into account if it has enough slices to reach the bound.
func (b *bound) add(a *Address, proxied bool) {
	owners := slices.DeleteFunc(slices.Clone(a.Opens()[:]), func(s ident.Server) bool { return s == 0 })
	if a.Tenant == 0 || !a.Addr.Is4() || len(owners)*SliceSize <= Together {
		return
	}
	b.owners[From{Addr: a.Addr, Proxied: proxied}] = owners
	b.tenants[a.Tenant] = true
}

// hold counts flows that go on elsewhere.
func (b *bound) hold(held map[flow.Key]ident.Server) {
	clear(b.held)
	for k := range held {
		k.SrcPort = 0
		b.held[k]++
	}
}

// share is how many flows a server may have.
func (b *bound) share(owners []ident.Server, server ident.Server, k *flow.Key) int {
	all, sum := max(Together-b.held[*k], 0), 0
	for i, owner := range owners {
		if owner == server {
			sum += all / len(owners)
			if i < all%len(owners) {
				sum++
			}
		}
	}
	return sum
}

// at is how many flows a server has, as far as it is known here.
func (b *bound) at(server ident.Server, k *flow.Key) int {
	if server == b.self {
		return b.own[*k]
	}
	return b.others[*k][server]
}

// full reports whether this server has all the flows that it may have by an address
// toward a remote end.
func (b *bound) full(addr netip.Addr, proxied bool, proto uint8, remote netip.AddrPort) bool {
	if len(b.owners) == 0 {
		return false
	}
	owners := b.owners[From{Addr: addr, Proxied: proxied}]
	if owners == nil {
		return false
	}
	k := flow.ReverseKey(proto, netip.AddrPortFrom(addr, 0), remote)
	return b.own[k] >= b.share(owners, b.self, &k)
}

// change notes that flows of this server have come or gone.
func (b *bound) change(proto uint8, egress, remote netip.AddrPort, by int) {
	if len(b.owners) == 0 || !b.counts(egress.Addr()) {
		return
	}
	k := flow.ReverseKey(proto, netip.AddrPortFrom(egress.Addr(), 0), remote)
	if b.own[k] += by; b.own[k] == 0 {
		delete(b.own, k)
	}
	b.tell(k)
}

// counts reports whether flows of an address are counted.
func (b *bound) counts(addr netip.Addr) bool {
	return b.owners[From{Addr: addr}] != nil || b.owners[From{Addr: addr, Proxied: true}] != nil
}

// tell has news for the others once what they do not know is much of what is left.
func (b *bound) tell(k flow.Key) {
	n, told := b.own[k], b.told[k]
	room := 0
	for _, proxied := range []bool{false, true} {
		if owners := b.owners[From{Addr: k.Source().Addr(), Proxied: proxied}]; owners != nil {
			room = max(room, b.share(owners, b.self, &k)-n)
		}
	}
	step := max(room/4, 1)
	if n-told < step && told-n < step {
		return
	}
	if b.told[k] = n; n == 0 {
		delete(b.told, k)
	}
	b.news = append(b.news, Use{k.Source().Addr(), k.Proto, k.Destination(), b.self, n})
}

// learn takes what another server has.
func (b *bound) learn(u *Use) {
	k := flow.ReverseKey(u.Proto, netip.AddrPortFrom(u.Addr, 0), u.Remote)
	of := b.others[k]
	if of == nil {
		of = map[ident.Server]int{}
		b.others[k] = of
	}
	if of[u.Server] = u.Flows; u.Flows == 0 {
		delete(of, u.Server)
	}
	if len(of) == 0 {
		delete(b.others, k)
	}
}

// Bounded reports whether a tenant has addresses whose flows are divided among
// servers, so that one may hand a flow on to another that has room.
func (a *Allocator) Bounded(tenant ident.Tenant) bool { return a.bound.tenants[tenant] }

// Elsewhere is a server that has room for the flow of key by an address of which this
// server has its share; may says which servers can be asked, and 0 is none. The more room
// one has, the more flows are handed on to it.
func (a *Allocator) Elsewhere(key *flow.Key, from From, may func(ident.Server) bool) ident.Server {
	type choice struct {
		server ident.Server
		room   int
	}
	var all []choice
	sum := 0
	for _, addr := range a.addresses(key, from) {
		proxied := From{Addr: addr, Proxied: from.Proxied}
		owners := a.bound.owners[proxied]
		k := flow.ReverseKey(key.Proto, netip.AddrPortFrom(addr, 0), key.Destination())
		for i, server := range owners {
			if server == a.bound.self || slices.Contains(owners[:i], server) || !may(server) {
				continue
			}
			if room := a.bound.share(owners, server, &k) - a.bound.at(server, &k); room > 0 {
				all = append(all, choice{server, room})
				sum += room
			}
		}
	}
	if sum == 0 {
		return 0
	}
	pick := int(a.spread(flow.Hash(a.seed, key)) >> 8 % uint64(sum))
	for _, c := range all {
		if pick -= c.room; pick < 0 {
			return c.server
		}
	}
	return 0
}

// addresses are those of from that a flow may leave by here, each once.
func (a *Allocator) addresses(key *flow.Key, from From) (all []netip.Addr) {
	for _, p := range a.pools[pool{from, key.Destination().Addr().Is6()}] {
		if !slices.Contains(all, p.addr) {
			all = append(all, p.addr)
		}
	}
	return all
}

// LearnUse takes how many flows another server has. What one server tells has to be
// learned in the order in which it was told.
func (a *Allocator) LearnUse(u *Use) {
	if u.Server != a.bound.self {
		a.bound.learn(u)
	}
}

// Uses are what this server has to tell the others since it was last asked.
func (a *Allocator) Uses() []Use {
	news := a.bound.news
	a.bound.news = nil
	return news
}

// Succeed has a new allocator of the same server go on counting where an earlier
// one was.
func (a *Allocator) Succeed(old *Allocator) {
	b, o := a.bound, old.bound
	b.own, b.told, b.others, b.news = o.own, o.told, o.others, o.news
}
