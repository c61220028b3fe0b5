package run

import (
	"fmt"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// endless is a transfer each way through a site's tunnel, hand-over and hub, over a
// link that is narrow and loses packets.
const endless = `version: 1
name: endless
datacenters:
  - {id: lhr, servers: 3, egress: [198.51.100.0/30]}
sites:
  - {id: shop, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5, scales: 10.0.1.6}, onramps: [{id: wan, type: gre, arr: true}]}
internet:
  - {id: web, address: 203.0.113.9, serve: [http]}
links:
  access: {delay: 10ms, rate: 100Mbit, loss: %s, queue: 100kB}
traffic:
  - {id: down, from: shop.*.till, to: web, tcp: 443, request: 200B, response: 100GB, timeout: 1h}
  - {id: up, from: shop.*.scales, to: web, tcp: 443, request: 100GB, response: 200B, timeout: 1h}
checks:
  - {id: none, expect: down.flows == 1}
`

// A transfer that has found its pace takes no memory for a segment: neither at its
// ends, which keep what is lost and what came out of order, nor in nodes, wires and
// hubs on its way.
func TestSteadyTransfersTakeNoMemory(t *testing.T) {
	for _, loss := range []string{"0%", "1%", "5%"} {
		x, base, err := Open(loadtest.Plan(t, fmt.Sprintf(endless, loss), "base"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		at := base + vt.Instant(20*time.Second)
		if err := x.Run(at); err != nil {
			t.Fatal(err)
		}
		before := x.Events()
		const rounds = 10
		n := testing.AllocsPerRun(rounds, func() {
			at += vt.Instant(time.Second)
			if err := x.Run(at); err != nil {
				t.Fatal(err)
			}
		})
		if events := (x.Events() - before) / (rounds + 1); n > 0 || events < 1000 {
			t.Errorf("loss %s: %v allocations in a second of %d events, want none in thousands", loss, n, events)
		}
		if x.Left() != 2 {
			t.Errorf("loss %s: %d transfers go on, want 2", loss, x.Left())
		}
	}
}
