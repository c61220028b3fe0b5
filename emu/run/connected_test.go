package run_test

import (
	"fmt"
	"testing"

	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/record"
)

// connectedLab is two datacenters, a site by GRE, one by a plain link and one by
// a VLAN, all with one prefix; private networks with one prefix in two virtual
// networks; and devices.
const connectedLab = `version: 1
name: connected
seed: 7
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/30], propagation: 500ms}
  - {id: cdg, servers: 2, egress: [198.51.100.4/30], propagation: 200ms}
account:
  vnets: [{id: frankfurt}, {id: sydney}]
sites:
  - {id: shop, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: depot, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: cni, type: interconnect, arr: true}]}
  - {id: plant, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: cni, type: interconnect, vlan: 100, arr: true}]}
connectors:
  - {id: dc1, near: lhr, lan: 10.1.0.0/16, vnet: frankfurt, hosts: {db: 10.1.2.3}}
  - {id: dc2, near: cdg, lan: 10.1.0.0/16, vnet: sydney, hosts: {db: 10.1.2.3}}
  - {id: office, near: cdg, lan: 10.2.0.0/24, source: preserve, hosts: {files: 10.2.0.5}}
  - {id: annex, near: lhr, lan: 10.3.0.0/24, hosts: {files: 10.3.0.5}}
devices:
  - {id: ada, near: lhr, vnet: frankfurt, user: ada@example.com, country: gb}
  - {id: bob, near: cdg, vnet: sydney, user: bob@example.com, switch: [{at: 1500ms, vnet: frankfurt}]}
  - {id: eve, near: cdg, count: 2}
internet:
  - {id: web, address: 203.0.113.9, near: lhr, serve: [http, echo]}
`

func flowsOf(r *record.Records, traffic string) []record.Flow {
	var all []record.Flow
	for _, f := range r.Flows {
		if f.Traffic == traffic {
			all = append(all, f)
		}
	}
	return all
}

// want wants every flow of a traffic to end in one way.
func want(t *testing.T, r *record.Records, traffic string, result record.Result) []record.Flow {
	t.Helper()
	all := flowsOf(r, traffic)
	if len(all) == 0 {
		t.Errorf("no flows of %s", traffic)
	}
	for _, f := range all {
		if f.Result != result {
			t.Errorf("%s %d of %s: %s (%s), want %s", traffic, f.N, f.Client, f.Result, f.Reason, result)
		}
	}
	return all
}

func sessionOf(t *testing.T, r *record.Records, f record.Flow) record.Session {
	t.Helper()
	for _, s := range r.Sessions {
		if s.SessionID == f.SessionID {
			return s
		}
	}
	t.Errorf("%s %d has no session (%q)", f.Traffic, f.N, f.SessionID)
	return record.Session{}
}

// Devices reach the Internet, sites on plain links and VLANs as well as those by
// GRE get their own answers (OX-3), and overlapping sites reach a private network
// behind a connector, all at once.
func TestLiveConnected(t *testing.T) {
	for _, io := range []agent.IO{agent.IOAuto, agent.IOPlain} {
		t.Run(string(io), func(t *testing.T) {
			p := compile(t, connectedLab+`
traffic:
  - {id: browse, from: "*.*.till", to: web, tcp: 443, source_port: 40000, response: 200KiB}
  - {id: device, from: "eve.*", to: web, tcp: 443, response: 200KiB}
  - {id: ping, from: "eve.*", to: web, icmp: 3}
  - {id: sping, from: "*.*.till", to: web, icmp: 3}
  - {id: echo, from: "bob.*", to: web, udp: 7}
  - {id: private, from: "*.*.till", to: annex.files, tcp: 445, source_port: 41000, response: 200KiB}
`)
			r := live(t, p, run.Options{IO: io})
			for _, traffic := range []string{"browse", "device", "ping", "sping", "echo", "private"} {
				want(t, r, traffic, record.OK)
			}
			for _, f := range flowsOf(r, "device") {
				if s := sessionOf(t, r, f); s.OnrampType != "CF1_CLIENT" || s.Offramp != "INTERNET" || s.DeviceName != f.Client {
					t.Errorf("session of %s: %+v", f.Client, s)
				}
			}
			for _, f := range flowsOf(r, "private") {
				if s := sessionOf(t, r, f); s.OnrampType != "MAGIC" || s.Offramp != "CFD_TUNNEL" || s.DestinationTunnelID[:4] == "0000" || s.OffRamp != "annex" {
					t.Errorf("session of %s: %+v", f.Client, s)
				}
			}
			t.Logf("features %v, up in %d ms", r.Run.Features, r.Run.Metrics.UpMs)
		})
	}
}

