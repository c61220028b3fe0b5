package run_test

import (
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
)

// SEMANTICS 2.8, live: servers find every tunnel healthy by probes of both
// types. A probe of type reply has the router's own address as source: the
// router forwards it back only because its tunnels let such packets in. An answer may
// take 600 ms, so that a slow machine loses none; and a lab that says itself that its
// servers waited for a processor is made again.
func TestLiveProbes(t *testing.T) {
	const file = `version: 1
name: probes
timers: {scale: 2}
datacenters: [{id: lhr, servers: 2, egress: [198.51.100.0/30]}]
sites:
  - {id: asked, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true, health: {type: request, rate: high}}]}
  - {id: mirror, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true, health: {type: reply, rate: high}}]}
internet: [{id: web, address: 203.0.113.9, serve: [http, echo]}]
traffic: [{id: same, from: "*.*.till", to: web, udp: 7, packets: 40, interval: 100ms, connect: 2s}]
`
	for _, io := range []agent.IO{agent.IOVnet, agent.IOPlain} {
		t.Run(string(io), func(t *testing.T) {
			if io == agent.IOVnet {
				need.BPF(t)
			}
			p := compile(t, file)
			health := func(e record.Event) bool { return e.Kind == "health" }
			r := again(t, p, run.Options{IO: io}, func(r *record.Records) bool {
				return slices.ContainsFunc(r.Events, health) || slices.ContainsFunc(r.Flows, func(f record.Flow) bool { return f.Result != record.OK })
			})
			invariants(t, p, r)
			wantAll(t, r, record.OK)
			for _, e := range r.Events {
				if health(e) {
					t.Errorf("%s: %s: %s", e.Node, e.OnRamp, e.Text)
				}
			}
			probes, answers := int64(0), int64(0)
			for _, c := range r.Run.Metrics.Servers {
				probes, answers = probes+c["probes"], answers+c["answered"]
			}
			// Two servers, two tunnels, 4 s, 2 a second; the last may be under way.
			if probes < 30 || answers < probes-4 {
				t.Errorf("%d probes and %d answers, want 30 or more, and as many", probes, answers)
			}
		})
	}
}
