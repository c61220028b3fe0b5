package run_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/record"
)

// brittle is two datacenters and two sites. Each of three traffics is one
// datagram there and back: before, during and after the fault of %s, which
// happens at 400 ms and heals at 1600 ms.
const brittle = `version: 1
name: brittle
seed: 3
timers: {scale: 0.2}
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/31]}
  - {id: cdg, egress: [198.51.100.2/32]}
sites:
  - {id: shop, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: other, near: cdg, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [http, echo]}]
traffic:
  - {id: before, from: "*.*.till", to: web, udp: 7, flows: 8, connect: 2s}
  - {id: during, from: "*.*.till", to: web, udp: 7, flows: 8, start: 1s, connect: 300ms}
  - {id: after, from: "*.*.till", to: web, udp: 7, flows: 8, start: 2s, connect: 2s}
faults: [{id: f, at: 400ms, for: 1200ms, %s}]
%s`

// happens runs a fault and wants what is written of it: it happened, it healed,
// and nothing else went wrong.
func happens(t *testing.T, fault, more string) *record.Records {
	t.Helper()
	p := compile(t, fmt.Sprintf(brittle, fault, more))
	r := live(t, p, run.Options{})
	var kinds []string
	for _, e := range r.Events {
		if e.Fault != "" && e.Kind != "saturated" {
			kinds = append(kinds, e.Kind)
			t.Logf("%4d ms %s: %s", (e.AtNs-begun(r))/1e6, e.Kind, e.Text)
		}
		if e.Kind == "error" {
			t.Errorf("%s: %s", e.Node, e.Text)
		}
	}
	if len(kinds) < 2 || kinds[0] != "fault" || kinds[len(kinds)-1] != "healed" {
		t.Errorf("the time line has %v, want the fault first and its healing last", kinds)
	}
	for _, f := range r.Flows {
		if f.Traffic != "during" && f.Result != record.OK {
			t.Errorf("%s#%d of %s is %s: %s", f.Traffic, f.N, f.Client, f.Result, f.Reason)
		}
	}
	return r
}

// begun is when traffic was to begin.
func begun(r *record.Records) int64 {
	for _, e := range r.Events {
		if e.Kind == "traffic" {
			return e.AtNs + 500e6
		}
	}
	return 0
}

// during says what came of each client's flows while the fault lasted.
func during(r *record.Records) map[string][]string {
	all := map[string][]string{}
	for _, f := range r.Flows {
		if f.Traffic == "during" && !slices.Contains(all[f.Client], string(f.Result)) {
			all[f.Client] = append(all[f.Client], string(f.Result))
		}
	}
	return all
}

// Each fault is felt by whom it is meant for, and by nobody after it has healed.
func TestLiveFaults(t *testing.T) {
	tests := []struct{ name, fault, shop, other string }{
		{"cut", "do: cut, on: shop.1.wan", "lost", "ok"},
		{"cut of a datacenter", "do: cut, on: lhr", "lost", "lost"}, // where the origin's packets land
		{"blackhole up", "do: blackhole, direction: up, on: shop.1.wan", "lost", "ok"},
		{"blackhole down", "do: blackhole, direction: down, on: shop.1.till", "lost", "ok"},
		{"partition", "do: partition, on: other.1", "ok", "lost"},
		{"degrade", "do: degrade, on: shop.1.wan, impairment: {loss: 100%}", "lost", "ok"},
		{"flap", "do: flap, every: 2s, on: shop.1.wan", "lost", "ok"},
		{"pause of a router", "do: pause, on: other.1.router", "ok", "lost"},
		{"kill of a router", "do: kill, on: transit.cdg", "ok", "lost"},
		{"kill", "do: kill, on: lhr.1", "ok", "ok"}, // its work is others' by then
		{"pause", "do: pause, on: lhr.2", "ok", "ok"},
		{"restart", "do: restart, on: lhr.1", "ok", "ok"},
		{"reassign", "do: reassign, on: lhr.1", "ok", "ok"},
		{"withdraw the tunnel", "do: withdraw, on: lhr, address: tunnel", "ok", "ok"},
		{"withdraw an egress address", "do: withdraw, on: lhr, address: 198.51.100.2", "ok", "ok"},
		{"withdraw everywhere", "do: withdraw, on: '*', address: tunnel", "lost", "lost"},
		{"drain", "do: drain, wait: 300ms, on: lhr", "ok", "ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := happens(t, tt.fault, "")
			got := during(r)
			for client, want := range map[string]string{"shop.1.till": tt.shop, "other.1.till": tt.other} {
				if strings.Join(got[client], " ") != want {
					t.Errorf("during the fault the flows of %s are %v, want %s", client, got[client], want)
				}
			}
		})
	}
}

// A tunnel gets narrower in the middle of transfers both ways: the ends of the
// connections learn of it (RFC 1191), and they go on.
func TestLiveNarrowTunnel(t *testing.T) {
	const file = `version: 1
name: narrow
datacenters: [{id: lhr, servers: 2, egress: [198.51.100.0/31]}]
sites: [{id: shop, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet: [{id: web, address: 203.0.113.9, serve: [http]}]
links: {access: {rate: 20Mbit, delay: 2ms}}
traffic:
  - {id: down, from: shop.*.till, to: web, tcp: 443, request: 200B, response: 2MB}
  - {id: up, from: shop.*.till, to: web, tcp: 80, request: 2MB, response: 200B}
faults: [{id: f, at: 200ms, do: mtu, mtu: 1000, on: shop.1.wan}]
`
	r := live(t, compile(t, file), run.Options{})
	wantAll(t, r, record.OK)
	refused := int64(0)
	for _, e := range r.Events {
		if e.Kind == "drop" && e.Reason == "too_big" {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no server refused a packet that was too big: the tunnel did not get narrower")
	}
	for _, f := range r.Flows {
		if f.StallNs > 1e9 {
			t.Errorf("%s stood still for %d ms", f.Traffic, f.StallNs/1e6)
		}
	}
}

// What a killed server knew is gone, and the records say so.
func TestLiveKillTellsWhatIsLost(t *testing.T) {
	r := happens(t, "do: kill, on: lhr.1", "")
	incomplete, others := 0, 0
	for _, s := range r.Sessions {
		switch {
		case s.Incomplete == "":
			others++
		case s.HomeServer != "lhr.1" || s.EndNs != 0:
			t.Errorf("the session of %s is incomplete: %s", s.HomeServer, s.Incomplete)
		default:
			incomplete++
		}
	}
	if incomplete == 0 || others == 0 || !slices.Equal(r.Run.Metrics.Lost, []string{"lhr.1"}) {
		t.Errorf("%d sessions are incomplete and %d are not, lost is %v; want some of both, and lhr.1", incomplete, others, r.Run.Metrics.Lost)
	}
	steps := 0
	for _, e := range r.Events {
		if e.Kind == "step" && e.Fault == "f" {
			steps++
			// 1 s of detection, scaled.
			if after := e.AtNs - begun(r) - 400e6; after < 200e6 || after > 500e6 {
				t.Errorf("noticed after %d ms, want 200", after/1e6)
			}
		}
	}
	if steps != 1 {
		t.Errorf("the time line has %d steps, want one: that it was noticed", steps)
	}
}
