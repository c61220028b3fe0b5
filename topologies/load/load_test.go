package load_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

func TestShipped(t *testing.T) {
	d, err := topologies.Load("overlapping_branches")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range d.Variants() {
		if _, err := d.Resolve(v, nil); err != nil {
			t.Errorf("variant %s: %v", v, err)
		}
	}
}

// TestOneAlone: a plain value where a list of plain values is wanted is a list of one.
func TestOneAlone(t *testing.T) {
	const text = `version: 1
name: one
datacenters: [{id: lhr, egress: %s}]
sites:
  - {id: shop, near: lhr, lan: 10.0.1.0/24, hosts: {till: {address: 10.0.1.5, run: %s}}, onramps: [{id: wan, type: gre, arr: true}]}
internet: [{id: web, address: 203.0.113.9, serve: %s}]
account: {policies: {firewall: [{id: no, match: {country: %s, port: %s, destination: %s}, action: block}]}}
checks: [{id: ok, expect: "true"}]
variants: {v: {expect_fail: %s}}
`
	words := []any{"198.51.100.0/32", "bell", "http", "GB", "53", "203.0.113.0/24", "ok"}
	lists := make([]any, len(words))
	for i, w := range words {
		lists[i] = fmt.Sprintf("[%s]", w)
	}
	resolve := func(text string) *spec.Scenario {
		d, err := load.Bytes("one.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s, err := d.Resolve("v", nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if got, want := resolve(fmt.Sprintf(text, words...)), resolve(fmt.Sprintf(text, lists...)); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
