package run_test

import (
	"testing"

	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
)

// Every way into the network carries IPv6: sites with one unique local prefix
// by GRE, by a plain link and by a VLAN, and one of IPv4 beside them, send the
// same packets at the same moment, to the Internet and to a private network of
// IPv6 that translates sources; each gets its own replies.
func TestLiveSixByEveryOnRamp(t *testing.T) {
	p := compile(t, `version: 1
name: live6
seed: 11
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/31, "2001:db8:100::/64"]}
  - {id: cdg, servers: 2, egress: [198.51.100.2/31, "2001:db8:101::/64"]}
sites:
  - {id: plain, near: lhr, lan: "fd00:1::/64", hosts: {desk: "fd00:1::5"}, onramps: [{id: wan, type: interconnect, arr: true}]}
  - {id: tagged, near: cdg, lan: "fd00:1::/64", hosts: {desk: "fd00:1::5"}, onramps: [{id: wan, type: interconnect, arr: true, vlan: 7}]}
  - {id: gre, near: cdg, lan: "fd00:1::/64", hosts: {desk: "fd00:1::5"}, onramps: [{id: wan, type: gre, arr: true, key: 9}]}
  - {id: four, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
connectors: [{id: dc, near: lhr, lan: "fd00:9::/64", hosts: {db: "fd00:9::5"}, source: translate}]
internet:
  - {id: web, address: "2001:db8::9", near: lhr, serve: [http, echo]}
  - {id: web4, address: 203.0.113.9, near: lhr, serve: [http, echo]}
traffic:
  - {id: same, from: "*.*.desk", to: web, tcp: 443, source_port: 40000, response: 256KiB}
  - {id: ping, from: "*.*.desk", to: web, icmp: 7, packets: 3, interval: 20ms}
  - {id: big, from: "*.*.desk", to: web, udp: 7, source_port: 40002, request: 4000B, packets: 3, interval: 20ms}
  - {id: private, from: "*.*.desk", to: dc.db, tcp: 443, source_port: 40000, response: 256KiB}
  - {id: old, from: four.*.till, to: web4, tcp: 443, source_port: 40000, response: 256KiB}
`)
	for _, io := range []agent.IO{agent.IOVnet, agent.IOPlain} {
		t.Run(string(io), func(t *testing.T) {
			if io == agent.IOVnet {
				need.BPF(t)
			}
			r := live(t, p, run.Options{IO: io})
			wantAll(t, r, record.OK)
			for _, f := range r.Flows {
				if f.OnRamp != f.ReturnOnRamp {
					t.Errorf("%s of %s: came by %s, replies went to %s", f.Traffic, f.Client, f.OnRamp, f.ReturnOnRamp)
				}
			}
		})
	}
}
