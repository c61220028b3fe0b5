package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// known is what a server knows of routes, a line for each.
func known(t *testing.T, p *Plan, server string) []string {
	t.Helper()
	s, ok := p.Server(server)
	if !ok {
		t.Fatalf("no server %s", server)
	}
	names := p.Names()
	var all []string
	for _, r := range s.Config.Routes {
		hop := names.OnRamps[r.NextHop]
		if hop == "" {
			hop = "null"
		}
		all = append(all, fmt.Sprintf("%s %v via %s, %s %d", names.VNets[r.Tenant][r.VNet], r.Prefix, hop, r.Source, r.Priority))
	}
	return all
}

func wantKnown(t *testing.T, p *Plan, server string, want ...string) {
	t.Helper()
	if got := known(t, p, server); !slices.Equal(got, want) {
		t.Errorf("%s knows\n %s\nwant\n %s", server, strings.Join(got, "\n "), strings.Join(want, "\n "))
	}
}

// A server knows the routes of its region and datacenter, and drops what has
// routes elsewhere alone. SEMANTICS 2.6.
func TestScopes(t *testing.T) {
	s := overlapping()
	s.Datacenters = append(s.Datacenters, spec.Datacenter{ID: "tokyo", Place: "nrt", Egress: []spec.Egress{{Prefix: prefix("198.51.100.8/30")}}},
		spec.Datacenter{ID: "sin", Region: "OC", Egress: []spec.Egress{{Prefix: prefix("198.51.100.12/30")}}})
	s.Routes = []spec.Route{
		{Prefix: prefix("10.0.0.0/8"), Via: "shop.1.wan", Priority: 200},
		{Prefix: prefix("10.0.0.0/8"), Via: "shop.1.wan", Priority: 50, Regions: []string{"WEUR"}}, // better than without a scope
		{Prefix: prefix("10.0.0.0/8"), Via: "shop.2.wan", Priority: 300, Regions: []string{"OC"}},
		{Prefix: prefix("10.7.0.0/16"), Via: "shop.2.wan", Regions: []string{"WEUR"}, Datacenters: []string{"tokyo"}},
	}
	p := compile(t, s)
	wantKnown(t, p, "lhr.1", "default 10.0.0.0/8 via shop.1.wan, static 50", "default 10.7.0.0/16 via shop.2.wan, static 100")
	wantKnown(t, p, "cdg.2", known(t, p, "lhr.1")...)
	wantKnown(t, p, "tokyo.1", "default 10.0.0.0/8 via shop.1.wan, static 200", "default 10.7.0.0/16 via shop.2.wan, static 100")
	wantKnown(t, p, "sin.1", "default 10.0.0.0/8 via shop.1.wan, static 200", "default 10.0.0.0/8 via shop.2.wan, static 300",
		"default 10.7.0.0/16 via null, static 100")
	if p.Features != nil {
		t.Errorf("scopes are refused: %v", p.Features)
	}
}

// A learned route's priority comes of its communities and prepending.
// SEMANTICS 2.7.
func TestLearnedRoutes(t *testing.T) {
	s := overlapping()
	s.Routes = []spec.Route{
		{Prefix: prefix("10.0.0.0/8"), Via: "shop.1.wan"},
		{Prefix: prefix("10.0.0.0/8"), Via: "shop.*.wan", Source: "bgp"},
		{Prefix: prefix("10.1.0.0/16"), Via: "shop.1.wan", Source: "bgp", Communities: []string{"13335:60150"}, Prepend: 2},
		{Prefix: prefix("10.2.0.0/16"), Via: "shop.1.wan", Source: "bgp", Communities: []string{"13335:60200", "13335:60010", "65000:7"}},
	}
	wantKnown(t, compile(t, s), "cdg.1", "default 10.0.0.0/8 via shop.1.wan, static 100",
		"default 10.0.0.0/8 via shop.1.wan, bgp 100", "default 10.0.0.0/8 via shop.2.wan, bgp 100", "default 10.0.0.0/8 via shop.3.wan, bgp 100",
		"default 10.1.0.0/16 via shop.1.wan, bgp 170", "default 10.2.0.0/16 via shop.1.wan, bgp 10")
}

