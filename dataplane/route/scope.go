package route

import (
	"net/netip"
	"slices"
)

// Scoped is a route that may exist in some places alone (SEMANTICS 2.6). With
// neither Regions nor Datacenters it exists everywhere, with both where either
// says so.
type Scoped struct {
	Route
	// Regions are codes such as "WEUR".
	Regions []string
	// Datacenters are names such as "lhr".
	Datacenters []string
}

// VisibleIn says whether the route exists in a datacenter of a region.
func (s *Scoped) VisibleIn(region, datacenter string) bool {
	if len(s.Regions) == 0 && len(s.Datacenters) == 0 {
		return true
	}
	return slices.Contains(s.Regions, region) || slices.Contains(s.Datacenters, datacenter)
}

// In is what a datacenter of a region knows of all routes: those that exist
// there, in their order, and after them a null route for each prefix that
// exists in other places alone, because what enters where no route covers it
// is dropped, also where a shorter prefix would have taken it (SEMANTICS 2.6,
// RT-7).
func In(all []Scoped, region, datacenter string) []Route {
	type place struct {
		domain
		prefix netip.Prefix
	}
	at := func(r *Route) place { return place{domain{r.Tenant, r.VNet}, r.Prefix.Masked()} }
	var here []Route
	covered := make(map[place]bool)
	for i := range all {
		if all[i].VisibleIn(region, datacenter) {
			here = append(here, all[i].Route)
			covered[at(&all[i].Route)] = true
		}
	}
	for i := range all {
		r := &all[i].Route
		if where := at(r); !covered[where] {
			covered[where] = true
			here = append(here, Route{
				ID: where.prefix.String() + " elsewhere", Tenant: r.Tenant, VNet: r.VNet, Prefix: where.prefix,
				Priority: BasePriority, Source: Static, Plane: r.Plane,
			})
		}
	}
	return here
}
