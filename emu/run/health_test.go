package run_test

import (
	"testing"

	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
)

// SEMANTICS 2.8, live: servers find every tunnel healthy by probes of both
// types. A probe of type reply has the router's own address as source: the
// router forwards it back only because its tunnels let such packets in.
func TestLiveProbes(t *testing.T) {
	const file = `version: 1
name: probes
timers: {scale: 0.2}
datacenters: [{id: lhr, servers: 2, egress: [198.51.100.0/30]}]
sites:
  - {id: asked, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true, health: {type: request, rate: high}}]}
  - {id: mirror, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true, health: {type: reply, rate: high}}]}
internet: [{id: web, address: 203.0.113.9, serve: [http, echo]}]
traffic: [{id: same, from: "*.*.till", to: web, udp: 7, packets: 30, interval: 50ms}]
`
	for _, io := range []agent.IO{agent.IOVnet, agent.IOPlain} {
		t.Run(string(io), func(t *testing.T) {
			if io == agent.IOVnet {
				need.BPF(t)
			}
			r := live(t, compile(t, file), run.Options{IO: io})
			wantAll(t, r, record.OK)
			for _, e := range r.Events {
				if e.Kind == "health" {
					t.Errorf("%s: %s: %s", e.Node, e.OnRamp, e.Text)
				}
			}
			probes, answers := int64(0), int64(0)
			for _, c := range r.Run.Metrics.Servers {
				probes, answers = probes+c["probes"], answers+c["answered"]
			}
			// Two servers, two tunnels, 1.5 s, 20 a second; the last may be under way.
			if probes < 80 || answers < probes-4 {
				t.Errorf("%d probes and %d answers, want 80 or more, and as many", probes, answers)
			}
		})
	}
}