// The network called default is number 1 and the default, unless another says
// that it is; on-ramps are in the default one. SEMANTICS 3.1.
func TestVNets(t *testing.T) {
	for _, tt := range []struct {
		nets []spec.VNet
		want string
		ramp int
	}{
		{nil, "[{1 default true}]", 1},
		{[]spec.VNet{{ID: "blue"}, {ID: "red"}}, "[{1 default true} {2 blue false} {3 red false}]", 1},
		{[]spec.VNet{{ID: "blue"}, {ID: "red", Default: true}}, "[{1 default false} {2 blue false} {3 red true}]", 3},
		{[]spec.VNet{{ID: "blue"}, {ID: "default", Default: true}, {ID: "red"}}, "[{1 default true} {2 blue false} {3 red false}]", 1},
		{[]spec.VNet{{ID: "blue", Default: true}, {ID: "default"}}, "[{1 default false} {2 blue true}]", 2},
	} {
		s := overlapping()
		s.Account = &spec.Account{VNets: tt.nets}
		s.Routes = []spec.Route{{Prefix: prefix("10.0.1.0/24"), Via: "shop.1.wan"}, {Prefix: prefix("10.0.1.0/24"), VNet: "default"}}
		c := compile(t, s).Servers[0].Config
		if got := fmt.Sprint(c.Tenants[0].VNets); got != tt.want {
			t.Errorf("networks %s, want %s", got, tt.want)
		}
		if got := int(c.OnRamps[2].VNet); got != tt.ramp || int(c.Routes[0].VNet) != tt.ramp || c.Routes[1].VNet != 1 {
			t.Errorf("%s: on-ramp in %d, routes in %d and %d, want %d, %d and 1", tt.want, got, c.Routes[0].VNet, c.Routes[1].VNet, tt.ramp, tt.ramp)
		}
		if got := c.DefaultVNets(); len(got) != 1 || int(got[0].VNet) != tt.ramp || got[0].Tenant != 1 {
			t.Errorf("%s: defaults %v", tt.want, got)
		}
	}
}

// What only the dataplane would notice is a mistake of the file.
func TestRouteMistakes(t *testing.T) {
	office := []spec.Connector{{ID: "office", Lan: prefix("10.9.0.0/16")}, {ID: "depot", Lan: prefix("10.8.0.0/16")}}
	wan := spec.Route{Prefix: prefix("10.0.1.0/24"), Via: "shop.1.wan"}
	with := func(edit func(*spec.Route)) spec.Route { r := wan; edit(&r); return r }
	for _, tt := range []struct {
		name      string
		routes    []spec.Route
		path, msg string
	}{
		{"network of a WAN route", []spec.Route{with(func(r *spec.Route) { r.VNet = "blue" })}, "routes[0].vnet", "default virtual network only, not in \"blue\" (SEMANTICS 3.1)"},
		{"part of a reserved range", []spec.Route{with(func(r *spec.Route) { r.Prefix = prefix("100.97.0.0/16") })}, "routes[0].prefix", "100.96.0.0/12, which is reserved for client devices"},
		{"a reserved range", []spec.Route{{Prefix: prefix("100.64.0.0/12")}}, "routes[0].prefix", "reserved"},
		{"bad community", []spec.Route{with(func(r *spec.Route) { r.Source, r.Communities = "bgp", []string{"13335:60150", "x"} })}, "routes[0].communities[1]", `"x"`},
		{"learned and scoped", []spec.Route{with(func(r *spec.Route) { r.Source, r.Regions = "bgp", []string{"WEUR"} })}, "routes[0].source", "exists everywhere"},
		{"learned by nobody", []spec.Route{{Prefix: prefix("10.0.1.0/24"), Source: "bgp"}}, "routes[0].via", "does not speak BGP"},
		{"learned by a connector", []spec.Route{{Prefix: prefix("10.0.1.0/24"), Via: "office", Source: "bgp"}}, "routes[0].via", "does not speak BGP"},
		{"scopes that meet", []spec.Route{with(func(r *spec.Route) { r.Regions = []string{"WEUR"} }), with(func(r *spec.Route) { r.Datacenters = []string{"cdg"} })}, "routes[1]", "error 1014"},
		{"with and without scope", []spec.Route{wan, with(func(r *spec.Route) { r.Datacenters = []string{"cdg"} })}, "routes[1]", "error 1014"},
		{"two connectors", []spec.Route{{Prefix: prefix("10.9.0.0/16"), Via: "office"}, {Prefix: prefix("10.9.0.0/16"), Via: "depot", Priority: 7}}, "routes[1]", "error 1014"},
		{"two connectors here and there", []spec.Route{{Prefix: prefix("10.9.0.0/16"), Via: "office"}, {Prefix: prefix("10.9.0.0/16"), Via: "depot", Datacenters: []string{"lhr"}, Priority: 7}}, "routes[1]", "error 1014"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := overlapping()
			s.Account = &spec.Account{VNets: []spec.VNet{{ID: "blue"}}}
			s.Connectors, s.Routes = office, tt.routes
			_, err := Compile(s)
			if all := Errors(err); len(all) != 1 || all[0].Path != tt.path || !strings.Contains(all[0].Msg, tt.msg) {
				t.Errorf("got %v, want %s: … %s …", err, tt.path, tt.msg)
			}
		})
	}
}

