package hub_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
)

// routes is a network whose routes are those given, for tenant and vnet 1.
func routes(t *testing.T, sites int, all ...route.Route) *hubtest.Net {
	for i := range all {
		all[i].Tenant, all[i].VNet = 1, 1
	}
	return hubtest.New(t, hubtest.Options{ARR: hubtest.All, Sites: sites, Edit: func(c *hub.Config) { c.Routes = all }})
}

// siteTo is where site 1's packet to dst comes out.
func siteTo(t *testing.T, n *hubtest.Net, dst string, port uint16) ident.OnRamp {
	t.Helper()
	p := hubtest.IP{Src: netip.AddrPortFrom(hubtest.Till.Addr(), port), Dst: netip.AddrPortFrom(netip.MustParseAddr(dst), 80)}
	return returned(t, n.FromSite(1, p.UDP()))
}

// TestRT1: a /30 of priority 900 beats a /29 of priority 1: the longest prefix
// comes before everything. SEMANTICS RT-1.
func TestRT1(t *testing.T) {
	n := routes(t, 3,
		route.Route{Prefix: netip.MustParsePrefix("10.9.0.0/30"), NextHop: 2, Priority: 900},
		route.Route{Prefix: netip.MustParsePrefix("10.9.0.0/29"), NextHop: 3, Priority: 1})
	if got := siteTo(t, n, "10.9.0.1", 1); got != 2 {
		t.Errorf("inside the /30: site %d, want 2", got)
	}
	if got := siteTo(t, n, "10.9.0.5", 1); got != 3 {
		t.Errorf("outside the /30: site %d, want 3", got)
	}
}

// TestRT2: of two priorities for one prefix, no flow takes the worse one while
// the better is healthy. SEMANTICS RT-2.
func TestRT2(t *testing.T) {
	n := routes(t, 3,
		route.Route{Prefix: netip.MustParsePrefix("10.9.0.0/24"), NextHop: 2, Priority: 200},
		route.Route{Prefix: netip.MustParsePrefix("10.9.0.0/24"), NextHop: 3, Priority: 100})
	for port := range uint16(1000) {
		if got := siteTo(t, n, "10.9.0.1", port); got != 3 {
			t.Fatalf("port %d went to site %d, want 3", port, got)
		}
	}
}

// TestRT5: when two equal next hops become three, about two thirds of the flows
// change theirs: the choice is a plain modulus. SEMANTICS RT-5.
func TestRT5(t *testing.T) {
	prefix := netip.MustParsePrefix("10.9.0.0/16")
	n := routes(t, 4,
		route.Route{Prefix: prefix, NextHop: 2}, route.Route{Prefix: prefix, NextHop: 3})
	const flows = 6000
	var before [flows]ident.OnRamp
	for i := range before {
		before[i] = siteTo(t, n, "10.9.0.1", uint16(i))
	}
	n.Reconfigure(func(c *hub.Config) {
		c.Routes = append(c.Routes, route.Route{Tenant: 1, VNet: 1, Prefix: prefix, NextHop: 4})
	})
	changed := 0
	for i := range before {
		if siteTo(t, n, "10.9.0.1", uint16(i)) != before[i] {
			changed++
		}
	}
	withinThreeSigma(t, "changed", changed, flows, 2.0/3)
}

// TestRT6: ICMP between one pair of hosts never splits over equal routes; TCP
// and UDP do. SEMANTICS RT-6.
func TestRT6(t *testing.T) {
	prefix := netip.MustParsePrefix("10.9.0.0/16")
	n := routes(t, 3, route.Route{Prefix: prefix, NextHop: 2}, route.Route{Prefix: prefix, NextHop: 3})
	dst := netip.MustParseAddrPort("10.9.0.1:0")
	sites := make(map[ident.OnRamp]int)
	for id := range uint16(500) {
		ping := hubtest.IP{Src: netip.AddrPortFrom(hubtest.Till.Addr(), id), Dst: dst}
		sites[returned(t, n.FromSite(1, ping.Ping()))]++
	}
	if len(sites) != 1 || sites[0] != 0 {
		t.Errorf("pings went to %v, want one site", sites)
	}
	clear(sites)
	for port := range uint16(500) {
		sites[siteTo(t, n, "10.9.0.1", port)]++
	}
	if len(sites) != 2 {
		t.Errorf("datagrams went to %v, want both sites", sites)
	}
}

