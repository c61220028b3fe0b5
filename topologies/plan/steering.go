package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// planned is a route for the servers, with its scope and where in the file it
// comes from.
type planned struct {
	route.Scoped
	path string
	// communities and prepend are how a customer's router tells it.
	communities []route.Community
	prepend     int
}

// identity is what no two routes that one datacenter sees can share (SEMANTICS
// 3.1): of private networks behind connectors the prefix alone.
type identity struct {
	tenant ident.Tenant
	vnet   ident.VNet
	prefix string
	plane  route.Plane
	hop    ident.OnRamp
	source route.Source
}

func (r *planned) identity() identity {
	k := identity{tenant: r.Tenant, vnet: r.VNet, prefix: r.Prefix.String(), plane: r.Plane}
	if r.Plane == route.WAN {
		k.hop, k.source = r.NextHop, r.Source
	}
	return k
}

// scope is where a route exists, as text.
func (r *planned) scope() string {
	return strings.Join(r.Regions, " ") + "/" + strings.Join(r.Datacenters, " ")
}

// routes are an account's routes, one for each on-ramp that a route selects,
// and those that nobody has to write: to devices and private networks.
func (b *builder) routes(a account) []planned {
	var all []planned
	if a.id == 1 {
		all = b.expandRoutes(a, all, b.s.Routes, "routes")
	}
	all = b.expandRoutes(a, all, a.Routes, a.path+".routes")
	all = append(all, b.impliedRoutes(a, all)...)
	type claim struct {
		identity
		scope string
	}
	seen := map[claim]string{}
	return slices.DeleteFunc(all, func(r planned) bool {
		k := claim{r.identity(), r.scope()}
		old := seen[k]
		if old != "" {
			b.duplicate(&r, old)
		}
		seen[k] = cmp.Or(old, r.path)
		return old != ""
	})
}

// duplicate is error 1014 (SEMANTICS 3.1).
func (b *builder) duplicate(r *planned, first string) {
	b.fail(r.path, "error 1014: the route to %v via %s already exists as %s", r.Prefix, b.hopName(r.NextHop), first)
}

// hopName is a next hop's name.
func (b *builder) hopName(id ident.OnRamp) string {
	if id == 0 {
		return "null"
	}
	return b.ramps[id-1].Name
}

// expandRoutes appends the routes of a list of the file.
func (b *builder) expandRoutes(a account, all []planned, list []spec.Route, path string) []planned {
	for i := range list {
		r, where := &list[i], at(path, i)
		vnet, ok := a.vnet(r.VNet)
		if !ok {
			b.fail(where+".vnet", "no virtual network is called %q", r.VNet)
			continue
		}
		b.routePrefix(where, r)
		priority, communities := b.priority(where, r)
		for _, hop := range b.via(a, where, r.Via) {
			b.routable(where, r, vnet, hop)
			id := cmp.Or(r.ID, r.Prefix.String())
			if hop.Name != "" {
				id += " via " + hop.Name
			}
			one := planned{path: where, communities: communities, prepend: r.Prepend}
			one.Regions, one.Datacenters = r.Regions, r.Datacenters
			one.Route = route.Route{
				ID: id, Tenant: a.id, VNet: vnet.ID, Prefix: r.Prefix, NextHop: hop.ID,
				Priority: priority, Weight: r.Weight, Source: route.Source(cmp.Or(r.Source, string(route.Static))), Plane: hop.plane(),
			}
			all = append(all, one)
		}
	}
	return all
}

// routePrefix refuses what is no prefix, and one that the network keeps for
// itself: all or part of a reserved range (SEMANTICS 2.3). A broader one is
// legal, because the reserved range is the longer prefix.
func (b *builder) routePrefix(path string, r *spec.Route) {
	if r.Prefix != r.Prefix.Masked() || !r.Prefix.IsValid() {
		b.fail(path+".prefix", "%v is not a prefix: want %v", r.Prefix, r.Prefix.Masked())
	}
	if kept, into := route.ReservedBy(r.Prefix); into {
		b.fail(path+".prefix", "%v is in %v, which is reserved for %s", r.Prefix, kept.Prefix, kept.For)
	}
}

