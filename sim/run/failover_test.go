package run

import (
	"testing"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const failover = `version: 1
name: failover
datacenters: [{id: lhr, servers: 2, egress: [198.51.100.0/31]}]
sites:
  - id: shop
    count: 2
    lan: 10.0.1.0/24
    hosts: {till: 10.0.1.5}
    onramps: [{id: wan, type: gre, arr: true}, {id: spare, type: gre, arr: true}]
    group: {primary: wan, backups: [spare]}
    cpe: {}
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [http, echo]}]
traffic:
  - {id: tick, from: shop.*.till, to: web, udp: 7, source_port: 40001, packets: 200, interval: 50ms, connect: 500ms, timeout: 20s}
  - {id: later, from: shop.*.till, to: web, tcp: 80, start: 5s, flows: 10, response: 1KiB}
faults: [{id: gone, at: 2s, for: 20s, do: cut, on: shop.1.wan}]
`

// A router that probes leaves a way that is cut no later than the plan says, and
// replies follow (SEMANTICS 1.8).
func TestFailover(t *testing.T) {
	p := loadtest.Plan(t, failover, spec.Base)
	r := run(t, p, Options{})
	var probing = p.Branches[0].Choice.Ways[0].Probing
	chosen := at(r, "chosen")
	if limit := 2*time.Second + plan.Detection(probing); chosen < 2*time.Second || chosen > limit {
		t.Errorf("another way is chosen at %v, want between 2s and %v", chosen, limit)
	}
	for _, e := range r.Events {
		if e.Kind == "chosen" && e.Node != "shop.1.router" {
			t.Errorf("%s chooses %s, and nothing is wrong there", e.Node, e.OnRamp)
		}
	}
	if moved := at(r, "moved"); moved < chosen {
		t.Errorf("the flow's replies move at %v, want after %v", moved, chosen)
	}
	for _, f := range r.Flows {
		want := "shop.1.wan"
		if f.Client == "shop.1.till" && f.Traffic == "later" {
			want = "shop.1.spare"
		}
		if f.Client == "shop.1.till" && f.Traffic == "later" && (f.Result != record.OK || f.ReturnOnRamp != want) {
			t.Errorf("%s#%d: %s (%s), replies by %s; want ok by %s", f.Traffic, f.N, f.Result, f.Reason, f.ReturnOnRamp, want)
		}
		if f.Client == "shop.2.till" && f.Result != record.OK {
			t.Errorf("%s#%d of the other shop: %s (%s)", f.Traffic, f.N, f.Result, f.Reason)
		}
	}
	// What was lost is what was sent before the router knew.
	lost := 0
	for _, f := range r.Flows {
		if f.Traffic == "tick" && f.Client == "shop.1.till" {
			lost = 200 - int(f.BytesUp/int64(max(p.Flows[0].Request, 24)))
		}
	}
	if most := int((chosen-2*time.Second)/(50*time.Millisecond)) + 10; lost == 0 || lost > most {
		t.Errorf("%d datagrams of the flow that went on were not answered, want 1 to %d", lost, most)
	}
}
