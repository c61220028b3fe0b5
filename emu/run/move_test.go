package run_test

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// TestLiveSU7: an address that moves with drain breaks no connection, one that moves
// without breaks its own and no other. SU-3 holds meanwhile, and is proved from the
// capture of the whole lab.
func TestLiveSU7(t *testing.T) {
	const moved = "198.51.100.1"
	for _, variant := range []string{"base", "no_drain"} {
		t.Run(variant, func(t *testing.T) {
			p := loadtest.Shipped(t, "address_move", variant)
			file := filepath.Join(t.TempDir(), "capture.pcapng")
			broken := 0
			r := played(t, p, run.Options{Capture: file})
			if m := r.Run.Metrics; m.PortOutsideSlice != 0 || m.PortsSeen == 0 {
				t.Errorf("the taps saw %d of %d packets leave by ports of others", m.PortOutsideSlice, m.PortsSeen)
			}
			for _, f := range r.Flows {
				if f.Result == record.OK {
					continue
				}
				if broken++; f.EgressIP != moved {
					t.Errorf("%s %d from %s: %s (%s)", f.Traffic, f.N, f.EgressIP, f.Result, f.Reason)
				}
			}
			if drains := variant == "base"; drains != (broken == 0) {
				t.Errorf("%d connections broke", broken)
			}
			leaveByOwn(t, p, file, dealt(t, p, netip.MustParseAddr(moved), "cdg"))
		})
	}
}

// TestLiveSU6: the end of one server breaks its own flows and no other's, and what
// begins then is served by the rest. SU-3 holds meanwhile, by the capture.
func TestLiveSU6(t *testing.T) {
	p := compile(t, `version: 1
name: ends
account: {orphan: reset}
datacenters: [{id: lhr, servers: 2, egress: [198.51.100.0/32]}]
sites: [{id: shop, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [http]}]
links: {shop.1.wan: {delay: 100ms}}
traffic:
  - {id: long, from: shop.1.till, to: web, tcp: 80, flows: 20, response: 1MiB, connect: 2s, timeout: 8s}
  - {id: after, from: shop.1.till, to: web, tcp: 80, flows: 20, start: 4s, connect: 2s, timeout: 8s}
faults: [{id: f, at: 1s, do: kill, on: lhr.1}]
`)
	file := filepath.Join(t.TempDir(), "capture.pcapng")
	of := map[string]int{}
	for _, f := range played(t, p, run.Options{Capture: file}).Flows {
		if f.Traffic == "long" {
			of[f.EgressServer]++
		}
		if broken := f.Traffic == "long" && f.EgressServer == "lhr.1"; broken != (f.Result != record.OK) {
			t.Errorf("%s %d of %s: %s (%s)", f.Traffic, f.N, f.EgressServer, f.Result, f.Reason)
		}
	}
	if of["lhr.1"] == 0 || of["lhr.2"] == 0 {
		t.Errorf("the transfers are of %v, want some of both servers", of)
	}
	leaveByOwn(t, p, file)
}

// dealt is an address dealt to the servers of a datacenter.
func dealt(t *testing.T, p *plan.Plan, addr netip.Addr, dc string) egress.Address {
	t.Helper()
	var servers []ident.Server
	for _, s := range p.Servers {
		if s.Datacenter == dc {
			servers = append(servers, s.Config.Self)
		}
	}
	a, err := egress.Assign(1, []netip.Addr{addr}, servers)
	if err != nil {
		t.Fatal(err)
	}
	return a[0]
}

// leaveByOwn wants every packet that the servers of a lab sent from an egress address,
// as its capture has it, to have a port of the sender's own slice, as planned or as
// dealt later; and each pair of port and remote end to be of one server alone.
func leaveByOwn(t *testing.T, p *plan.Plan, file string, later ...egress.Address) {
	t.Helper()
	owners := map[netip.Addr][]egress.Address{}
	for _, a := range slices.Concat(p.Servers[0].Config.Egress, later) {
		owners[a.Addr] = append(owners[a.Addr], a)
	}
	servers := map[string]ident.Server{} // by MAC
	for _, s := range p.Servers {
		for _, l := range p.Links {
			for _, end := range []plan.Endpoint{l.A, l.B} {
				if end.Node == s.Node {
					servers[string(end.MAC)] = s.Config.Self
				}
			}
		}
	}
	seen, users := 0, map[[2]netip.AddrPort]ident.Server{}
	for data := range captured(t, file) {
		server := ident.Server(0)
		if len(data) >= 12 {
			server = servers[string(data[6:12])]
		}
		from, remote, ok := fromTo(data)
		if server == 0 || !ok || owners[from.Addr()] == nil {
			continue
		}
		seen++
		if !slices.ContainsFunc(owners[from.Addr()], func(a egress.Address) bool { return a.OwnerOf(from.Port()) == server }) {
			t.Fatalf("server %d sent from %v, which is not in its slice", server, from)
		}
		pair := [2]netip.AddrPort{from, remote}
		if other := users[pair]; other != 0 && other != server {
			t.Fatalf("servers %d and %d both sent from %v to %v", other, server, from, remote)
		}
		users[pair] = server
	}
	if seen == 0 || len(users) < len(p.Flows) {
		t.Errorf("the capture has %d packets of %d flows, want some of all %d", seen, len(users), len(p.Flows))
	}
}

// captured are the frames of a capture.
func captured(t *testing.T, file string) func(yield func([]byte) bool) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r, err := pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func([]byte) bool) {
		for {
			data, _, err := r.ReadPacketData()
			if errors.Is(err, io.EOF) || err == nil && !yield(data) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// fromTo are a frame's outer addresses with the ports of TCP or UDP.
func fromTo(frame []byte) (from, to netip.AddrPort, ok bool) {
	packet := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	ip, ok := packet.NetworkLayer().(*layers.IPv4)
	if !ok || ip.Protocol != layers.IPProtocolTCP && ip.Protocol != layers.IPProtocolUDP || packet.TransportLayer() == nil {
		return from, to, false
	}
	src, _ := netip.AddrFromSlice(ip.SrcIP)
	dst, _ := netip.AddrFromSlice(ip.DstIP)
	flow := packet.TransportLayer().TransportFlow()
	port := func(e gopacket.Endpoint) uint16 { return uint16(e.Raw()[0])<<8 | uint16(e.Raw()[1]) }
	return netip.AddrPortFrom(src, port(flow.Src())), netip.AddrPortFrom(dst, port(flow.Dst())), true
}