// VN-1, VN-7: one prefix in two virtual networks is two private networks: each
// device reaches that of its own, and its sessions say so.
func TestVN1TheSamePrefixInTwoVirtualNetworks(t *testing.T) {
	p := compile(t, connectedLab+`
traffic:
  - {id: frankfurt, from: ada.*, to: dc1.db, tcp: 443, response: 100KiB}
  - {id: sydney, from: bob.*, to: dc2.db, tcp: 443, response: 100KiB}
  - {id: fping, from: ada.*, to: dc1.db, icmp: 3}
  - {id: sping, from: bob.*, to: dc2.db, icmp: 3}
`)
	r := live(t, p, run.Options{})
	ids := map[string]bool{}
	for _, c := range []struct{ traffic, vnet, connector, email string }{
		{"frankfurt", "frankfurt", "dc1", "ada@example.com"}, {"sydney", "sydney", "dc2", "bob@example.com"},
		{"fping", "frankfurt", "dc1", "ada@example.com"}, {"sping", "sydney", "dc2", "bob@example.com"},
	} {
		for _, f := range want(t, r, c.traffic, record.OK) {
			s := sessionOf(t, r, f)
			if s.VNet != c.vnet || s.OffRamp != c.connector || s.Email != c.email || s.Offramp != "CFD_TUNNEL" {
				t.Errorf("%s: session in %q by %q of %q, %s; want %q by %q of %q", c.traffic, s.VNet, s.OffRamp, s.Email, s.Offramp, c.vnet, c.connector, c.email)
			}
			ids[c.vnet+" "+s.VirtualNetworkID] = true
		}
	}
	if len(ids) != 2 {
		t.Errorf("virtual networks were called %v, want one id for each", ids)
	}
}

// VN-4: a switch ends the device's connections, and what it opens then goes to
// the other virtual network; other datacenters know within their propagation.
func TestVN4ASwitchEndsConnections(t *testing.T) {
	p := compile(t, connectedLab+`
traffic:
  - {id: held, from: bob.*, to: dc2.db, tcp: 443, hold: 10s}
  - {id: before, from: bob.*, to: dc2.db, tcp: 443, start: 200ms}
  - {id: after, from: bob.*, to: dc1.db, tcp: 443, start: 1700ms}
  - {id: call, from: ada.*, to: bob.1, udp: 5060, start: 2200ms}
`)
	r := live(t, p, run.Options{})
	for _, f := range want(t, r, "held", record.Reset) {
		if at := f.EndNs - f.StartNs; at < 1.3e9 || at > 2e9 {
			t.Errorf("the held connection ended after %.1f s, want about 1.5", float64(at)/1e9)
		}
	}
	vnets := map[string]string{"held": "sydney", "before": "sydney", "after": "frankfurt"}
	for traffic, vnet := range vnets {
		for _, f := range flowsOf(r, traffic) {
			if traffic != "held" && f.Result != record.OK {
				t.Errorf("%s: %s (%s)", traffic, f.Result, f.Reason)
			}
			if s := sessionOf(t, r, f); s.VNet != vnet {
				t.Errorf("%s: session in %q, want %q", traffic, s.VNet, vnet)
			}
		}
	}
	want(t, r, "call", record.OK)
	attached := 0
	for _, e := range r.Events {
		if e.Kind == "attached" && e.OnRamp == "bob.1" {
			attached++
		}
	}
	if attached != 2 {
		t.Errorf("bob.1 was attached %d times, want twice", attached)
	}
}

// A connector that preserves sources shows hosts who asks, and its hosts can ask
// too: sites, devices and the Internet. Devices call each other (WW-1).
func TestLivePreserve(t *testing.T) {
	p := compile(t, connectedLab+`
traffic:
  - {id: files, from: "*.*.till", to: office.files, tcp: 445, response: 100KiB}
  - {id: device, from: "eve.*", to: office.files, tcp: 445, response: 100KiB}
  - {id: push, from: office.files, to: eve.2, udp: 9}
  - {id: browse, from: office.files, to: web, tcp: 443, response: 100KiB}
  - {id: call, from: eve.1, to: eve.2, udp: 5060}
  - {id: ring, from: eve.2, to: ada.1, udp: 5060}
`)
	r := live(t, p, run.Options{})
	for _, traffic := range []string{"files", "device", "push", "browse", "call", "ring"} {
		want(t, r, traffic, record.OK)
	}
	for _, f := range flowsOf(r, "browse") {
		if s := sessionOf(t, r, f); s.OnrampType != "MESH" || s.Offramp != "INTERNET" {
			t.Errorf("session of %s: %s to %s", f.Client, s.OnrampType, s.Offramp)
		}
	}
	for _, f := range flowsOf(r, "call") {
		if s := sessionOf(t, r, f); s.OnrampType != "CF1_CLIENT" || s.Offramp != "WARP" || s.OffRamp != "eve.2" {
			t.Errorf("session of %s: %s to %s %s", f.Client, s.OnrampType, s.Offramp, s.OffRamp)
		}
	}
	for _, f := range flowsOf(r, "device") {
		if s := sessionOf(t, r, f); s.Offramp != "MESH" {
			t.Errorf("session of %s goes to %s", f.Client, s.Offramp)
		}
	}
}

