package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/homeward-lab/homeward/topologies/load"
)

// What a person has to write: the same for fifty sites as for one but for
// the tunnels, or a prefix and a route for each.
func TestObjects(t *testing.T) {
	const head = `
version: 1
name: objects
datacenters: [{id: lhr, egress: [198.51.100.0/30]}]
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [http]}]
traffic: [{id: t, from: "*.*.till", to: web, tcp: 80}]
checks: [{id: c, expect: "t.ok == t.total"}]
`
	const shops = "sites: [{id: shop, count: 50, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]\n"
	for name, tt := range map[string]struct {
		file string
		want Objects
	}{
		"one template":     {shops, Objects{OnRamps: 50, Networks: 1}},
		"a route for each": {shops + `routes: [{prefix: 10.0.1.0/24, via: "shop.*.wan"}, {prefix: 10.9.0.0/16}]`, Objects{OnRamps: 50, Networks: 1, Routes: 51}},
		"a prefix for each": {`
sites:
  - {id: a, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre}, {id: lte, type: gre, key: 1}]}
  - {id: b, lan: 10.0.2.0/24, hosts: {till: 10.0.2.5}, onramps: [{id: wan, type: gre}]}
account:
  routes: [{prefix: 10.0.1.0/24, via: a.*.*}, {prefix: 10.0.2.0/24, via: b.1.wan, source: bgp}]
`, Objects{OnRamps: 3, Networks: 2, Routes: 2}},
		"accounts do not share": {`
accounts:
  - {id: x, routes: [{prefix: 10.0.1.0/24, via: "*.*.wan"}], vnets: [{id: red}, {id: default, default: true}], policies: {firewall: [{id: f, action: allow}], network: [{id: n, action: allow}]}}
  - {id: y}
sites:
  - {id: a, account: x, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre}]}
  - {id: b, account: y, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre}]}
`, Objects{OnRamps: 2, Networks: 2, Routes: 1, VNets: 1, Policies: 2}},
	} {
		doc, err := load.Bytes("objects.yaml", []byte(head+tt.file))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s, err := doc.Resolve("base", nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p, err := Compile(s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tt.want, p.Objects); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Every count has its name in the records.
func TestObjectsByKind(t *testing.T) {
	o := Objects{OnRamps: 1, Networks: 2, Routes: 3, Connectors: 4, VNets: 5, Policies: 6, Addresses: 7, Groups: 8}
	want := map[string]int64{"onramps": 1, "networks": 2, "routes": 3, "connectors": 4, "vnets": 5, "policies": 6, "addresses": 7, "groups": 8}
	if diff := cmp.Diff(want, o.ByKind()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
