package plan

import (
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/egress"
)

// Published are the egress addresses with the countries that they are published
// with (SEMANTICS 5.7): of IPv4 each by itself, of IPv6 the ranges that servers
// have theirs from. What customers bring along they publish themselves (6.1).
func (p *Plan) Published() []egress.Published {
	if len(p.Servers) == 0 {
		return nil
	}
	var all []egress.Published
	seen := map[netip.Prefix]bool{}
	for _, a := range p.Servers[0].Config.Egress {
		if slices.ContainsFunc(p.Owned, func(o netip.Prefix) bool { return o.Contains(a.Addr) }) {
			continue
		}
		of := host(a.Addr)
		if a.Addr.Is6() {
			of = p.rangeOf(a.Addr)
		}
		if !seen[of] {
			seen[of] = true
			all = append(all, egress.Published{Prefix: of, Country: a.Country})
		}
	}
	return all
}

// rangeOf is the announced range that an egress address is in.
func (p *Plan) rangeOf(a netip.Addr) netip.Prefix {
	for _, d := range p.Datacenters {
		for _, r := range d.Egress {
			if r.Contains(a) {
				return r
			}
		}
	}
	return host(a)
}
