package plan

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// An uplink is one for each host that it selects, and a word that not every
// engine knows; without the word nothing gets out.
func TestUplinks(t *testing.T) {
	const file = `version: 1
name: out
datacenters: [{id: lhr, egress: [198.51.100.0/32]}]
sites: [{id: shop, count: 2, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet: [{id: web, address: 203.0.113.9, serve: [http]}]
`
	const uplink = "uplink: [{host: shop.*.till, network: outside}, {host: web, network: outside, interface: out1}]\n"
	compiled := func(text string) *Plan {
		doc, err := load.Bytes("out.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s, err := doc.Resolve(spec.Base, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Compile(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := compiled(file + uplink)
	want := []Uplink{
		{Node: "shop.1.till", Interface: "up0", Network: "outside"},
		{Node: "shop.2.till", Interface: "up0", Network: "outside"},
		{Node: "web", Interface: "out1", Network: "outside"},
	}
	if diff := cmp.Diff(want, p.Uplinks); diff != "" {
		t.Errorf("uplinks (-want +got):\n%s", diff)
	}
	noted := func(p *Plan) bool {
		return slices.ContainsFunc(p.Features, func(f Feature) bool { return f.Word == "uplink" })
	}
	if !noted(p) {
		t.Errorf("features %v, want uplink", p.Features)
	}
	if p := compiled(file); len(p.Uplinks) > 0 || noted(p) {
		t.Errorf("without the word: uplinks %v, features %v", p.Uplinks, p.Features)
	}
}
