package load_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// names is a file in which things are mentioned by more than from, to and on: name
// servers and resolvers, and links by both of their ends.
const names = `version: 1
name: names
datacenters: [{id: lhr, egress: [198.51.100.0/30]}]
devices: [{id: briton, near: lhr}]
sites: [{id: shop, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre}]}]
internet:
  - {id: cdn, address: 203.0.113.60, resolves: {GB: node, default: node}}
  - {id: node, address: 203.0.113.1}
  - {id: resolver, address: 203.0.113.53, proxied: true, serve: [dns], asks_from: [{datacenter: lhr, address: 192.0.2.53}]}
links: {shop.1.router-transit.lhr: {delay: 1ms}}
impair: [{on: transit.lhr-lhr.edge, delay: 15ms}]
traffic: [{id: pages, from: briton.*, to: cdn, tcp: 443, resolver: resolver}]
faults: [{id: cut, at: 1s, do: cut, on: shop.1.router-shop.1.till}]
checks: [{id: near, expect: "pages.from.lhr == 1 and pages.at.node == 1"}]
`

// TestIncludeMentions: with a prefix every mention of an included file's own things
// gets it, wherever it stands.
func TestIncludeMentions(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "names.yaml"), []byte(names), 0o600); err != nil {
		t.Fatal(err)
	}
	main := "version: 1\nname: main\ninclude: [{file: names.yaml, prefix: eu_}]\ndatacenters: [{id: nrt}]\n"
	d, err := load.Bytes(filepath.Join(dir, "main.yaml"), []byte(main))
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Resolve(spec.Base, nil)
	if err != nil {
		t.Fatal(err)
	}
	link := ""
	for name := range s.Links {
		link = name
	}
	got := []string{
		s.Internet[0].Resolves["GB"], s.Internet[0].Resolves[spec.DefaultView], s.Internet[2].AsksFrom[0].Datacenter,
		link, s.Impair[0].On, s.Traffic[0].Resolver, s.Faults[0].On, s.Checks[0].Expect,
	}
	want := []string{
		"eu_node", "eu_node", "eu_lhr",
		"eu_shop.1.router-transit.lhr", "transit.lhr-eu_lhr.edge", "eu_resolver", "eu_shop.1.router-eu_shop.1.till",
		"eu_pages.from.eu_lhr == 1 and eu_pages.at.eu_node == 1",
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got:\n%s\nwant:\n%s", g, w)
	}
}
