package load_test

import (
	"testing"

	"github.com/homeward-lab/homeward/topologies/load"
)

// TestManyAreReadOnce: what a count asks for costs as much as it is long, and not
// its square. Allocations are counted, because they are the same on every machine.
func TestManyAreReadOnce(t *testing.T) {
	const head = "version: 1\nname: many\ndatacenters: [{id: lhr, egress: [198.51.100.0/30]}]\n"
	const branch = "sites: [{id: shop, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre}]}]\n"
	for name, text := range map[string]string{
		"origins": branch + "internet: [{id: web, address: 203.0.0.9, count: 10000}]\ntraffic: [{id: all, from: shop.*.till, to: web.*, tcp: 443}]\n",
		"sites":   "sites: [{id: shop, count: 10000, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre}]}]\nroutes: [{prefix: 10.0.1.0/24, via: shop.*.wan}]\n",
		"devices": "devices: [{id: laptop, count: 10000, near: {lhr: 1, cdg: 2}}]\n",
	} {
		const each = 100 // objects in memory for each of what is counted
		n := testing.AllocsPerRun(1, func() {
			if _, err := load.Bytes("many.yaml", []byte(head+text)); err != nil {
				t.Error(err)
			}
		})
		if n > 10_000*each {
			t.Errorf("%s: %.0f allocations for 10,000, want at most %d for each", name, n, each)
		}
	}
}
