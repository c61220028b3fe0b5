package load

import (
	"net/netip"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// labRange6 is labRange of IPv6 (RFC 5180).
var labRange6 = netip.MustParsePrefix("2001:2::/48")

// kept is the part of the lab's own addresses that p overlaps.
func kept(p netip.Prefix) (netip.Prefix, bool) {
	for _, own := range []netip.Prefix{labRange, labRange6} {
		if p.Overlaps(own) {
			return own, true
		}
	}
	return netip.Prefix{}, false
}

// tight says that a network has no room for a gateway and a host besides the
// addresses that name none.
func tight(lan netip.Prefix) bool { return lan.Addr().BitLen()-lan.Bits() < 2 }

// egress6 checks an IPv6 egress prefix: each server has an address of its own,
// whole, and the first of a prefix means its routers (RFC 4291 section 2.6.1).
func (r *resolver) egress6(at string, e spec.Egress, servers int) {
	if len(e.Slices) > 0 {
		r.fail(at+".slices", "", "slices of %s, but in IPv6 each server has addresses of its own; want none", e.Prefix)
	}
	if bits := e.Prefix.Addr().BitLen() - e.Prefix.Bits(); bits < 16 && 1<<bits-1 < servers {
		r.fail(at, "", "egress %s has addresses for %d servers, want one for each of %d", e.Prefix, 1<<bits-1, servers)
	}
}
