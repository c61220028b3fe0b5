package loadtest

import (
	"fmt"
	"testing"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// Flood is a flood of 2,048 flows from eight sites in three countries toward one
// destination, and what one more user in each of them asks for meanwhile, where these
// datacenters announce the tunnels' address. One datacenter has as many ports toward a
// destination.
func Flood(t testing.TB, announced string) *plan.Plan {
	return Plan(t, fmt.Sprintf(`version: 1
name: flood
seed: 7
timers: {port_hold: 30s}
account: {on_exhaustion: refuse}
datacenters:
  - {id: lhr, servers: 1, egress: [198.51.100.0/32]}
  - {id: cdg, servers: 1, egress: [198.51.100.1/32]}
  - {id: fra, servers: 1, egress: [198.51.100.2/32]}
transit:
  - {id: isp_uk, near: lhr, providers: [carrier], customers: [lhr]}
  - {id: isp_fr, near: cdg, providers: [carrier], customers: [cdg]}
  - {id: isp_de, near: fra, providers: [carrier], customers: [fra]}
  - {id: carrier, near: ams}
announce: [{prefix: tunnel, from: [%s]}]
sites:
  - {id: uk, count: 4, near: isp_uk, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: fr, count: 3, near: isp_fr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: de, near: isp_de, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
internet: [{id: web, address: 203.0.113.9, near: carrier, serve: [echo]}]
traffic:
  - {id: flood, from: "*.*.till", to: web, udp: 7, flows: 256, rate: 250, request: 32B, connect: 3s, timeout: 10s}
  - {id: user, from: "*.1.till", to: web, udp: 7, flows: 8, start: 2s, request: 32B, connect: 2s, timeout: 10s}
`, announced), "base")
}
