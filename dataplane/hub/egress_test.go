package hub_test

import (
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// at makes every packet from outside arrive at one server.
func at(server ident.Server) func([]byte) ident.Server {
	return func([]byte) ident.Server { return server }
}

// TestSU1: a reply to an egress address and port reaches the server that owns
// port>>11, from every datacenter, with at most two hand-overs. SEMANTICS SU-1.
func TestSU1(t *testing.T) { hubtest.EachFamily(t, testSU1) }

func testSU1(t *testing.T, f hubtest.Family) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 3, Servers: 3, Addresses: 2})
	for i := range 200 {
		p := f.Client(i)
		out := n.FromSite(ident.OnRamp(1+i%2), p.UDP())[0]
		src := hubtest.Decode(out.Packet).Src
		for server := range n.Hubs {
			n.Enter = at(server)
			back := n.Send(hubtest.IP{Src: p.Dst, Dst: src}.UDP())
			if len(back) != 1 || back[0].Site != ident.OnRamp(1+i%2) || back[0].Server != out.Server {
				t.Fatalf("reply to %v entering at server %d: %+v, want site %d by server %d", src, server, back, 1+i%2, out.Server)
			}
			if handovers := back[0].Hops - 1; handovers > 2 {
				t.Fatalf("reply to %v took %d hand-overs", src, handovers)
			}
		}
		n.Enter = nil
		for _, a := range n.Config.Egress {
			if a.Addr == src.Addr() && a.Owner[src.Port()>>11] != out.Server {
				t.Fatalf("%v left server %d, but server %d owns the slice", src, out.Server, a.Owner[src.Port()>>11])
			}
		}
	}
}

// TestSU2: 31 servers share an address with 2,048 ports each, 63,488 in all; a
// 32nd server needs a second address. SEMANTICS SU-2.
func TestSU2(t *testing.T) {
	addresses := []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")}
	servers := make([]ident.Server, 32)
	for i := range servers {
		servers[i] = ident.Server(i + 1)
	}
	one, err := egress.Assign(1, addresses[:1], servers[:31])
	if err != nil {
		t.Fatal(err)
	}
	ports := 0
	for port := range 1 << 16 {
		if owner := one[0].OwnerOf(uint16(port)); owner != 0 {
			ports++
			if owner != ident.Server(port>>11) {
				t.Fatalf("port %d is owned by server %d, want %d", port, owner, port>>11)
			}
		}
	}
	if ports != 63488 {
		t.Errorf("%d usable ports, want 63488", ports)
	}
	if _, err := egress.Assign(1, addresses[:1], servers); err == nil {
		t.Error("32 servers on one address were accepted")
	}
	two, err := egress.Assign(1, addresses, servers)
	if err != nil {
		t.Fatal(err)
	}
	if two[1].Owner[1] != 32 || two[1].Owner[2] != 0 {
		t.Errorf("the second address is owned by %v, want server 32 in slice 1 only", two[1].Owner)
	}
	if _, err := hub.New(hubtest.Options{Datacenters: 1, Servers: 32, Addresses: 2}.Config()); err != nil {
		t.Errorf("a hub among 32 servers: %v", err)
	}
}

// TestSU3: no flow ever leaves with a port, or an echo id, outside of its
// server's slice. SEMANTICS SU-3.
func TestSU3(t *testing.T) { hubtest.EachFamily(t, testSU3) }

func testSU3(t *testing.T, f hubtest.Family) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 2, Servers: 3, Addresses: 2})
	used := make(map[int]bool)
	for i := range 3000 {
		p := f.Client(i)
		packet := p.UDP()
		switch i % 3 {
		case 1:
			packet = p.TCP(hubtest.Flags{SYN: true}, 1, 0, 0)
		case 2:
			packet = p.Ping()
		}
		out := n.FromSite(1, packet)[0]
		src := hubtest.Decode(out.Packet).Src
		owner := ident.Server(0)
		for _, a := range n.Config.Egress {
			if a.Addr == src.Addr() {
				owner = a.OwnerOf(src.Port())
			}
		}
		if owner != out.Server {
			t.Fatalf("flow %d left server %d as %v, owned by server %d", i, out.Server, src, owner)
		}
		used[egress.Slice(src.Port())] = true
	}
	if want := 3; f.Header == 20 && len(used) != want || f.Header == 40 && len(used) != egress.Owners || used[0] {
		t.Errorf("slices %v were used, want 1, 2 and 3 of IPv4 and all but 0 of IPv6", used)
	}
}

// TestSU4: a reply to slice 0, or to a slice nobody owns, is dropped and
// counted. SEMANTICS SU-4.
func TestSU4(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All})
	for _, port := range []uint16{0, 80, 2047, 3 * 2048, 65535} {
		dst := netip.AddrPortFrom(n.Config.Egress[0].Addr, port)
		before := n.Counters().Drops[drop.NoOwner]
		if out := n.Send(hubtest.IP{Src: hubtest.Web, Dst: dst}.UDP()); len(out) != 0 {
			t.Errorf("a reply to port %d came out as %+v", port, out)
		}
		if got := n.Counters().Drops[drop.NoOwner] - before; got != 1 {
			t.Errorf("port %d: %d drops without owner, want 1", port, got)
		}
	}
}

// TestSU5: the 2,049th flow to one destination and port fails with
// EGRESS_PORT_ALLOCATION_ERROR; the ports still serve another destination.
// SEMANTICS SU-5.
func TestSU5(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 1, Servers: 1})
	flow := func(i int, dst netip.AddrPort) hubtest.IP {
		return hubtest.IP{Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i >> 8)}), uint16(5000+i)), Dst: dst}
	}
	syn := hubtest.Flags{SYN: true}
	seen := make(map[uint16]bool)
	for i := range egress.SliceSize {
		out := toInternet(n.FromSite(1, flow(i, hubtest.Web).TCP(syn, 1, 0, 0)))
		if len(out) != 1 {
			t.Fatalf("flow %d of %d was refused", i+1, egress.SliceSize)
		}
		seen[hubtest.Decode(out[0].Packet).Src.Port()] = true
	}
	if len(seen) != egress.SliceSize {
		t.Fatalf("%d ports for %d flows to one destination", len(seen), egress.SliceSize)
	}
	n.Events = nil
	out := n.FromSite(1, flow(egress.SliceSize, hubtest.Web).TCP(syn, 1, 0, 0))
	if len(toInternet(out)) != 0 {
		t.Fatal("the 2,049th flow left")
	}
	if v := hubtest.Decode(out[0].Packet); len(out) != 1 || out[0].Site != 1 || !v.TCP.RST || v.TCP.Ack != 2 || !v.Sound {
		t.Errorf("the client was told %+v, want a reset", out)
	}
	if r := refusals(n); len(r) != 1 || r[0].Close.String() != "EGRESS_PORT_ALLOCATION_ERROR" || r[0].Refused != drop.PortsExhausted {
		t.Errorf("refusals: %+v, want one for want of ports", r)
	}
	if c := n.Counters(); c.Drops[drop.PortsExhausted] != 1 || c.FlowsStarted != egress.SliceSize {
		t.Errorf("%d refused, %d started", c.Drops[drop.PortsExhausted], c.FlowsStarted)
	}
	other := netip.AddrPortFrom(hubtest.Web.Addr(), 80)
	out = toInternet(n.FromSite(1, flow(egress.SliceSize, other).TCP(syn, 1, 0, 0)))
	if len(out) != 1 || !seen[hubtest.Decode(out[0].Packet).Src.Port()] {
		t.Errorf("another port of the destination was not served: %+v", out)
	}
}
