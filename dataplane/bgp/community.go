package bgp

import (
	"maps"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/route"
)

func wellKnown() map[string]route.Community {
	return map[string]route.Community{"no_export": NoExport, "no_advertise": NoAdvertise, "graceful_shutdown": GracefulShutdown}
}

// CommunityNames are the names of communities that routers act on, in order.
func CommunityNames() []string { return slices.Sorted(maps.Keys(wellKnown())) }

// ParseCommunity reads a name of CommunityNames, or "64500:120".
func ParseCommunity(s string) (route.Community, error) {
	if c, known := wellKnown()[s]; known {
		return c, nil
	}
	return route.ParseCommunity(s)
}
