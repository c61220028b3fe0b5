package load

import (
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// block is the least that the Internet's routing takes (SEMANTICS 5.1): a /24.
const block = 256

// makePools finds those of the scenario: of each datacenter all of its addresses, and by
// the country that they are published with (SEMANTICS 6.2).
func (m *Model) makePools() error {
	per := m.s.Bounds.Design == spec.DesignPerServer
	if per && m.exhaustion() == hub.ExhaustionRefuse {
		return &Unsupported{"bounds.design", "a server with addresses of its own has many slices of each, and on_exhaustion: refuse means one; want another_address"}
	}
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
	if m.s.Bounds.Design == spec.DesignOneOwner {
		m.oneOwner()
	}
	return nil
}

// fit divides a pool among the datacenter's servers. Each has equally many slices;
// where there are not enough for all, as many servers as there are have one.
func (m *Model) fit(p pool) pool {
	p.servers, p.served = m.centers[p.center].Servers, 1
	owners := 1<<16/m.slice() - 1
	if m.s.Bounds.Design == spec.DesignPerServer && !p.own.IsValid() {
		p.slices = p.addresses * owners
		p.addresses *= p.servers
		return p
	}
	if n := p.addresses * owners; n > 0 && n < p.servers {
		if m.exhaustion() != hub.ExhaustionAnotherServer {
			p.served = float64(n) / float64(p.servers)
		}
		p.servers = n
	}
	p.slices = p.addresses / max((p.servers+owners-1)/owners, 1)
	return p
}

// oneOwner leaves every country one address, at one server of the datacenter that had
// most of them; a network that says no countries has one altogether.
func (m *Model) oneOwner() {
	owner := func(p pool) pool {
		p.addresses, p.servers, p.served, p.slices = 1, 1, 1, 1<<16/m.slice()-1
		return p
	}
	best := map[string]pool{}
	for _, p := range append(slices.Clone(m.pools), m.tagged...) {
		if x, ok := best[p.country]; p.addresses > 0 && (!ok || p.addresses > x.addresses) {
			best[p.country] = p
		}
	}
	m.tagged = nil
	for _, country := range sortedKeys(best) {
		if country != "" || len(best) == 1 {
			m.tagged = append(m.tagged, owner(best[country]))
		}
	}
}

// used are the addresses that servers have, and what of the Internet's table holds
// them: neighbours may be of different datacenters, unless each announces its own.
func (m *Model) used() (addresses, announced float64) {
	whole := func(n int) float64 { return float64((n + block - 1) / block * block) }
	counted := m.pools
	if m.s.Bounds.Design == spec.DesignOneOwner {
		counted = m.tagged
	}
	all, each := 0, 0.0
	for _, p := range counted {
		all += p.addresses
		each += whole(p.addresses)
	}
	if m.s.Bounds.Design == spec.DesignUnicast {
		return float64(all), each
	}
	return float64(all), whole(all)
}

// dedicated is a pool of one address of an account's own.
func (m *Model) dedicated(center int, a netip.Addr) pool {
	return m.fit(pool{center: center, own: a, addresses: 1})
}
