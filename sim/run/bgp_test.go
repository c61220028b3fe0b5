package run

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const speaking = `version: 1
name: speaking
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/31]}
  - {id: cdg, servers: 2, egress: [198.51.100.2/31]}
transit:
  - {id: uk, near: lhr, providers: [carrier], customers: [lhr]}
  - {id: fr, near: cdg, providers: [carrier], customers: [cdg]}
  - {id: carrier, near: ams}
timers: {bgp_hold: 6s}
links: {transit: {delay: 20ms}, edge: {delay: 10ms}}
sites:
  - {id: shop, near: uk, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
internet: [{id: web, address: 203.0.113.9, near: carrier, serve: [http, echo]}]
traffic:
  - {id: tick, from: shop.1.till, to: web, udp: 7, packets: 300, interval: 100ms, connect: 1s, timeout: 60s}
`

// told are the moments, in ms after the fault, at which a router's route to the
// tunnels' address changed, and by whom it goes then.
func told(r *record.Records, node string) []string {
	var all []string
	at := int64(0)
	for _, e := range r.Events {
		if e.Kind == "fault" {
			at = e.AtNs
		}
		if e.Kind == "route" && e.Node == node && strings.HasPrefix(e.Text, "198.18.0.1/32") {
			all = append(all, fmt.Sprintf("%d %s", (e.AtNs-at)/int64(time.Millisecond), strings.TrimPrefix(e.Peer, "transit.")))
		}
	}
	return all
}

func TestRouting(t *testing.T) {
	tests := map[string]struct {
		fault      string
		uk, beyond string // what London's AS and the carrier learned
	}{
		// A withdrawal takes a link's delay to the AS, and one more to the carrier,
		// which has another path; its word is what London's AS has then.
		"withdraw": {"do: withdraw, on: lhr, address: tunnel", "[10  50 carrier]", "[30 fr]"},
		"back":     {"do: withdraw, on: lhr, address: tunnel, for: 1s", "[10  50 carrier 1010 lhr.edge]", "[30 fr 1030 uk]"},
		// A silent line is noticed when the hold time is over, after the last
		// keepalive, which was sent right before.
		"cut": {"do: cut, on: lhr", "[6000  6040 carrier]", "[6020 fr]"},
		// Who hears nothing says so, and the other, which heard all, ends too.
		"half":   {"do: blackhole, direction: up, on: lhr", "[6000  6040 carrier]", "[6020 fr]"},
		"brief":  {"do: cut, on: lhr, for: 5s", "[]", "[]"},
		"mended": {"do: cut, on: lhr, for: 8s", "[6000  6040 carrier 9010 lhr.edge]", "[6020 fr 9030 uk]"},
		// One of two servers is no reason to go away.
		"one server": {"do: kill, on: lhr.1", "[]", "[]"},
		"reset":      {"do: restart, on: transit.uk, for: 7s", "[6000  8010 lhr.edge]", "[6000 fr 8030 uk]"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := loadtest.Plan(t, speaking+"faults: [{id: f, at: 2s, "+tt.fault+"}]\n", spec.Base)
			r := run(t, p, Options{})
			if got := fmt.Sprint(told(r, "transit.uk")); got != tt.uk {
				t.Errorf("London's AS learned %s, want %s", got, tt.uk)
			}
			if got := fmt.Sprint(told(r, "transit.carrier")); got != tt.beyond {
				t.Errorf("the carrier learned %s, want %s", got, tt.beyond)
			}
			if !slices.ContainsFunc(r.Sessions, func(s record.Session) bool { return s.OnRamp == "shop.1.wan" }) {
				t.Error("no session at all")
			}
		})
	}
}

// TestRT15RelayPartition: a route that was withdrawn keeps forwarding in a
// datacenter that has lost the relay, until it has it again; a tunnel that its own
// probes find down is avoided all the while.
func TestRT15RelayPartition(t *testing.T) {
	doc, err := topologies.Load("relay_lost")
	if err != nil {
		t.Fatal(err)
	}
	for variant, want := range map[string]map[string]int{
		"base":  {"before": 3, "frozen": 3, "thawed": 0, "told_again": 3, "by_first": 3, "by_second": 3},
		"heard": {"before": 3, "frozen": 0, "thawed": 0, "told_again": 3, "by_first": 3, "by_second": 3},
	} {
		s, err := doc.Resolve(variant, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := plan.CompileVariant(s, variant)
		if err != nil {
			t.Fatal(err)
		}
		r := run(t, p, Options{})
		for traffic, n := range want {
			if got := ok(r, traffic, "shop.1"); got != n {
				t.Errorf("%s: %d flows of %s are ok, want %d", variant, got, traffic, n)
			}
		}
	}
}
