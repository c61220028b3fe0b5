package hub

import (
	"net/netip"
	"time"

	"github.com/homeward-lab/homeward/dataplane/policy"
)

// Own is an IPv4 address that a tenant has to itself, and how far from here it is.
type Own struct {
	Addr netip.Addr
	Away time.Duration
}

// Leave decides by which address a flow of IPv4 leaves that may have one of its
// tenant's own (SEMANTICS 6.2): the one that the matching egress rule names, or its
// fallback, if up; where no rule matches, the tenant's nearest that is up, and of
// several at one distance one for each user for good (EG-8). 0.0.0.0 is the shared
// pool; it is false where the flow has to fail. own is sorted, the nearest first.
func Leave(rule *policy.Rule, own []Own, user uint64, up func(netip.Addr) bool) (netip.Addr, bool) {
	switch {
	case rule == nil && len(own) > 0:
		return nearest(own, user, up)
	case rule == nil || rule.Action != policy.Dedicated:
		return netip.IPv4Unspecified(), true
	}
	for _, addr := range [...]netip.Addr{rule.IPv4, rule.Fallback} {
		if addr.IsValid() && (addr.IsUnspecified() || up(addr)) {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

func nearest(own []Own, user uint64, up func(netip.Addr) bool) (netip.Addr, bool) {
	var best []Own
	for _, o := range own {
		if len(best) > 0 && o.Away != best[0].Away {
			break
		}
		if up(o.Addr) {
			best = append(best, o)
		}
	}
	if len(best) == 0 {
		return netip.Addr{}, false
	}
	return best[user%uint64(len(best))].Addr, true
}
