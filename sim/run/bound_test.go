package run

import (
	"testing"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// TestEG7: 31 servers share an address that is an account's own. It has 63,488
// ports, and 40,000 flows toward one port of a destination; the next ones are
// refused, and those to another destination served. SEMANTICS EG-7, SU-2.
func TestEG7(t *testing.T) {
	p := loadtest.Plan(t, loadtest.Bound+`  - {id: many, from: shop.*.till, to: web, udp: 7, flows: 20050, rate: 5000, connect: 1s, timeout: 5s}
  - {id: after, from: shop.*.till, to: other, udp: 7, flows: 20, start: 6s, connect: 1s, timeout: 5s}
`, "base")
	r := run(t, p, Options{})
	ok, refused, ports := map[string]int{}, 0, map[int]bool{}
	for _, f := range r.Flows {
		switch {
		case f.Result == record.OK && f.EgressIP == "192.0.2.33":
			ok[f.Traffic]++
			ports[f.EgressPort>>11] = true
		case f.Reason == "EGRESS_PORT_ALLOCATION_ERROR" && f.Traffic == "many":
			refused++
		default:
			t.Fatalf("%s %d: %s (%s) as %s", f.Traffic, f.N, f.Result, f.Reason, f.EgressIP)
		}
	}
	if ok["many"] != 40_000 || refused != 100 || ok["after"] != 40 || len(ports) != 31 {
		t.Errorf("%v flows, %d refused, in %d slices; want 40000 and 40, 100 refused, 31 slices", ok, refused, len(ports))
	}
}

// TestSU2: 31 servers share one address and all of its 63,488 ports toward one
// destination: so many flows are live at once, each from another port, and not one
// more. SEMANTICS SU-2.
func TestSU2(t *testing.T) {
	p := loadtest.Plan(t, `version: 1
name: ports
datacenters: [{id: lhr, servers: 31, egress: [198.51.100.0/32]}]
account: {on_exhaustion: another_server}
sites: [{id: shop, count: 4, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [echo]}]
traffic: [{id: many, from: shop.*.till, to: web, udp: 7, flows: 17000, rate: 5000, request: 32B, connect: 1s, timeout: 5s}]
`, "base")
	ports := map[int]string{}
	for _, f := range run(t, p, Options{}).Flows {
		switch {
		case f.Result == record.OK && ports[f.EgressPort] == "" && f.EgressPort >= 2048:
			ports[f.EgressPort] = f.EgressServer
		case f.Reason != "EGRESS_PORT_ALLOCATION_ERROR":
			t.Fatalf("flow %d: %s (%s) from port %d, which %q had", f.N, f.Result, f.Reason, f.EgressPort, ports[f.EgressPort])
		}
	}
	if len(ports) != 63_488 {
		t.Errorf("%d ports in use, want 63488", len(ports))
	}
}
