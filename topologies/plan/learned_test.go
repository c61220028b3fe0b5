package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// TestCustomers: a router that tells routes has a session through each of its
// on-ramps that it tells one by, with its own number, and every datacenter's edge
// has the other end of it.
func TestCustomers(t *testing.T) {
	s := two()
	s.Transit, s.Sites[0].Near, s.Sites[2].Near = nil, spec.Near{{Code: "lhr", Share: 1}}, nil
	s.Internet = nil
	s.Sites[0].ASN = 65010
	s.Sites[0].OnRamps = append(slices.Clone(s.Sites[0].OnRamps), spec.OnRamp{ID: "spare", Type: "gre"})
	s.Routes = []spec.Route{
		{Prefix: prefix("10.8.0.0/24"), Via: "shop.1.wan", Source: "bgp", Communities: []string{"13335:60150"}, Prepend: 2},
		{Prefix: prefix("10.8.0.0/24"), Via: "shop.1.spare", Source: "bgp"},
		{Prefix: prefix("10.9.0.0/24"), Via: "cafe.1.wan", Source: "bgp"},
		{Prefix: prefix("10.9.0.0/24"), Via: "kiosk.1.wan"},
	}
	p, err := Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Customers) != 2 || len(p.Customers[0].Sessions) != 2 || p.Customers[0].ASN != 65010 || p.Customers[1].ASN != customerASN {
		t.Fatalf("customers are %+v", p.Customers)
	}
	s.Routes[0].Prefix = prefix("fd00:8::/64")
	if _, err := Compile(s); err == nil || !strings.Contains(err.Error(), "carry IPv4 alone") {
		t.Errorf("a prefix of IPv6 is told: %v", err)
	}
	first := p.Customers[0].Origins[0]
	if first.Prepend != 2 || !first.Tells(0) || first.Tells(1) || len(first.Communities) != 1 {
		t.Errorf("the first route is told as %+v", first)
	}
	if len(p.Relays) != 2 || len(p.Relays[0].Sessions) != 3 || len(p.Relays[1].Sessions) != 3 {
		t.Fatalf("relays are %+v", p.Relays)
	}
	for i := range p.Relays {
		edge, _ := p.Node(p.Relays[i].Node)
		for _, x := range p.Relays[i].Sessions {
			if x.Dials() || !slices.Contains(edge.Loopback, host(x.Local)) ||
				!slices.ContainsFunc(edge.Routes, func(r KernelRoute) bool { return r.To == host(x.Remote) && len(r.Hops) == 1 }) {
				t.Errorf("%s is no end of the session with %s", edge.ID, x.Node)
			}
		}
	}
}

// TestRelay: what a datacenter hears is every datacenter's, but for one that has
// lost the relay, which keeps its tables, and what it hears, until it is back.
func TestRelay(t *testing.T) {
	p, err := Compile(relayed())
	if err != nil {
		t.Fatal(err)
	}
	shop, cafe := Learned{1, prefix("10.8.0.0/24")}, Learned{2, prefix("10.9.0.0/24")}
	if got := p.Learned(); !maps.Equal(got, map[Learned]int{shop: 100, cafe: 150}) {
		t.Fatalf("learned are %v", got)
	}
	r := NewRelay(p)
	tables := func(server int) (all []string) {
		c := p.Servers[server].Config
		if !r.Configure(&c, p.Servers[server].Datacenter) {
			return []string{"as it was"}
		}
		for _, x := range c.Routes {
			if x.Source == route.BGP {
				all = append(all, x.Prefix.String())
			}
		}
		return all
	}
	steps := []struct {
		what             string
		do               func()
		london, overseas string
	}{
		{"at first", func() {}, "[10.8.0.0/24 10.9.0.0/24]", "[10.8.0.0/24 10.9.0.0/24]"},
		{"taken back", func() { r.Hear("lhr", shop, 0, true) }, "[10.9.0.0/24]", "[10.9.0.0/24]"},
		{"told again", func() { r.Hear("lhr", shop, 100, false) }, "[10.8.0.0/24 10.9.0.0/24]", "[10.8.0.0/24 10.9.0.0/24]"},
		{"London has lost the relay", func() { r.Freeze("lhr", 1) }, "[as it was]", "[10.8.0.0/24 10.9.0.0/24]"},
		{"London's own", func() { r.Hear("lhr", shop, 0, true) }, "[as it was]", "[10.8.0.0/24 10.9.0.0/24]"},
		{"Paris's", func() { r.Hear("cdg", cafe, 0, true) }, "[as it was]", "[10.8.0.0/24]"},
		{"London has it again", func() { r.Freeze("lhr", -1) }, "[]", "[]"},
		{"the session moved to Paris", func() { r.Hear("cdg", shop, 110, false) }, "[10.8.0.0/24]", "[10.8.0.0/24]"},
	}
	for _, s := range steps {
		s.do()
		if got := [2]string{fmt.Sprint(tables(0)), fmt.Sprint(tables(1))}; got != [2]string{s.london, s.overseas} {
			t.Errorf("%s: London has %s and Paris %s, want %s and %s", s.what, got[0], got[1], s.london, s.overseas)
		}
	}
	if c := (hub.Config{Self: 1}); r.Configure(&c, "cdg") {
		t.Error("London's server takes Paris's table")
	}
}

// relayed are a branch at London and one at Paris, which tell a prefix each.
func relayed() *spec.Scenario {
	gre := []spec.OnRamp{{ID: "wan", Type: "gre", ARR: true}}
	return &spec.Scenario{
		Version: 1, Name: "relayed",
		Datacenters: []spec.Datacenter{{ID: "lhr", Servers: 1}, {ID: "cdg", Servers: 1}},
		Sites: []spec.Site{
			{ID: "shop", Instance: 1, Near: spec.Near{{Code: "lhr", Share: 1}}, Lan: prefix("10.8.0.0/24"), OnRamps: gre},
			{ID: "cafe", Instance: 1, Near: spec.Near{{Code: "cdg", Share: 1}}, Lan: prefix("10.9.0.0/24"), OnRamps: gre},
		},
		Routes: []spec.Route{
			{Prefix: prefix("10.8.0.0/24"), Via: "shop.1.wan", Source: "bgp"},
			{Prefix: prefix("10.9.0.0/24"), Via: "cafe.1.wan", Source: "bgp", Communities: []string{"13335:60150"}},
		},
	}
}