// TestRT8: without a route, private and shared addresses are dropped, public
// ones are the Internet. SEMANTICS RT-8.
func TestRT8(t *testing.T) {
	for dst, internet := range map[string]bool{
		"10.9.9.9": false, "100.120.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "100.64.0.1": false,
		"127.0.0.1": false, "169.254.1.1": false, "224.0.0.1": false, "255.255.255.255": false, "0.0.0.1": false,
		"fd00::1": false, "fc00::1": false, "fe80::1": false, "::1": false, "::": false, "ff02::1": false, "ff0e::1": false,
		"2606:4700:cf1:1000::5": false, "fe00::1": true, "2001:db8:1::1": true, "2606:4700:cf1:2000::1": true, "3fff::1": true,
		"198.51.99.1": true, "100.128.0.1": true, "172.32.0.1": true, "11.0.0.1": true,
	} {
		n := routes(t, 1)
		p := hubtest.IP{Src: hubtest.Till, Dst: netip.AddrPortFrom(netip.MustParseAddr(dst), 80)}
		if p.Dst.Addr().Is6() {
			p.Src = hubtest.Families()[1].Till
		}
		out := toInternet(n.FromSite(1, p.UDP()))
		if got := len(out) == 1; got != internet {
			t.Errorf("%s: sent to the Internet %v, want %v", dst, got, internet)
		}
		if got := n.Counters().Drops[drop.NullRouted] == 1; got == internet {
			t.Errorf("%s: null-routed %v, want %v", dst, got, !internet)
		}
	}
}

// TestModes: what the tenant says of its mode and its default network reaches
// the table: in legacy mode a shorter ZT route takes what it matches, and a
// miss falls back to the WAN of the default network. SEMANTICS 2.1, 2.3, 3.1.
func TestModes(t *testing.T) {
	for legacy, want := range map[bool]ident.OnRamp{false: 3, true: 2} {
		n := hubtest.New(t, hubtest.Options{Sites: 4, Edit: func(c *hub.Config) {
			c.Tenants = []hub.Tenant{{ID: 1, Name: "acme", Legacy: legacy, VNets: []hub.VNet{{ID: 1, Name: "old"}, {ID: 2, Name: "new", Default: true}}}}
			c.OnRamps[3].VNet = 2
			c.Routes = []route.Route{
				{Tenant: 1, VNet: 1, Prefix: netip.MustParsePrefix("10.9.0.0/16"), NextHop: 2, Plane: route.ZT},
				{Tenant: 1, VNet: 1, Prefix: netip.MustParsePrefix("10.9.0.0/24"), NextHop: 3},
				{Tenant: 1, VNet: 2, Prefix: netip.MustParsePrefix("10.8.0.0/24"), NextHop: 4},
			}
		}})
		if got := siteTo(t, n, "10.9.0.1", 1); got != want {
			t.Errorf("legacy %v: site %d, want %d", legacy, got, want)
		}
		if got := siteTo(t, n, "10.8.0.1", 1); got != 4 {
			t.Errorf("legacy %v: from another network site %d, want 4 by the default network's route", legacy, got)
		}
	}
}

// TestRT14: a 1500-byte packet with DF is refused at a GRE tunnel, and its
// sender is told; a SYN with MSS 1460 leaves with 1436, with 1416 over IPv6, in both
// directions.
// SEMANTICS RT-14, 2.10.
func TestRT14(t *testing.T) { hubtest.EachFamily(t, testRT14) }

