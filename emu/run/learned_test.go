package run_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/emu/speaker"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// learned are two pairs of branches that share a prefix, whose routers tell it by
// BGP through their own tunnels; %s are routes written by hand and faults.
const learned = `version: 1
name: learned
timers: {bgp_hold: 30s}
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/32]}
  - {id: nrt, servers: 1, egress: [198.51.100.1/32]}
sites:
  - {id: shop, near: lhr, lan: 10.1.0.0/24, hosts: {till: 10.1.0.5}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: kiosk, near: nrt, lan: 10.2.0.0/24, hosts: {till: 10.2.0.5}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: north, near: lhr, lan: 10.8.0.0/24, hosts: {db: 10.8.0.5}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: south, near: lhr, lan: 10.8.0.0/24, hosts: {db: 10.8.0.6}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: west, near: nrt, lan: 10.9.0.0/24, hosts: {db: 10.9.0.5}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: east, near: lhr, asn: 4200000001, lan: 10.9.0.0/24, hosts: {db: 10.9.0.6}, onramps: [{id: wan, type: gre, arr: true}]}
traffic:
  - {id: to_north, from: "*.1.till", to: north.1.db, udp: 7, flows: 3, start: 2s, connect: 1s}
  - {id: to_south, from: "*.1.till", to: south.1.db, udp: 7, flows: 3, start: 2s, connect: 1s}
  - {id: to_west, from: "*.1.till", to: west.1.db, udp: 7, flows: 3, start: 2s, connect: 1s}
  - {id: to_east, from: "*.1.till", to: east.1.db, udp: 7, flows: 3, start: 2s, connect: 1s}
routes:
  - {prefix: 10.1.0.0/24, via: shop.1.wan}
  - {prefix: 10.2.0.0/24, via: kiosk.1.wan}
  - {prefix: 10.8.0.0/24, via: south.1.wan, source: bgp}
  - {prefix: 10.9.0.0/24, via: west.1.wan, source: bgp, communities: ["13335:60200", "13335:60050"]}
  - {prefix: 10.9.0.0/24, via: east.1.wan, source: bgp, communities: ["13335:60150"], prepend: 2}
`

// reached are the clients whose flows of a traffic arrived and were answered.
func reached(r *record.Records, traffic string) string {
	var all []string
	for _, f := range r.Flows {
		if f.Traffic == traffic && f.Result == record.OK && !slices.Contains(all, f.Client) {
			all = append(all, f.Client)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// heard counts the events of a node whose text is this.
func heard(r *record.Records, node, text string) int {
	n := 0
	for _, e := range r.Events {
		if e.Node == node && e.Text == text {
			n++
		}
	}
	return n
}

// toldBy runs a lab of learned, whose routers' speakers are of a kind.
func toldBy(t *testing.T, kind speaker.Kind, rest string) *record.Records {
	t.Helper()
	if kind == speaker.BIRD {
		need.Tool(t, "bird")
	}
	return live(t, compile(t, learned+rest), run.Options{Speaker: kind, SpeakerArgs: []string{speakerWord}})
}

// eachSpeaker tries GoBGP and the BIRD of the machine as customers' routers.
func eachSpeaker(t *testing.T, test func(t *testing.T, kind speaker.Kind)) {
	for _, kind := range speaker.Kinds() {
		t.Run(string(kind), func(t *testing.T) { test(t, kind) })
	}
}

const both = "kiosk.1.till shop.1.till"

// TestLiveRT3: of a written and a learned route of one prefix the written one is
// used at the same priority, the learned one if the other's is one more.
func TestLiveRT3(t *testing.T) {
	eachSpeaker(t, func(t *testing.T, kind speaker.Kind) {
		for priority, want := range map[int][2]string{100: {both, ""}, 101: {"", both}} {
			r := toldBy(t, kind, fmt.Sprintf("  - {prefix: 10.8.0.0/24, via: north.1.wan, priority: %d}\n", priority))
			if got := [2]string{reached(r, "to_north"), reached(r, "to_south")}; got != want {
				t.Errorf("priority %d: north is reached by %q, south by %q, want %q", priority, got[0], got[1], want)
			}
		}
	})
}

// TestLiveRT7: a route of Western Europe is not there for who enters in Tokyo, whose
// packets are dropped; what is learned is there for both.
func TestLiveRT7(t *testing.T) {
	r := toldBy(t, speaker.GoBGP, "  - {prefix: 10.8.0.5/32, via: north.1.wan, regions: [WEUR]}\n  - {prefix: 10.8.0.5/32, via: north.1.wan, regions: [OC]}\n")
	if got := reached(r, "to_north"); got != "shop.1.till" {
		t.Errorf("north is reached by %q, want by the shop alone", got)
	}
	if got := reached(r, "to_south") + " " + reached(r, "to_west"); got != both+" "+both {
		t.Errorf("south and west are reached by %q, want by both", got)
	}
}

// TestLiveRT13: the lower of two base communities counts, and each extra time that
// its own number is in the path costs a route 10: what the datacenter's end of the
// session hears comes to 170, which is after 160 and before 171.
func TestLiveRT13(t *testing.T) {
	const again = "faults:\n" +
		"  - {id: west_ends, at: 200ms, do: withdraw, on: west.1.wan, address: 10.9.0.0/24}\n" +
		"  - {id: east_again, at: 200ms, do: withdraw, on: east.1.wan, address: 10.9.0.0/24, for: 300ms}\n"
	eachSpeaker(t, func(t *testing.T, kind speaker.Kind) {
		for priority, want := range map[int]string{160: "", 171: both} {
			r := toldBy(t, kind, fmt.Sprintf("  - {prefix: 10.9.0.0/24, priority: %d}\n", priority)+again)
			if got := reached(r, "to_east"); got != want || reached(r, "to_west") != "" {
				t.Errorf("null route of %d: east is reached by %q, want %q, west by %q", priority, got, want, reached(r, "to_west"))
			}
			if n := heard(r, "lhr", "10.9.0.0/24 is told by east.1.wan, with priority 170"); n != 1 {
				t.Errorf("priority 170 was heard %d times, want once", n)
			}
			if n := heard(r, "nrt", "10.9.0.0/24 is told no more by west.1.wan"); n != 1 {
				t.Errorf("that west takes its route back was heard %d times, want once", n)
			}
		}
		r := toldBy(t, kind, "  - {prefix: 10.9.0.0/24, priority: 51}\n")
		if got := reached(r, "to_west"); got != both {
			t.Errorf("west, of 60200 and 60050, is reached by %q before a null route of 51, want by both", got)
		}
	})
}

// TestLiveRT15: what a router takes back keeps being forwarded in a datacenter that
// has lost the relay, which still avoids a tunnel that its own probes find down.
func TestLiveRT15(t *testing.T) {
	p := loadtest.Shipped(t, "relay_lost", "base")
	r := live(t, p, run.Options{Speaker: speaker.GoBGP, SpeakerArgs: []string{speakerWord}})
	for traffic, result := range map[string]record.Result{
		"before": record.OK, "frozen": record.OK, "thawed": record.Lost, "told_again": record.OK, "by_first": record.OK, "by_second": record.OK,
	} {
		want(t, r, traffic, result)
	}
	if heard(r, "lhr", "10.8.0.0/24 is told no more by depot.1.wan") != 1 || heard(r, "lhr", "10.8.0.0/24 is told by depot.1.wan, with priority 100") != 1 {
		t.Errorf("London's session did not hear of the route that was taken back, and told again")
	}
}
