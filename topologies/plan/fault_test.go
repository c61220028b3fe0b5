package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const breakable = `version: 1
name: breakable
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/31]}
  - {id: cdg, egress: [198.51.100.2/32]}
sites:
  - id: shop
    count: 3
    near: {lhr: 2, cdg: 1}
    lan: 10.0.1.0/24
    hosts: {till: 10.0.1.5}
    onramps: [{id: wan, type: gre, arr: true}, {id: spare, type: gre, arr: true}]
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [http]}]
traffic: [{id: same, from: shop.*.till, to: web, tcp: 443, source_port: 40000}]
`

// broken compiles a fault on the breakable lab.
func broken(t *testing.T, fault string) (*Plan, error) {
	t.Helper()
	doc, err := load.Bytes("f.yaml", []byte(breakable+"faults: [{id: f, at: 1s, "+fault+"}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := doc.Resolve(spec.Base, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Compile(s)
}

// What each selector of each fault means, exactly.
func TestFaults(t *testing.T) {
	tests := []struct{ fault, want string }{
		{"do: cut, on: shop.1.wan", "links shop.1.router-transit.lhr"},
		{"do: cut, on: shop.1.spare", "links shop.1.router-transit.lhr:wan1"},
		{"do: cut, on: shop.*.wan", "links shop.1.router-transit.lhr shop.2.router-transit.lhr shop.3.router-transit.cdg"},
		{"do: cut, on: lhr", "links lhr.edge-transit.lhr"},
		{"do: flap, on: lhr.2", "links lhr.2-lhr.edge"},
		{"do: blackhole, direction: up, on: transit.cdg-transit.lhr", "links transit.lhr-transit.cdg"},
		{"do: cut, on: web", "links web-transit.lhr"},
		{"do: cut, on: shop.*.till, pick: 1", "links 1"},
		{"do: degrade, on: shop.1.wan, impairment: {delay: 80ms}", "links shop.1.router-transit.lhr"},
		{"do: mtu, mtu: 1280, on: shop.1.*", "onramps 1 2"},
		{"do: mtu, mtu: 1280, on: web", "links web-transit.lhr"},
		{"do: mtu, mtu: 1300, on: shop.1.router", "links shop.1.router-transit.lhr shop.1.router-transit.lhr:wan1"},
		{"do: mtu, mtu: 1300, on: lhr.1", "links lhr.1-lhr.edge"},
		{"do: reassign, on: lhr.2", "servers lhr.2"},
		{"do: partition, on: lhr", "links lhr.edge-cdg.edge lhr.edge-transit.lhr"},
		{"do: partition, on: shop.2", "links shop.2.router-transit.lhr shop.2.router-transit.lhr:wan1"},
		{"do: kill, on: lhr.1", "servers lhr.1"},
		{"do: pause, on: lhr.*", "servers lhr.1 lhr.2 routers lhr.edge links lhr.1-lhr.edge lhr.2-lhr.edge lhr.edge-cdg.edge lhr.edge-transit.lhr"},
		{"do: restart, on: shop.3.router", "routers shop.3.router links shop.3.router-transit.cdg shop.3.router-transit.cdg:wan1 shop.3.till-shop.3.router"},
		{"do: withdraw, on: lhr, address: tunnel", "datacenters lhr prefixes 198.18.0.1/32"},
		{"do: withdraw, on: cdg, address: 198.51.100.1", "datacenters cdg prefixes 198.51.100.1/32"},
		{"do: freeze, on: lhr", "datacenters lhr"},
		{"do: drain, on: lhr", "servers lhr.1 lhr.2 datacenters lhr prefixes 198.18.0.1/32 198.51.100.0/31 198.51.100.2/32"},
	}
	for _, tt := range tests {
		t.Run(tt.fault, func(t *testing.T) {
			p, err := broken(t, tt.fault)
			if err != nil {
				t.Fatal(err)
			}
			f := p.Faults[0]
			var got []string
			add := func(name string, list []string) {
				if len(list) > 0 {
					got = append(append(got, name), list...)
				}
			}
			texts := func(list any) []string { return strings.Fields(strings.Trim(fmt.Sprint(list), "[]")) }
			add("servers", f.Servers)
			add("routers", f.Routers)
			if f.Pick > 0 {
				add("links", []string{fmt.Sprint(len(f.Links))})
			} else {
				slices.Sort(f.Links)
				want := f.Links
				add("links", want)
			}
			add("datacenters", f.Datacenters)
			add("prefixes", texts(f.Prefixes))
			add("onramps", texts(f.OnRamps))
			wanted := strings.Fields(tt.want)
			slices.Sort(wanted)
			slices.Sort(got)
			if !slices.Equal(got, wanted) {
				t.Errorf("got %v, want %v", got, wanted)
			}
			for _, l := range p.Links {
				if l.Pumped != (f.Do == spec.Degrade && slices.Contains(f.Links, l.ID)) {
					t.Errorf("%s is pumped: %v", l.ID, l.Pumped)
				}
			}
		})
	}
}

// What a fault cannot be on is a mistake of the file.
func TestFaultMistakes(t *testing.T) {
	tests := []struct{ fault, want string }{
		{"do: kill, on: shop.1.till", "shop.1.till is a host, want a server such as lhr.1 or a router such as shop.1.router"},
		{"do: kill, on: lhr", `"lhr" selects neither a server`},
		{"do: reassign, on: lhr", `"lhr" selects no server such as lhr.1`},
		{"do: reassign, on: shop.1.router", `"shop.1.router" selects no server such as lhr.1`},
		{"do: reassign, on: lhr.*", `"lhr.*" leaves lhr no server to reassign to, want one of its 2 to stay`},
		{"do: reassign, on: cdg.1", `"cdg.1" leaves cdg no server`},
		{"do: drain, on: lhr.1", `"lhr.1" selects no datacenter`},
		{"do: withdraw, on: lhr, address: 192.0.2.1", "address 192.0.2.1 is no egress address"},
		{"do: withdraw, on: shop.1.wan, address: 198.51.100.1", `"198.51.100.1" is no prefix that an on-ramp's router tells by BGP`},
		{"do: withdraw, on: shop.1.wan, address: 10.0.1.0/24", `no router of "shop.1.wan" tells 10.0.1.0/24 by BGP`},
		{"do: freeze, on: shop.1.wan", `"shop.1.wan" selects no datacenter`},
		{"do: cut, on: transit.lhr-shop.1.till", "selects no link"},
	}
	for _, tt := range tests {
		_, err := broken(t, tt.fault)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "faults[0].on") {
			t.Errorf("%s: got %v, want %s", tt.fault, err, tt.want)
		}
	}
}

// A link takes any MTU that what it carries can have.
func TestLowerMTU(t *testing.T) {
	const office = `version: 1
name: office
datacenters: [{id: lhr, servers: 2, egress: [198.51.100.0/31, "2001:db8:100::/64"]}]
sites:
  - {id: shop, lan: "fd00:1::/64", hosts: {till: "fd00:1::5"}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: office, lan: 10.0.1.0/24, hosts: {desk: 10.0.1.5}, onramps: [{id: line, type: interconnect, arr: true}]}
internet: [{id: web, address: "2001:db8:9::9", near: lhr, serve: [http]}]
traffic: [{id: same, from: shop.*.till, to: web, tcp: 443}]
faults: [{id: f, at: 1s, do: mtu, %s}]
`
	for _, tt := range []struct{ fault, want string }{
		{"mtu: 1300, on: office.1.router-lhr.edge", "is an interconnect: want its on-ramp office.1.line, whose two ends take the MTU"},
		{"mtu: 1279, on: web", "link web-transit.lhr carries IPv6, which wants an MTU of 1280 or more"},
		{"mtu: 1280, on: shop.1.router", "carries tunnels with IPv6 inside, which wants an MTU of 1320 or more"},
		{"mtu: 1280, on: web", ""},
		{"mtu: 1320, on: shop.1.router", ""},
		{"mtu: 1400, on: office.1.line", ""},
	} {
		doc, err := load.Bytes("f.yaml", fmt.Appendf(nil, office, tt.fault))
		if err != nil {
			t.Fatal(err)
		}
		s, err := doc.Resolve(spec.Base, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = Compile(s); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.fault, err, tt.want)
		}
	}
}

// The drawn part of a selection depends on the seed and the fault alone.
func TestPickIsStable(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		p, err := broken(t, "do: cut, on: shop.*.wan, pick: 2")
		if err != nil || len(p.Faults[0].Links) != 2 {
			t.Fatalf("got %v, %v, want two links", p.Faults[0].Links, err)
		}
		seen[fmt.Sprint(p.Faults[0].Links)] = true
	}
	if len(seen) != 1 {
		t.Errorf("got %v, want the same links each time", seen)
	}
}

// The next datacenter takes what one withdraws.
func TestLandings(t *testing.T) {
	p, err := broken(t, "do: drain, on: lhr")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range p.Landings {
		got = append(got, l.Node+">"+l.Datacenter+":"+l.Hops[0].Interface)
	}
	want := []string{"transit.lhr>lhr:lhr-edge", "transit.lhr>cdg:transit-cdg", "transit.cdg>cdg:cdg-edge", "transit.cdg>lhr:transit-lhr"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