// OX-3: what an edge sends for two interconnects is interleaved on its sockets
// and stays separate, although the sites have one prefix, one host address and
// the same ports at the same moment.
func TestOX3InterconnectsInterleavedLive(t *testing.T) {
	p := compile(t, connectedLab+`
traffic:
  - {id: depot_tcp, from: "depot.*.till", to: web, tcp: 443, source_port: 40000, flows: 40, response: 32KiB}
  - {id: plant_tcp, from: "plant.*.till", to: web, tcp: 443, source_port: 40000, flows: 40, response: 32KiB}
  - {id: depot_echo, from: "depot.*.till", to: web, udp: 7, source_port: 50000, flows: 20}
  - {id: plant_echo, from: "plant.*.till", to: web, udp: 7, source_port: 50000, flows: 20}
`)
	r := live(t, p, run.Options{})
	seen := map[string]bool{}
	for _, traffic := range []string{"depot_tcp", "plant_tcp", "depot_echo", "plant_echo"} {
		for _, f := range want(t, r, traffic, record.OK) {
			if f.DeliveredTo != f.Client || f.ReturnOnRamp != f.OnRamp {
				t.Errorf("%s %d: delivered to %s by %s, want %s by %s", traffic, f.N, f.DeliveredTo, f.ReturnOnRamp, f.Client, f.OnRamp)
			}
			egress := fmt.Sprint(f.Proto, f.Dst, f.EgressIP, f.EgressPort)
			if seen[egress] {
				t.Errorf("%s %d left by %s port %d, as another did", traffic, f.N, f.EgressIP, f.EgressPort)
			}
			seen[egress] = true
		}
	}
	homes := map[string]bool{}
	for _, f := range r.Flows {
		homes[f.HomeServer] = true
	}
	if len(homes) != 2 {
		t.Errorf("flows were at home at %v, want both servers of lhr", homes)
	}
}

// Plain links, VLANs and connectors carry IPv6 as they do IPv4.
func TestLiveConnectedOverIPv6(t *testing.T) {
	p := compile(t, connectedLab6)
	r := live(t, p, run.Options{})
	for _, traffic := range []string{"browse", "ping", "files", "out", "annexed"} {
		want(t, r, traffic, record.OK)
	}
	for _, f := range flowsOf(r, "annexed") {
		if s := sessionOf(t, r, f); s.Offramp != "CFD_TUNNEL" || s.OffRamp != "annex" {
			t.Errorf("session of %s goes to %s %s", f.Client, s.Offramp, s.OffRamp)
		}
	}
}

const connectedLab6 = `version: 1
name: connected6
seed: 7
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/30, "2001:db8:100::/126"]}
  - {id: cdg, servers: 2, egress: [198.51.100.4/30, "2001:db8:100::4/126"]}
sites:
  - {id: depot, near: lhr, lan: "fd00:1::/64", hosts: {till: "fd00:1::5"}, onramps: [{id: cni, type: interconnect, arr: true}]}
  - {id: plant, near: lhr, lan: "fd00:1::/64", hosts: {till: "fd00:1::5"}, onramps: [{id: cni, type: interconnect, vlan: 100, arr: true}]}
connectors:
  - {id: office, near: cdg, lan: "fd00:2::/64", source: preserve, hosts: {files: "fd00:2::5"}}
  - {id: annex, near: lhr, lan: "fd00:3::/64", hosts: {files: "fd00:3::5"}}
internet:
  - {id: web, address: "2001:db8:9::9", near: lhr, serve: [http, echo]}
traffic:
  - {id: browse, from: "*.*.till", to: web, tcp: 443, source_port: 40000, response: 200KiB}
  - {id: ping, from: "*.*.till", to: web, icmp: 3}
  - {id: files, from: "depot.*.till", to: office.files, tcp: 445, response: 100KiB}
  - {id: out, from: office.files, to: web, tcp: 443, response: 100KiB}
  - {id: annexed, from: "*.*.till", to: annex.files, tcp: 445, source_port: 41000, response: 100KiB}
`
