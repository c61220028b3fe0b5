package run_test

import (
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// egressLab is Osaka, where users are, by tunnel and as devices, and Tokyo, where
// the account has an address to itself; the network serves orange everywhere.
const egressLab = `version: 1
name: egress
seed: 7
datacenters:
  - {id: kix, servers: 2, egress: [{prefix: 198.51.100.0/31, country: JP}]}
  - {id: nrt, servers: 2, egress: [{prefix: 198.51.100.2/31, country: JP}, {prefix: 198.51.100.4/32, country: MX}]}
account: {dedicated: [{ipv4: 192.0.2.33, datacenter: nrt}]}
sites:
  - {id: shop, near: kix, count: 2, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
devices:
  - {id: ada, near: kix}
  - {id: mex, near: kix, country: MX}
internet:
  - {id: grey, address: 203.0.113.9, near: kix, serve: [http, echo]}
  - {id: orange, address: 203.0.113.80, proxied: true, serve: [http, echo]}
  - {id: partner, address: 203.0.113.40, near: nrt, serve: [http, echo], allow: [192.0.2.33]}
`

// TestLiveEG1, EG-2, EG-9 and EG-11 with real packets: two sites that send the
// very same ones leave from Tokyo with ports of its servers, replies that land in
// Osaka come home, superpackets among them; what the network serves itself is
// reached in Osaka with the same address, and a ping has no dedicated one.
func TestLiveEG1(t *testing.T) {
	p := compile(t, egressLab+`traffic:
  - {id: far, from: shop.*.till, to: grey, tcp: 443, source_port: 40000, response: 1MiB, connect: 5s, timeout: 20s}
  - {id: device, from: ada.1, to: grey, tcp: 443, flows: 5, response: 256KiB, connect: 5s, timeout: 20s}
  - {id: quic, from: ada.1, to: grey, udp: 7844, packets: 3, connect: 5s, timeout: 20s}
  - {id: big, from: shop.1.till, to: grey, udp: 7001, request: 4000B, connect: 5s, timeout: 20s}
  - {id: here, from: shop.*.till, to: orange, tcp: 443, source_port: 40001, response: 1MiB, connect: 5s, timeout: 20s}
  - {id: ping, from: shop.*.till, to: grey, icmp: 7, connect: 5s, timeout: 20s}
  - {id: listed, from: ada.1, to: partner, tcp: 443, connect: 5s, timeout: 20s}
`)
	r := live(t, p, run.Options{})
	for traffic, from := range map[string]string{"far": "nrt", "device": "nrt", "quic": "nrt", "big": "nrt", "here": "kix", "ping": "kix", "listed": "nrt"} {
		for _, f := range want(t, r, traffic, record.OK) {
			own := f.EgressIP == "192.0.2.33"
			if f.EgressDC != from || f.IngressDC != "kix" || own == (traffic == "ping") || own != (f.EgressAccount != "") {
				t.Errorf("%s %d left from %s as %s of %q, want %s", traffic, f.N, f.EgressDC, f.EgressIP, f.EgressAccount, from)
			}
			if s := sessionOf(t, r, f); s.EgressServer != f.EgressServer || s.HomeServer == "" || s.EgressPort == 0 && traffic != "ping" {
				t.Errorf("%s %d has the record %+v", traffic, f.N, s)
			}
		}
	}
	for _, s := range r.Sessions {
		if s.EndNs < s.StartNs {
			t.Errorf("session %s ends before it starts", s.SessionID)
		}
	}
}

// TestLiveEG10: a user of Mexico leaves by Mexico's address, which is in Tokyo.
func TestLiveEG10(t *testing.T) {
	shared := strings.NewReplacer("account: {dedicated: [{ipv4: 192.0.2.33, datacenter: nrt}]}\n", "", ", allow: [192.0.2.33]", "").Replace(egressLab)
	p := compile(t, shared+`traffic:
  - {id: mexican, from: mex.1, to: grey, tcp: 443, flows: 5, connect: 5s, timeout: 20s}
`)
	for _, f := range want(t, live(t, p, run.Options{}), "mexican", record.OK) {
		if f.EgressCountry != "MX" || f.EgressDC != "nrt" {
			t.Errorf("flow %d left from %s as %s of %s", f.N, f.EgressDC, f.EgressIP, f.EgressCountry)
		}
	}
}

// TestLiveEG8: of two addresses at equal distance each has about half of the users, and
// each user has always the same.
func TestLiveEG8(t *testing.T) {
	lab := strings.NewReplacer(
		"{ipv4: 192.0.2.33, datacenter: nrt}", "{ipv4: 192.0.2.33, datacenter: nrt}, {ipv4: 192.0.2.34, datacenter: nrt}",
		"{id: ada, near: kix}", "{id: ada, near: kix, count: 16}",
	).Replace(egressLab)
	p := compile(t, lab+`traffic:
  - {id: ask, from: ada.*, to: grey, tcp: 443, flows: 4, connect: 5s, timeout: 20s}
`)
	has, users := map[string]string{}, map[string]int{}
	for _, f := range want(t, live(t, p, run.Options{}), "ask", record.OK) {
		switch was := has[f.Client]; was {
		case "":
			has[f.Client] = f.EgressIP
			users[f.EgressIP]++
		case f.EgressIP:
		default:
			t.Errorf("%s left as %s, and then as %s", f.Client, was, f.EgressIP)
		}
	}
	if a, b := users["192.0.2.33"], users["192.0.2.34"]; a+b != 16 || min(a, b) < 2 { // 3 standard deviations
		t.Errorf("%v users by address, want 16 of the account's two, and about half each", users)
	}
}

// TestLiveEG7: a server refuses what is beyond its slice of an account's address
// toward one destination, and still serves another.
func TestLiveEG7(t *testing.T) {
	need.BPF(t)
	const text = `version: 1
name: live
seed: 7
account:
  on_exhaustion: refuse
  dedicated: [{ipv4: 192.0.2.33, datacenter: lhr}]
datacenters: [{id: lhr, servers: 1, egress: [198.51.100.0/32]}]
sites: [{id: shop, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [echo]}]
traffic:
  - {id: fill, from: shop.1.till, to: web, udp: 7, flows: 2048, rate: 1500, connect: 4s}
  - {id: more, from: shop.1.till, to: web, udp: 7, flows: 5, start: 6s, connect: 1s}
  - {id: other, from: shop.1.till, to: web, udp: 8, flows: 40, start: 6s, packets: 3, connect: 4s}
`
	for _, dataplane := range []run.Dataplane{run.Hub, run.EBPF} {
		t.Run(string(dataplane), func(t *testing.T) {
			r := live(t, compile(t, text), run.Options{Dataplane: dataplane})
			for _, f := range r.Flows {
				switch {
				case f.Traffic == "more" && (f.Result == record.OK || f.Reason != "EGRESS_PORT_ALLOCATION_ERROR"):
					t.Errorf("%s#%d beyond the slice: %s (%s)", f.Traffic, f.N, f.Result, f.Reason)
				case f.Traffic != "more" && (f.Result != record.OK || f.EgressIP != "192.0.2.33"):
					t.Errorf("%s#%d: %s (%s) from %s, want the account's address", f.Traffic, f.N, f.Result, f.Reason, f.EgressIP)
				}
			}
		})
	}
}

// TestLiveEG7Address: 31 servers share an account's address, whose 40,000 flows toward
// one destination are the bound that is met first. Whatever a server hears of the others
// it hears 200 ms late here, and of 40,200 flows not one more is served; the others are
// refused, and another destination is served (SEMANTICS EG-7). Those around the bound
// come slowly: a flow is handed on to a server that had room when it last told. Each has
// long to be answered in, and no server traces its packets: what a slow machine takes
// for 40,000 flows is no verdict on the bound.
func TestLiveEG7Address(t *testing.T) {
	need.BPF(t)
	late := strings.Replace(loadtest.Bound, "servers: 31,", "servers: 31, propagation: 200ms,", 1)
	p := compile(t, late+`  - {id: many, from: shop.*.till, to: web, udp: 7, flows: 19000, rate: 1250, request: 32B, connect: 20s, timeout: 30s}
  - {id: last, from: shop.*.till, to: web, udp: 7, flows: 1100, rate: 110, start: 18s, request: 32B, connect: 6s, timeout: 15s}
  - {id: after, from: shop.*.till, to: other, udp: 7, flows: 20, start: 30s, connect: 6s, timeout: 15s}
`)
	for i := range p.Servers {
		p.Servers[i].Config.Trace = false
	}
	count := func(r *record.Records) (ok map[string]int, ports map[int]bool, other []record.Flow) {
		ok, ports = map[string]int{}, map[int]bool{}
		for _, f := range r.Flows {
			switch {
			case f.Result == record.OK && f.EgressIP == "192.0.2.33":
				ok[f.Traffic]++
				ports[f.EgressPort>>11] = true
			case f.Traffic != "last" || f.Reason != "EGRESS_PORT_ALLOCATION_ERROR":
				other = append(other, f)
			}
		}
		return ok, ports, other
	}
	const bound = 40_000
	r := again(t, p, run.Options{Dataplane: run.EBPF}, func(r *record.Records) bool {
		ok, _, other := count(r)
		n := ok["many"] + ok["last"]
		return n < bound || n == bound && len(other) > 0 // one more is never the machine's
	})
	invariants(t, p, r)
	ok, ports, other := count(r)
	if len(other) > 0 {
		f := other[0]
		t.Errorf("%d flows are neither served nor refused by the bound, the first %s %d: %s (%s) as %s", len(other), f.Traffic, f.N, f.Result, f.Reason, f.EgressIP)
	}
	t.Logf("%v are served at once, in %d slices", ok, len(ports))
	if ok["many"]+ok["last"] != bound || ok["after"] != 40 || len(ports) != 31 {
		t.Errorf("%v are served in %d slices, want %d to one destination, and 40 to the other, in 31", ok, len(ports), bound)
	}
}

// TestLiveNarrowBackbone: the way between the datacenter where a user is and the one
// that the flow leaves from gets narrower in the middle of transfers both ways, and
// both go on (SEMANTICS 2.10). Neither dataplane carries such a flow without its hub.
func TestLiveNarrowBackbone(t *testing.T) {
	p := compile(t, egressLab+`traffic:
  - {id: down, from: shop.1.till, to: grey, tcp: 443, flows: 2, response: 4MiB, connect: 5s, timeout: 20s}
  - {id: up, from: shop.2.till, to: grey, tcp: 80, flows: 2, request: 4MiB, connect: 5s, timeout: 20s}
faults: [{id: f, at: 300ms, do: mtu, mtu: 1300, on: kix.edge-nrt.edge}]
links: {access: {rate: 20Mbit, delay: 2ms}}
`)
	for _, dataplane := range []run.Dataplane{run.Hub, run.EBPF} {
		t.Run(string(dataplane), func(t *testing.T) {
			if dataplane == run.EBPF {
				need.BPF(t)
			}
			r := live(t, p, run.Options{Dataplane: dataplane})
			wantAll(t, r, record.OK)
			refused := 0
			for _, e := range r.Events {
				if e.Kind == "drop" && e.Reason == "too_big" {
					refused++
				}
			}
			if refused == 0 {
				t.Error("no server refused a packet that was too big: the way did not get narrower")
			}
			for _, f := range r.Flows {
				if f.EgressDC != "nrt" {
					t.Errorf("%s %d left from %s, want nrt", f.Traffic, f.N, f.EgressDC)
				}
			}
		})
	}
}