func testRT14(t *testing.T, f hubtest.Family) {
	n, mss := hubtest.New(t, hubtest.Options{ARR: hubtest.All}), 1456-f.Header
	p := hubtest.IP{Src: f.Till, Dst: f.Web}
	out := n.FromSite(1, p.TCP(hubtest.Flags{SYN: true}, 1, 0, 1460))
	v := hubtest.Decode(out[0].Packet)
	if got := int(binary.BigEndian.Uint16(v.TCP.Options[1].OptionData)); got != mss || !v.Sound {
		t.Errorf("SYN left with MSS %d, sound %v, want %d", got, v.Sound, mss)
	}
	egress := v.Src
	reply := hubtest.IP{Src: f.Web, Dst: egress}
	back := n.Send(reply.TCP(hubtest.Flags{SYN: true, ACK: true}, 1, 2, 1460))
	v = hubtest.Decode(back[0].Packet)
	if got := int(binary.BigEndian.Uint16(v.TCP.Options[1].OptionData)); got != mss || back[0].Site != 1 || !v.Sound {
		t.Errorf("SYN-ACK came back with MSS %d to site %d, want %d to 1", got, back[0].Site, mss)
	}

	reply.Payload = make([]byte, 1480-f.Header)
	big := reply.TCP(hubtest.Flags{ACK: true}, 2, 2, 0)
	refused := n.Send(big)
	if len(refused) != 1 || refused[0].Site != 0 {
		t.Fatalf("a 1500-byte packet with DF came out as %+v", refused)
	}
	v = hubtest.Decode(refused[0].Packet)
	if v.Src.Addr() != egress.Addr() || v.Dst.Addr() != f.Web.Addr() || v.TooBig() != 1476 || !v.Sound {
		t.Errorf("answered with %v, want frag-needed for 1476", v)
	}
	if f.Header == 40 && len(refused[0].Packet) != 1280 {
		t.Errorf("the answer has %d bytes, want as much as the least MTU holds", len(refused[0].Packet))
	}
	if quote := hubtest.Decode(v.Payload); quote.Src != f.Web || quote.Dst != egress {
		t.Errorf("it quotes %v to %v, want the packet as the origin sent it", quote.Src, quote.Dst)
	}
	if c := n.Counters(); c.Answered != 1 {
		t.Errorf("%d answered, want 1", c.Answered)
	}

	reply.Payload = make([]byte, mss)
	if got := n.Send(reply.TCP(hubtest.Flags{ACK: true}, 2, 2, 0)); len(got) != 1 || got[0].Site != 1 || len(got[0].Packet) != 1476 {
		t.Errorf("a packet of exactly the tunnel's MTU did not pass: %+v", got)
	}
}

// TestFragmentsTowardClient: without DF a packet too big for the tunnel is
// fragmented to its MTU. SEMANTICS 2.10.
func TestFragmentsTowardClient(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All})
	p := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}
	egress := hubtest.Decode(n.FromSite(1, p.UDP())[0].Packet).Src
	reply := hubtest.IP{Src: hubtest.Web, Dst: egress, ClearDF: true, Payload: make([]byte, 4000)}
	for i := range reply.Payload {
		reply.Payload[i] = byte(i * 7)
	}
	parts := n.Send(reply.UDP())
	whole := make([]byte, 4008)
	last := false
	for _, part := range parts {
		v := hubtest.Decode(part.Packet)
		if part.Site != 1 || len(part.Packet) > 1476 || v.Dst.Addr() != hubtest.Till.Addr() || v.IP.Id != 1 {
			t.Fatalf("a fragment of %d bytes went to site %d: %v", len(part.Packet), part.Site, v)
		}
		copy(whole[8*int(v.IP.FragOffset):], v.IP.Payload)
		last = last || v.IP.Flags == 0
	}
	if len(parts) != 3 || !last {
		t.Fatalf("%d fragments, last seen %v, want 3", len(parts), last)
	}
	reply.Src, reply.Dst, reply.TTL = hubtest.Web, hubtest.Till, 63
	if want := reply.UDP()[20:]; string(whole) != string(want) {
		t.Error("the fragments do not make up the datagram")
	}
}
