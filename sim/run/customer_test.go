package run

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/topologies/load/loadtest"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const telling = `version: 1
name: telling
timers: {bgp_hold: 6s}
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/32]}
  - {id: cdg, servers: 1, egress: [198.51.100.1/32], propagation: 100ms}
sites:
  - {id: shop, near: lhr, lan: 10.1.0.0/24, hosts: {till: 10.1.0.5}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: depot, near: lhr, lan: 10.8.0.0/24, hosts: {db: 10.8.0.5}, onramps: [{id: wan, type: gre, arr: true}]}
routes:
  - {prefix: 10.1.0.0/24, via: shop.1.wan}
  - {prefix: 10.8.0.0/24, via: depot.1.wan, source: bgp}
traffic:
  - {id: tick, from: shop.1.till, to: depot.1.db, udp: 7, packets: 200, interval: 100ms, connect: 1s, timeout: 60s}
`

// TestCustomersSessions: what breaks the way of a customer's session ends it, and
// with it what was told by it: by silence after the hold time, by another
// datacenter's reset at once, for that knows of no session and has a new one then.
func TestCustomersSessions(t *testing.T) {
	const told, untold = "is told by depot.1.wan, with priority 100", "is told no more by depot.1.wan"
	tests := map[string]struct {
		fault string
		want  string // times in whole seconds after the fault, by whom and what
	}{
		// The last keepalive, of one every 2 s, was before the fault.
		"the line is cut": {"do: cut, on: depot.1.wan, for: 8s", "4000 router down, 4000 lhr down, 4000 lhr gone, 8000 lhr up, 8000 router up, 8000 lhr told"},
		"briefly":         {"do: cut, on: depot.1.wan, for: 2s", ""},
		"one way":         {"do: blackhole, direction: up, on: depot.1.wan, for: 20s", "4000 lhr down, 4000 lhr gone, 4000 router down"},
		"taken back":      {"do: withdraw, on: depot.1.wan, address: 10.8.0.0/24, for: 1s", "0 lhr gone, 1000 lhr told"},
		// The tunnel lands in Paris, which has no such session; London's goes when its hold time is over.
		"moved":              {"do: withdraw, on: lhr, address: tunnel, for: 20s", "0 router down, 2000 cdg up, 2000 router up, 2000 cdg told, 4000 lhr down, 4000 lhr gone"},
		"one server is gone": {"do: kill, on: lhr.1, for: 20s", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := loadtest.Plan(t, telling+"faults: [{id: f, at: 2s, "+tt.fault+"}]\n", spec.Base)
			r := run(t, p, Options{})
			var got []string
			at := int64(0)
			for _, e := range r.Events {
				who, _, _ := strings.Cut(strings.TrimPrefix(e.Node, "depot.1."), ".")
				what := ""
				switch {
				case e.Kind == "fault":
					at = e.AtNs
				case e.Kind == "session" && strings.Contains(e.Text, "is up"):
					what = "up"
				case e.Kind == "session":
					what = "down"
				case e.Kind == "route" && strings.HasSuffix(e.Text, untold):
					what = "gone"
				case e.Kind == "route" && strings.HasSuffix(e.Text, told):
					what = "told"
				}
				if what != "" { // a message takes some 10 ms
					got = append(got, fmt.Sprintf("%d %s %s", (e.AtNs-at)/int64(time.Second)*1000, who, what))
				}
			}
			if all := strings.Join(got, ", "); all != tt.want {
				t.Errorf("got  %s\nwant %s", all, tt.want)
			}
		})
	}
}