// priority is the given one, or what a learned route's communities and
// prepending say, with those (SEMANTICS 2.7).
func (b *builder) priority(path string, r *spec.Route) (priority int, communities []route.Community) {
	if r.Source != string(route.BGP) {
		return cmp.Or(r.Priority, route.BasePriority), nil
	}
	for i, text := range r.Communities {
		c, err := route.ParseCommunity(text)
		if err != nil {
			b.fail(at(path+".communities", i), "%v", err)
		}
		communities = append(communities, c)
	}
	if len(r.Regions) > 0 || len(r.Datacenters) > 0 {
		b.fail(path+".source", "a route learned by BGP exists everywhere: want it without regions and datacenters")
	}
	return route.BGPPriority(communities, r.Prepend), communities
}

// routable refuses next hops that a route cannot have: WAN connections are in
// the default virtual network alone, and BGP speaks over them alone.
func (b *builder) routable(path string, r *spec.Route, vnet hub.VNet, hop ramp) {
	wan := hop.ID != 0 && hop.plane() == route.WAN
	if wan && !vnet.Default {
		b.fail(path+".vnet", "%s is a WAN connection and those are in the default virtual network only, not in %q (SEMANTICS 3.1)", hop.Name, vnet.Name)
	}
	if hop.ID != 0 && !wan && !spec.IsPrivate(r.Prefix) {
		b.fail(path+".prefix", "%v is not private, and %s has a private network: want a part of %s", r.Prefix, hop.Name, spec.PrivateRanges)
	}
	if wan && r.Source == string(route.BGP) && r.Prefix.Addr().Is6() {
		b.fail(path+".prefix", "%v: sessions with customers' routers carry IPv4 alone", r.Prefix)
	}
	if !wan && r.Source == string(route.BGP) {
		b.fail(path+".via", "%s does not speak BGP: want an on-ramp that a route can be learned by", cmp.Or(hop.Name, "null"))
	}
}

// ramp is an on-ramp as servers know it, and as a next hop.
type ramp struct{ hub.OnRamp }

// plane is the kind of next hop that the ramp is.
func (r ramp) plane() route.Plane {
	if r.Kind == tunnel.Connector || r.Kind == tunnel.Device {
		return route.ZT
	}
	return route.WAN
}

// via expands a route's selector over the account's on-ramps; a null route has
// one next hop that is none.
func (b *builder) via(a account, path, selector string) []ramp {
	if selector == "" || selector == "null" {
		return []ramp{{}}
	}
	var all []ramp
	for _, r := range b.ramps {
		// A device's own address is all there is behind it, and that has a route.
		if r.Tenant == a.id && r.Kind != tunnel.Device && spec.Matches(selector, r.Name) {
			all = append(all, r)
		}
	}
	if len(all) == 0 && !b.unplanned(selector) {
		b.fail(path+".via", "no on-ramp of account %s is called %q", a.name, selector)
	}
	return all
}

// region is a datacenter's own or its place's.
func (d *dc) region() string {
	if d.spec.Region != "" {
		return d.spec.Region
	}
	if p, ok := place.Lookup(d.Place); ok {
		return p.Region()
	}
	return ""
}

// routesOf is what a datacenter's servers know of all routes (SEMANTICS 2.6).
// Where scopes overlap, the same route of a worse priority is left out: it
// could never win.
func (b *builder) routesOf(d *dc, all []planned) []route.Route {
	region := d.region()
	best := map[identity]*planned{}
	for i := range all {
		r := &all[i]
		if !r.VisibleIn(region, d.Name) {
			continue
		}
		switch old := best[r.identity()]; {
		case old == nil || old.Plane == route.WAN && r.Priority < old.Priority:
			best[r.identity()] = r
		case old.Plane == route.ZT || r.Priority == old.Priority:
			b.duplicate(r, old.path)
		}
	}
	b.tooMany(d, all, best)
	var kept []route.Scoped
	for i := range all {
		if r := &all[i]; !r.VisibleIn(region, d.Name) || best[r.identity()] == r {
			kept = append(kept, r.Scoped)
		}
	}
	return route.In(kept, region, d.Name)
}

// tooMany refuses more routes of one prefix and priority than may be (SEMANTICS
// 2.2).
func (b *builder) tooMany(d *dc, all []planned, best map[identity]*planned) {
	type rank struct {
		identity
		priority int
	}
	equal := map[rank]int{}
	for i := range all {
		r := &all[i]
		k := rank{r.identity(), r.Priority}
		k.hop, k.source = 0, ""
		if best[r.identity()] != r {
			continue
		}
		if equal[k]++; equal[k] == route.MaxEqual+1 {
			b.fail(r.path, "more than %d routes to %v of priority %d in %s: want at most %d", route.MaxEqual, r.Prefix, r.Priority, d.Name, route.MaxEqual)
		}
	}
}
