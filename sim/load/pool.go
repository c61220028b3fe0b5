package load

import (
	"cmp"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// pool is addresses that flows leave by, and the servers that have their ports.
type pool struct {
	center    int
	country   string     // empty: all of the datacenter's shared ones
	own       netip.Addr // an account's address, valid for such a pool
	addresses int
	servers   int // of the datacenter, that have slices of them
	slices    int // of each of these
	// served is the share of flows whose home has any: less than 1 where there are more
	// servers than slices, and no other server takes over.
	served float64
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

// poolOf is the pool by which users of a country leave who land at a datacenter, of
// those of datacenters that are up: an address with the country of who asks, here
// if there is one here, otherwise from the nearest datacenter that has one; and
// where nobody has one, by any here (SEMANTICS 6.2). Where a country has one owner,
// its flows fail while that is down.
func (m *Model) poolOf(at int, country string, out func(center int) bool, metres func(a, b int) float64) int {
	best, one := -1, m.s.Bounds.Design == spec.DesignOneOwner
	for i, p := range m.tagged {
		if one && p.country == country {
			best = i
			break
		}
		if p.own.IsValid() || p.country != country && !one || p.center != at && out(p.center) {
			continue
		}
		if best < 0 || metres(at, p.center) < metres(at, m.tagged[best].center) {
			best = i
		}
	}
	switch {
	case best < 0:
		return at
	case out(m.tagged[best].center) && m.tagged[best].center != at:
		return failed
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
