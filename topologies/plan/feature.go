package plan

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// sortedKeys is a map's keys in order: a plan must not depend on a map's own.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// everyEngine says whether a word, although it goes beyond what every plan has,
// is one that the hub and every engine can do. It is the one place to say so:
// uses of such a word are not noted, and so nobody refuses them.
func everyEngine(word string) bool {
	switch word {
	case "accounts", "vnets", "routing.legacy", "on_exhaustion.another_address", "on_exhaustion.another_server",
		"devices", "connectors", "onramps.interconnect",
		"policies.firewall", "policies.egress", "policies.network", "policies.country", "policies.user",
		"routes.regions", "routes.datacenters", "routes.bgp", "transit", "announce", "ipv6", "health", "group", "cpe",
		"dedicated", "policies.egress.dedicated", "proxied", "allow", "geofence", "resolves",
		"checks.after", "checks.eventually", "checks.within":
		return true
	}
	return strings.HasPrefix(word, "faults.")
}

// features notes every use of a word that not every engine can do. What is not
// noted here is common ground: gre, arr, routes with priority and weight, null
// routes, flow_key, orphan, traffic, timers, bounds, maintenance, links and
// impair, and what everyEngine lists.
func (b *builder) features() {
	b.topologyFeatures()
	b.accountFeatures()
	b.siteFeatures()
	b.internetFeatures()
	for i, f := range b.s.Faults {
		b.use("faults."+f.Do, at("faults", i)+".do")
	}
	for i, c := range b.s.Checks {
		path := at("checks", i)
		b.useIf(c.Eventually != "", "checks.eventually", path+".eventually")
		b.useIf(c.After != "", "checks.after", path+".after")
		b.useIf(c.Within != 0, "checks.within", path+".within")
	}
}

// use notes a feature, once for each place in the file.
func (b *builder) use(word, path string) {
	if everyEngine(word) {
		return
	}
	key := Error{Path: b.generic(path), Msg: word}
	if !b.used[key] {
		b.used[key] = true
		b.p.Features = append(b.p.Features, Feature{word, path})
	}
}

func (b *builder) useIf(used bool, word, path string) {
	if used {
		b.use(word, path)
	}
}

// v6 notes an IPv6 address.
func (b *builder) v6(a netip.Addr, path string) { b.useIf(a.Is6(), "ipv6", path) }

func (b *builder) topologyFeatures() {
	b.useIf(b.s.Population != nil, "population", "population")
	b.useIf(b.s.Datapath == spec.DatapathProxy, "datapath.proxy", "datapath")
	b.useIf(b.s.Bounds.Slice != 0 && b.s.Bounds.Slice != egress.SliceSize, "bounds.slice", "bounds.slice")
	b.useIf(b.s.Bounds.Design != "" && b.s.Bounds.Design != spec.DesignSlices, "bounds.design", "bounds.design")
	for i, d := range b.s.Datacenters {
		for j, e := range d.Egress {
			b.v6(e.Prefix.Addr(), at(at("datacenters", i)+".egress", j))
		}
	}
	for _, w := range []struct {
		word string
		n    int
	}{{"transit", len(b.s.Transit)}, {"announce", len(b.s.Announce)}, {"devices", len(b.s.Devices)},
		{"connectors", len(b.s.Connectors)}, {"uplink", len(b.s.Uplink)}} {
		for i := range w.n {
			b.use(w.word, at(w.word, i))
		}
	}
	for i, w := range b.s.Workload {
		path := at("workload", i)
		b.useIf(w.Retries > 0, "workload.retries", path+".retries")
		// Who asks has to be the one who holds.
		b.useIf(w.Holding.Given() && w.Close != "" && w.Close != "client", "workload.close", path+".close")
	}
}

func (b *builder) accountFeatures() {
	b.useIf(len(b.accounts) > 1, "accounts", "accounts")
	b.routeFeatures(b.s.Routes, "routes")
	for _, a := range b.accounts {
		b.useIf(a.Routing == "legacy", "routing.legacy", a.path+".routing")
		b.useIf(a.OnExhaustion != "" && a.OnExhaustion != "refuse", "on_exhaustion."+a.OnExhaustion, a.path+".on_exhaustion")
		for i := range a.Dedicated {
			b.use("dedicated", at(a.path+".dedicated", i))
		}
		for i, v := range a.VNets {
			b.useIf(v.ID != defaultVNet, "vnets", at(a.path+".vnets", i))
		}
		b.policyFeatures(policy.Firewall, a.Policies.Firewall, a.path+".policies.firewall")
		b.policyFeatures(policy.Egress, a.Policies.Egress, a.path+".policies.egress")
		b.policyFeatures(policy.Network, a.Policies.Network, a.path+".policies.network")
		b.routeFeatures(a.Routes, a.path+".routes")
	}
}

// policyFeatures notes the rules of a stage, and what of them asks for more than
// a packet tells: where an address is, and who uses a device.
func (b *builder) policyFeatures(stage policy.Stage, rules []spec.Policy, list string) {
	for i := range rules {
		p, path := &rules[i], at(list, i)
		b.use("policies."+string(stage), path)
		b.useIf(p.Action == string(policy.Dedicated), "policies.egress.dedicated", path+".action")
		b.useIf(len(p.Match.Country) > 0, "policies.country", path+".match.country")
		b.useIf(len(p.Match.SourceCountry) > 0, "policies.country", path+".match.source_country")
		b.useIf(len(p.Match.User) > 0, "policies.user", path+".match.user")
	}
}

func (b *builder) routeFeatures(routes []spec.Route, list string) {
	for i, r := range routes {
		path := at(list, i)
		b.v6(r.Prefix.Addr(), path+".prefix")
		b.useIf(len(r.Regions) > 0, "routes.regions", path+".regions")
		b.useIf(len(r.Datacenters) > 0, "routes.datacenters", path+".datacenters")
		b.useIf(r.Source == "bgp", "routes.bgp", path+".source")
	}
}

func (b *builder) siteFeatures() {
	for i := range b.s.Sites {
		s, path := &b.s.Sites[i], at("sites", i)
		b.v6(s.Lan.Addr(), path+".lan")
		for _, name := range sortedKeys(s.Hosts) {
			b.v6(s.Hosts[name].Address, path+".hosts."+name)
			b.useIf(len(s.Hosts[name].Run) > 0, "run", path+".hosts."+name+".run")
		}
		for j, o := range s.OnRamps {
			where := at(path+".onramps", j)
			b.useIf(o.Type != "" && o.Type != string(tunnel.GRE), "onramps."+o.Type, where+".type")
			b.useIf(o.Health != nil, "health", where+".health")
		}
		b.useIf(s.Group != nil, "group", path+".group")
		b.useIf(s.CPE != nil, "cpe", path+".cpe")
	}
}

func (b *builder) internetFeatures() {
	for i := range b.s.Internet {
		o, path := &b.s.Internet[i], at("internet", i)
		b.v6(o.Address, path+".address")
		b.useIf(o.Proxied, "proxied", path+".proxied")
		b.useIf(len(o.Allow) > 0, "allow", path+".allow")
		b.useIf(len(o.Geofence) > 0, "geofence", path+".geofence")
		b.useIf(len(o.Resolves) > 0, "resolves", path+".resolves")
	}
}