// Of the same prefix and priority there are at most 64 routes. SEMANTICS 2.2.
func TestTooManyEqualRoutes(t *testing.T) {
	s := large(70)
	s.Routes = []spec.Route{{Prefix: prefix("10.0.1.0/24"), Via: "*.*.wan"}}
	_, err := Compile(s)
	if all := Errors(err); len(all) != 2 || all[0].Path != "routes[0]" || !strings.Contains(all[0].Msg, "more than 64 routes to 10.0.1.0/24 of priority 100 in lhr") {
		t.Errorf("got %v, want too many routes in both datacenters", err)
	}
	s.Routes = []spec.Route{{Prefix: prefix("10.0.1.0/24"), Via: "*.*.wan"}}
	s.Sites = s.Sites[:route.MaxEqual]
	if _, err := Compile(s); err != nil {
		t.Errorf("64 routes: %v", err)
	}
}

// Two accounts have the same sites, addresses and ports; each has its own
// on-ramps and routes, and the hub takes it.
func TestAccounts(t *testing.T) {
	s := overlapping()
	s.Accounts = []spec.Account{{ID: "acme", Orphan: "reset"}, {ID: "globex", FlowKey: "tuple", Routes: []spec.Route{{Prefix: prefix("10.0.1.0/24"), Via: "*.*.wan"}}}}
	s.Sites[0].Account, s.Sites[1].Account, s.Sites[2].Account = "globex", "acme", "globex"
	p := compile(t, s)
	c := p.Servers[0].Config
	if c.Tenants[0].ID != 1 || c.Tenants[0].Name != "acme" || c.Tenants[0].Orphan != hub.OrphanReset ||
		c.Tenants[1].ID != 2 || c.Tenants[1].Name != "globex" || c.Tenants[1].FlowKey != hub.FlowKeyTuple {
		t.Errorf("tenants %+v", c.Tenants)
	}
	if c.OnRamps[0].Tenant != 2 || c.OnRamps[1].Tenant != 1 || c.OnRamps[2].Tenant != 2 {
		t.Errorf("on-ramps %+v", c.OnRamps)
	}
	if len(c.Routes) != 2 || c.Routes[0].Tenant != 2 || c.Routes[0].NextHop != 1 || c.Routes[1].NextHop != 3 {
		t.Errorf("routes %+v, want those of globex alone", c.Routes)
	}
	if n, _ := p.Node("shop.2.till"); n.Account != "acme" {
		t.Errorf("shop.2's till is of %q", n.Account)
	}
	seen := map[string]bool{}
	for _, f := range p.Flows {
		seen[fmt.Sprint(f.Traffic, f.Src, f.Dst)] = true
	}
	if f := p.Flows; len(seen) >= len(f) || p.Features != nil {
		t.Errorf("%d different flows of %d, features %v: want the same ports in both accounts and no feature", len(seen), len(f), p.Features)
	}
	for _, server := range p.Servers {
		if _, err := hub.New(server.Config); err != nil {
			t.Errorf("%s: %v", server.Node, err)
		}
	}
}
