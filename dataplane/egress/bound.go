package egress

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// An address that a tenant has to itself carries so many flows at a time toward
// one remote end, whatever ports its slices have left (SEMANTICS 6.1, EG-7). No
// server sees more than its own flows, so each tells the others how many it has.
//
// It tells seldom while there is room: once what it has not told is a share of what
// is left, asked again whenever either changes. The share is small enough for all
// servers together to keep at most a third of the rest to themselves: n servers that
// see L flows left, and have told all but U, keep U <= n(L+U)/(4 Owners). So with
// nothing left nothing is untold, and what goes beyond the bound are at most the
// flows whose news are under way.

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
	// of are the addresses that have enough slices to reach it.
	of map[netip.Addr]bool
	// Keys are reverse keys without the egress port.
	own, told map[flow.Key]int
	others    map[flow.Key]map[ident.Server]int
	sums      map[flow.Key]int // of others
	news      []Use
	self      ident.Server
}

func newBound(d *Directory, self ident.Server) *bound {
	b := &bound{
		of: map[netip.Addr]bool{}, own: map[flow.Key]int{}, told: map[flow.Key]int{},
		others: map[flow.Key]map[ident.Server]int{}, sums: map[flow.Key]int{}, self: self,
	}
	for i := range d.addresses {
		a := &d.addresses[i]
		slices := 0
		for _, owner := range a.Opens() {
			if owner != 0 {
				slices++
			}
		}
		if a.Tenant != 0 && a.Addr.Is4() && slices*SliceSize > Together {
			b.of[a.Addr] = true
		}
	}
	return b
}

// full reports whether an address has all the flows that it may have toward a
// remote end.
func (b *bound) full(addr netip.Addr, proto uint8, remote netip.AddrPort) bool {
	if len(b.of) == 0 || !b.of[addr] {
		return false
	}
	k := flow.ReverseKey(proto, netip.AddrPortFrom(addr, 0), remote)
	return b.own[k]+b.sums[k] >= Together
}

// change notes that flows of this server have come or gone.
func (b *bound) change(proto uint8, egress, remote netip.AddrPort, by int) {
	if len(b.of) == 0 || !b.of[egress.Addr()] {
		return
	}
	k := flow.ReverseKey(proto, netip.AddrPortFrom(egress.Addr(), 0), remote)
	if b.own[k] += by; b.own[k] == 0 {
		delete(b.own, k)
	}
	b.tell(k)
}

// tell has news for the others once enough of what they do not know has come together.
func (b *bound) tell(k flow.Key) {
	n, told := b.own[k], b.told[k]
	// A quarter of what is left, shared by all that may own a slice.
	step := max((Together-n-b.sums[k])/(4*Owners), 1)
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
	b.sums[k] += u.Flows - of[u.Server]
	if of[u.Server] = u.Flows; u.Flows == 0 {
		delete(of, u.Server)
	}
	if len(of) == 0 {
		delete(b.others, k)
		delete(b.sums, k)
	}
	b.tell(k)
}

// lose forgets the flows of servers that are gone.
func (b *bound) lose(live func(ident.Server) bool) {
	for k, of := range b.others {
		for server := range of {
			if !live(server) {
				b.learn(&Use{Addr: k.Source().Addr(), Proto: k.Proto, Remote: k.Destination(), Server: server})
			}
		}
	}
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
// one was; live says which others still have flows.
func (a *Allocator) Succeed(old *Allocator, live func(ident.Server) bool) {
	of := a.bound.of
	a.bound = old.bound
	a.bound.of = of
	a.bound.lose(live)
}
