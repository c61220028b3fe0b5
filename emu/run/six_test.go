package run_test

import (
	"testing"

	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/emu/speaker"
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

// Prefixes of both families are announced by BGP from everywhere: replies to London's
// addresses land in Frankfurt, which the origin is near to, and while that withdraws
// the prefix in Paris; from there the network's own routes bring those of IPv6 to the
// very server, with no hand-over (SEMANTICS SU-8).
func TestLiveSixByBGP(t *testing.T) {
	p := compile(t, `version: 1
name: bgp6
timers: {bgp_hold: 3s}
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/31, "2001:db8:100::/64"]}
  - {id: cdg, servers: 1, egress: [198.51.100.2/31, "2001:db8:101::/64"]}
  - {id: fra, servers: 1, egress: [198.51.100.4/31, "2001:db8:102::/64"]}
transit:
  - {id: uk, near: lhr, providers: [carrier], customers: [lhr]}
  - {id: de, near: fra, providers: [carrier], customers: [fra], peers: [cdg]}
  - {id: carrier, near: ams}
sites:
  - {id: shop, near: uk, lan: "fd00:1::/64", hosts: {till: "fd00:1::5"}, onramps: [{id: wan, type: gre, arr: true}]}
internet:
  - {id: web, address: "2001:db8::9", near: de, serve: [http, echo]}
traffic:
  - {id: first, from: shop.*.till, to: web, udp: 7, flows: 8, connect: 1s}
  - {id: then, from: shop.*.till, to: web, udp: 7, flows: 8, start: 3s, connect: 1s}
faults:
  - {id: w, at: 1s, do: withdraw, on: fra, address: "2001:db8:100::1"}
`)
	eachSpeaker(t, func(t *testing.T, kind speaker.Kind) {
		r := live(t, p, run.Options{Speaker: kind, SpeakerArgs: []string{speakerWord}})
		wantAll(t, r, record.OK)
		for _, b := range r.Run.Metrics.Backbone {
			switch {
			case (b.From == "fra" || b.From == "cdg") && b.To == "lhr" && b.Packets != 8:
				t.Errorf("%d packets from %s to %s, want the 8 replies that landed there", b.Packets, b.From, b.To)
			case b.From == "lhr" && b.Packets > 0:
				t.Errorf("%d packets from %s to %s, want none", b.Packets, b.From, b.To)
			}
		}
		if moved := heard(r, "transit.de", "2001:db8:100::/64 goes to cdg.edge now"); moved != 1 {
			t.Errorf("the route moved %d times to Paris, want once", moved)
		}
	})
}
