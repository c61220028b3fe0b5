package load

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// pool is addresses that flows leave by, and the servers that have their ports.
type pool struct {
	center    int
	country   string     // empty: all of the datacenter's shared ones
	own       netip.Addr // an account's address, valid for such a pool
	addresses int
	servers   int // of the datacenter, that have slices of them
	// served is the share of flows whose home has any: less than 1 where there are more
	// servers than slices, and no other server takes over.
	served float64
}

// fit divides a pool among the datacenter's servers. Each has equally many slices;
// where there are not enough for all, as many servers as there are have one.
func (m *Model) fit(p pool) pool {
	p.servers, p.served = m.centers[p.center].Servers, 1
	slices := p.addresses * (1<<16/m.slice() - 1)
	if p.addresses == 0 || slices >= p.servers {
		return p
	}
	if m.exhaustion() != hub.ExhaustionAnotherServer {
		p.served = float64(slices) / float64(p.servers)
	}
	p.servers = slices
	return p
}

// name is what reports call it.
func (p pool) name() string {
	if p.own.IsValid() {
		return p.own.String()
	}
	return cmp.Or(p.country, "shared")
}

// key keeps chance of one pool apart from that of others.
func (p pool) key() string {
	if p.own.IsValid() {
		return p.own.String()
	}
	return p.country
}

// together is the most flows that its servers have at a time toward one destination;
// 0 is as many as there are ports (SEMANTICS 6.1).
func (p pool) together() int {
	if p.own.IsValid() {
		return egress.Together
	}
	return 0
}

// makePools finds those of the scenario: of each datacenter all of its addresses, and by
// the country that they are published with (SEMANTICS 6.2).
func (m *Model) makePools() {
	for c := range m.centers {
		all := pool{center: c}
		by := map[string]int{}
		for _, e := range m.centers[c].Egress {
			if slices.Contains(e.Tags, egress.TagCDN) || e.Prefix.Addr().Is6() {
				continue
			}
			n := 1 << (e.Prefix.Addr().BitLen() - e.Prefix.Bits())
			all.addresses += n
			if e.Country != "" {
				by[e.Country] += n
			}
		}
		m.pools = append(m.pools, m.fit(all))
		for _, country := range sortedKeys(by) {
			m.tagged = append(m.tagged, m.fit(pool{center: c, country: country, addresses: by[country]}))
		}
	}
}

// poolOf is the pool by which users of a country leave who land at a datacenter, of
// those of datacenters that are up: an address with the country of who asks, here
// if there is one here, otherwise from the nearest datacenter that has one; and
// where nobody has one, by any here (SEMANTICS 6.2).
func (m *Model) poolOf(at int, country string, out func(center int) bool, metres func(a, b int) float64) int {
	best := -1
	for i, p := range m.tagged {
		if p.own.IsValid() || p.country != country || p.center != at && out(p.center) {
			continue
		}
		if best < 0 || metres(at, p.center) < metres(at, m.tagged[best].center) {
			best = i
		}
	}
	if best < 0 {
		return at
	}
	return len(m.pools) + best
}

// pool is one by its number: those of whole datacenters come first.
func (m *Model) pool(i int) pool {
	if i < len(m.pools) {
		return m.pools[i]
	}
	return m.tagged[i-len(m.pools)]
}

// slice is the ports of a slice.
func (m *Model) slice() int {
	if m.s.Bounds.Slice != 0 {
		return m.s.Bounds.Slice
	}
	return egress.SliceSize
}

// slicesOf is how many slices each server of a pool has.
func (m *Model) slicesOf(p pool) int {
	owners := 1<<16/m.slice() - 1
	return p.addresses / max((p.servers+owners-1)/owners, 1)
}

// exhaustion is the account's policy.
func (m *Model) exhaustion() hub.OnExhaustion {
	if m.s.Account == nil {
		return ""
	}
	return hub.OnExhaustion(m.s.Account.OnExhaustion)
}

// first is the number of a datacenter's first server, in the order of the file as a
// plan numbers them.
func (m *Model) first(center int) ident.Server {
	n := ident.Server(1)
	for _, c := range m.centers[:center] {
		n += ident.Server(c.Servers)
	}
	return n
}
