package run_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/record"
)

// ARR-11 and ARR-12, live: seven sites with one tuple, six of which lose their
// primary line in the middle of a transfer. Each flow keeps its session and its
// egress port, also where the two lines enter by different servers, and that of
// the seventh site never moves.
func TestLiveARR11(t *testing.T) {
	const file = `version: 1
name: failover
timers: {scale: 0.5}
datacenters: [{id: lhr, servers: 3, egress: [198.51.100.0/31]}]
sites:
  - id: shop
    count: 7
    lan: 10.0.1.0/24
    hosts: {till: 10.0.1.5}
    onramps: [{id: wan, type: gre, arr: true}, {id: backup, type: gre, arr: true}]
    group: {primary: wan, backups: [backup]}
    cpe: {select: primary-backup}
internet: [{id: web, address: 203.0.113.9, serve: [http, echo]}]
links: {access: {rate: 20Mbit, delay: 2ms, queue: 60kB}}
traffic:
  - {id: bulk, from: shop.*.till, to: web, tcp: 443, source_port: 40000, request: 200B, response: 4MB}
  - {id: before, from: shop.*.till, to: web, udp: 7}
  - {id: later, from: shop.*.till, to: web, udp: 7, start: 2s, source_port: 41000}
faults: [{id: f, at: 400ms, do: cut, on: shop.*.wan, pick: 6}]
`
	p := compile(t, file)
	r := live(t, p, run.Options{})
	wantAll(t, r, record.OK)
	cut := map[string]bool{}
	for _, id := range p.Faults[0].Links {
		site, _, _ := strings.Cut(id, ".router")
		cut[site] = true
	}
	moved, over := map[string]bool{}, false
	for _, e := range r.Events {
		over = over || e.Text == "traffic ends"
		if over && e.Kind == "chosen" {
			t.Errorf("when the servers ended, %s: %s", e.Node, e.Text)
		}
		if e.Kind == "moved" {
			site := strings.TrimSuffix(e.OnRamp, ".backup")
			moved[site] = true
			if !cut[site] {
				t.Errorf("a flow moved to %s, whose lines are whole", e.OnRamp)
			}
		}
	}
	if len(moved) != 6 {
		t.Errorf("flows of %v moved, want those of the six sites that were cut", moved)
	}
	sessions := map[string]int{}
	for _, s := range r.Sessions {
		if s.SourcePort == 40000 {
			sessions[s.OnRamp]++
		}
	}
	if len(sessions) != 7 || slices.ContainsFunc(r.Sessions, func(s record.Session) bool { return sessions[s.OnRamp] > 1 }) {
		t.Errorf("transfers have sessions %v, want one of each site, by its primary", sessions)
	}
	if ways := differentWays(r); len(ways) == 0 {
		t.Error("no site's lines entered by different servers: the test says nothing of that")
	} else {
		t.Logf("primary and backup of %v entered by different servers", ways)
	}
}

// differentWays are the cut sites whose datagrams entered by one server before
// the cut and by another later.
func differentWays(r *record.Records) []string {
	entered := func(f record.Flow) string {
		for _, e := range r.Events {
			if e.Kind == "handover" && strings.HasPrefix(e.OnRamp, strings.TrimSuffix(f.Client, "till")) && strings.HasPrefix(e.Flow, "udp "+f.Src) {
				return e.Node
			}
		}
		return f.HomeServer
	}
	by := map[string]string{}
	var all []string
	for _, name := range []string{"before", "later"} {
		for _, f := range r.Flows {
			if f.Traffic != name {
				continue
			}
			if old := by[f.Client]; old != "" && old != entered(f) {
				all = append(all, f.Client)
			}
			by[f.Client] = entered(f)
		}
	}
	return all
}
