package hub_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

const (
	device    = hubtest.FirstDevice
	connector = hubtest.FirstConnector
	plainLink = hubtest.FirstInterconnect
)

// private is a network whose devices and connectors are connected, and whose
// hosts answer.
func private(t *testing.T, o hubtest.Options) *hubtest.Net {
	n := hubtest.New(t, o)
	n.Private = func(_ ident.OnRamp, packet []byte) []byte { return hubtest.Echo(packet) }
	n.Origin = hubtest.Echo
	connect := func(first ident.OnRamp, count int) {
		for i := range ident.OnRamp(count) {
			id := first + i
			vnet := ident.VNet(0)
			if first == connector {
				vnet = route.DefaultVNet + ident.VNet(i)
			}
			back := n.Connect(id, vnet)
			if len(back) != 1 || back[0].Site != id || back[0].Answer != tunnel.Accepted {
				t.Fatalf("on-ramp %d connects: %+v", id, back)
			}
		}
	}
	connect(device, o.Devices)
	connect(connector, o.Connectors)
	return n
}

// by are the arrivals by an on-ramp; 0 is the Internet.
func by(all []hubtest.Arrival, id ident.OnRamp) (found []hubtest.Arrival) {
	for _, a := range all {
		if a.Site == id {
			found = append(found, a)
		}
	}
	return found
}

// kinds are the packets of every kind that opens a flow.
func kinds(p hubtest.IP) map[string][]byte {
	return map[string][]byte{"tcp": p.TCP(hubtest.Flags{SYN: true}, 1, 0, 1460), "udp": p.UDP(), "icmp": p.Ping()}
}

// TestPrivateTranslate: two overlapping sites with one tuple reach a host behind
// a connector, each gets its own reply, and the host sees two different sources
// of the network. SEMANTICS 1.3, 1.5, 1.7.
func TestPrivateTranslate(t *testing.T) {
	for kind := range kinds(hubtest.IP{Src: hubtest.Till, Dst: hubtest.Host}) {
		t.Run(kind, func(t *testing.T) {
			n := private(t, hubtest.Options{ARR: hubtest.All, Connectors: 1, Translate: true, Interconnects: 1})
			sources := map[netip.AddrPort]bool{}
			for _, site := range []ident.OnRamp{1, 2, plainLink} {
				p := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Host, Payload: []byte{byte(site)}}
				all := n.FromSite(site, kinds(p)[kind])
				in, back := by(all, connector), by(all, site)
				if len(in) != 1 || len(back) != 1 || len(all) != 2 {
					t.Fatalf("site %d: %+v, drops %v", site, all, n.Counters().Drops)
				}
				seen, got := hubtest.Decode(in[0].Packet), hubtest.Decode(back[0].Packet)
				if !seen.Sound || !route.Reserves(seen.Src.Addr()) || seen.Dst.Addr() != hubtest.Host.Addr() {
					t.Errorf("the private host sees %v", seen)
				}
				if !got.Sound || got.Dst.Addr() != hubtest.Till.Addr() || got.Src.Addr() != hubtest.Host.Addr() {
					t.Errorf("site %d gets %v", site, got)
				}
				if kind == "udp" && !bytes.Equal(got.Payload, []byte{byte(site)}) {
					t.Errorf("site %d gets %x", site, got.Payload)
				}
				if kind != "icmp" && sources[seen.Src] {
					t.Errorf("source %v twice", seen.Src)
				}
				sources[seen.Src] = true
			}
			if c := n.Counters(); c.RouteLookups != 0 || c.FlowsStarted != 3 {
				t.Errorf("%d look-ups on the way back, %d flows", c.RouteLookups, c.FlowsStarted)
			}
		})
	}
}

// TestPrivatePreserve: the host behind a preserving connector sees the client
// itself. The second of two equal tuples is rejected, or with snat gets a source
// of the network; where the connector is attached in another datacenter than the
// sites, the first does too. SEMANTICS 1.5.
func TestPrivatePreserve(t *testing.T) {
	for _, tt := range []struct {
		collision   hub.Collision
		datacenters int
		itself      [2]bool // which of the two the host sees itself
		rejected    uint64
	}{
		{"", 1, [2]bool{true, false}, 1},
		{hub.CollisionReject, 1, [2]bool{true, false}, 1},
		{hub.CollisionSNAT, 1, [2]bool{true, false}, 0},
		{hub.CollisionReject, 2, [2]bool{true, false}, 1},
		{hub.CollisionSNAT, 2, [2]bool{false, false}, 0},
	} {
		t.Run(fmt.Sprintf("%s in %d", tt.collision, tt.datacenters), func(t *testing.T) {
			n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Connectors: 1, Datacenters: tt.datacenters, Edit: func(c *hub.Config) { c.Tenants[0].Collision = tt.collision }})
			n.Private = func(_ ident.OnRamp, packet []byte) []byte { return hubtest.Echo(packet) }
			// The connector comes in at the last server, sites at the first.
			n.Enter = func(packet []byte) ident.Server {
				if v := hubtest.Decode(packet); v.Proto == 17 && v.Dst.Port() == tunnel.ConnectedPort {
					return n.Config.Servers[len(n.Config.Servers)-1].ID
				}
				return 1
			}
			n.Connect(connector, 0)
			for i, itself := range tt.itself {
				site := ident.OnRamp(i + 1)
				all := n.FromSite(site, hubtest.IP{Src: hubtest.Till, Dst: hubtest.Host}.UDP())
				if i == 1 && tt.rejected != 0 {
					if len(all) != 0 {
						t.Errorf("site 2: %+v, want nothing", all)
					}
					continue
				}
				in, back := by(all, connector), by(all, site)
				if len(in) != 1 || len(back) != 1 {
					t.Fatalf("site %d: %+v, drops %v", site, all, n.Counters().Drops)
				}
				if src := hubtest.Decode(in[0].Packet).Src; (src == hubtest.Till) != itself || route.Reserves(src.Addr()) == itself {
					t.Errorf("the private host sees site %d as %v", site, src)
				}
			}
			if got := n.Counters().Drops[drop.ReverseCollision]; got != tt.rejected {
				t.Errorf("%d rejected, want %d", got, tt.rejected)
			}
			if all := n.FromSite(1, hubtest.IP{Src: hubtest.Till, Dst: hubtest.Host}.UDP()); len(by(all, 1)) != 1 {
				t.Errorf("the first flow: %+v", all)
			}
		})
	}
}

// TestPrivateWithoutARR: replies of a private host follow the routes, and are
// null-routed without one. SEMANTICS 1.6.
func TestPrivateWithoutARR(t *testing.T) {
	for _, routes := range [][]int{nil, {2}} {
		n := private(t, hubtest.Options{Connectors: 1, Translate: true, Routes: routes})
		all := n.FromSite(1, hubtest.IP{Src: hubtest.Till, Dst: hubtest.Host}.UDP())
		if len(routes) == 0 && (len(all) != 1 || n.Counters().Drops[drop.NullRouted] != 1) {
			t.Errorf("without a route: %+v", all)
		}
		if len(routes) == 1 && len(by(all, 2)) != 1 {
			t.Errorf("with a route to site 2: %+v", all)
		}
	}
}

// TestDevices: a device reaches the Internet, a private host, another device and
// a site, each answers, and what it has in its context counts.
func TestDevices(t *testing.T) {
	n := private(t, hubtest.Options{ARR: hubtest.All, Connectors: 1, Devices: 2, Routes: []int{1}})
	me := netip.AddrPortFrom(hubtest.DeviceAddr(device), 5000)
	for _, tt := range []struct {
		name string
		dst  netip.AddrPort
		via  ident.OnRamp
	}{
		{"Internet", hubtest.Web, 0},
		{"private host", hubtest.Host, connector},
		{"device", netip.AddrPortFrom(hubtest.DeviceAddr(device+1), 22), device + 1},
	} {
		for kind, p := range kinds(hubtest.IP{Src: me, Dst: tt.dst}) {
			all := n.FromSite(device, p)
			back := by(all, device)
			if len(by(all, tt.via)) != 1 || len(back) != 1 {
				t.Errorf("%s to %s: %+v, drops %v", kind, tt.name, all, n.Counters().Drops)
				continue
			}
			if v := hubtest.Decode(back[0].Packet); !v.Sound || v.Dst.Addr() != me.Addr() || v.Src.Addr() != tt.dst.Addr() {
				t.Errorf("%s to %s: the reply is %v", kind, tt.name, v)
			}
		}
	}
	// A site has no echo in this network: its reply is sent by hand.
	all := n.FromSite(device, hubtest.IP{Src: me, Dst: hubtest.Till}.UDP())
	if len(by(all, 1)) != 1 {
		t.Fatalf("to the site: %+v", all)
	}
	if all = n.FromSite(1, hubtest.IP{Src: hubtest.Till, Dst: me}.UDP()); len(by(all, device)) != 1 {
		t.Errorf("from the site: %+v", all)
	}
	// And a site reaches a device (SEMANTICS 1.7), whose reply goes to the site that asked.
	for site := ident.OnRamp(1); site <= 2; site++ {
		p := hubtest.IP{Src: netip.AddrPortFrom(hubtest.Till.Addr(), 4000+uint16(site)), Dst: netip.AddrPortFrom(me.Addr(), 80)}
		if all := n.FromSite(site, p.TCP(hubtest.Flags{SYN: true}, 1, 0, 0)); len(by(all, site)) != 1 {
			t.Errorf("site %d to the device: %+v", site, all)
		}
	}
}

// TestTranslatingConnectorOnlyAnswers: what a translating connector sends of its
// own is dropped. SEMANTICS 2.9: off-ramp only.
func TestTranslatingConnectorOnlyAnswers(t *testing.T) {
	for _, translate := range []bool{false, true} {
		n := private(t, hubtest.Options{ARR: hubtest.All, Connectors: 1, Translate: translate})
		all := n.FromSite(connector, hubtest.IP{Src: hubtest.Host, Dst: hubtest.Web}.UDP())
		if got := n.Counters().Drops[drop.OffRampOnly]; (got == 1) != translate || (len(all) == 0) != translate {
			t.Errorf("translate %v: %+v, %d drops", translate, all, got)
		}
	}
}

// TestPrivateErrors: an ICMP error from a private network reaches the client
// that it is about, translated back, and a client's reaches the private host.
func TestPrivateErrors(t *testing.T) {
	for _, translate := range []bool{false, true} {
		n := private(t, hubtest.Options{ARR: hubtest.All, Connectors: 1, Translate: translate})
		n.Private = nil
		in := by(n.FromSite(1, hubtest.IP{Src: hubtest.Till, Dst: hubtest.Host}.UDP()), connector)
		if len(in) != 1 {
			t.Fatal("the packet did not arrive")
		}
		router := netip.MustParseAddr("10.9.0.1")
		back := by(n.FromSite(connector, hubtest.Unreachable(router, 4, 1280, in[0].Packet)), 1)
		if len(back) != 1 {
			t.Fatalf("translate %v: the error got lost, drops %v", translate, n.Counters().Drops)
		}
		v := hubtest.Decode(back[0].Packet)
		quote := hubtest.Decode(v.Payload)
		if !v.Sound || v.Dst.Addr() != hubtest.Till.Addr() || quote.Src != hubtest.Till || quote.Dst != hubtest.Host {
			t.Errorf("translate %v: the client gets %v about %v", translate, v, quote)
		}
	}
}

// TestPrivateFragments: an answer that comes in fragments finds who asked, also
// from another datacenter, and so does a question in fragments its host.
func TestPrivateFragments(t *testing.T) {
	for _, datacenters := range []int{1, 2} {
		n := private(t, hubtest.Options{ARR: hubtest.All, Connectors: 1, Datacenters: datacenters})
		n.Private = nil
		for port := range uint16(20) {
			client := netip.AddrPortFrom(hubtest.Till.Addr(), 40000+port)
			payload := bytes.Repeat([]byte{byte(port)}, 2000)
			var in []hubtest.Arrival
			for _, f := range hubtest.Cut(hubtest.IP{Src: client, Dst: hubtest.Host, ClearDF: true, Payload: payload}.UDP(), 1200, port+1) {
				in = append(in, by(n.FromSite(1, f), connector)...)
			}
			if len(in) != 2 {
				t.Fatalf("%d fragments of the question came, drops %v", len(in), n.Counters().Drops)
			}
			var back []hubtest.Arrival
			for _, f := range hubtest.Cut(hubtest.IP{Src: hubtest.Host, Dst: client, ClearDF: true, Payload: payload}.UDP(), 1200, port+1) {
				back = append(back, n.FromSite(connector, f)...)
			}
			if len(back) != 2 || len(by(back, 1)) != 2 {
				t.Fatalf("port %d: the answer came as %+v, drops %v", port, back, n.Counters().Drops)
			}
		}
	}
}

// TestPrivateIdentifications: datagrams of overlapping sites, which chose the same
// identification, have others where one host puts their fragments together; with
// the client's address as their source, and with the network's.
func TestPrivateIdentifications(t *testing.T) {
	n := private(t, hubtest.Options{ARR: hubtest.All, Sites: 3, Connectors: 1, Edit: func(c *hub.Config) { c.Tenants[0].Collision = hub.CollisionSNAT }})
	n.Private = nil
	type name struct {
		source netip.Addr
		id     uint16
	}
	seen := map[name]bool{}
	for port := range uint16(20) {
		for site := ident.OnRamp(1); site <= 3; site++ {
			client := netip.AddrPortFrom(hubtest.Till.Addr(), 40000+port)
			var in []hubtest.Arrival
			for _, f := range hubtest.Cut(hubtest.IP{Src: client, Dst: hubtest.Host, ClearDF: true, Payload: make([]byte, 2000)}.UDP(), 1200, 77) {
				in = append(in, by(n.FromSite(site, f), connector)...)
			}
			if len(in) != 2 {
				t.Fatalf("%d fragments of site %d's question came, drops %v", len(in), site, n.Counters().Drops)
			}
			first, second := hubtest.Decode(in[0].Packet).IP, hubtest.Decode(in[1].Packet).IP
			source, _ := netip.AddrFromSlice(first.SrcIP)
			x := name{source, first.Id}
			if seen[x] || second.Id != first.Id {
				t.Errorf("port %d, site %d: %+v twice, or another in the second fragment (%d)", port, site, x, second.Id)
			}
			seen[x] = true
		}
	}
}

// TestPrivateTooBig: a packet too big for the connector's tunnel is told to its
// sender, who is at the site.
func TestPrivateTooBig(t *testing.T) {
	n := private(t, hubtest.Options{ARR: hubtest.All, Connectors: 1, Edit: func(c *hub.Config) {
		for i := range c.OnRamps {
			if c.OnRamps[i].Kind == tunnel.Connector {
				c.OnRamps[i].MTU = 1280
			}
		}
	}})
	all := n.FromSite(1, hubtest.IP{Src: hubtest.Till, Dst: hubtest.Host, Payload: make([]byte, 1300)}.UDP())
	if back := by(all, 1); len(back) != 1 || len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	// A SYN tells both ends what fits.
	syn := by(n.FromSite(1, hubtest.IP{Src: hubtest.Till, Dst: hubtest.Host}.TCP(hubtest.Flags{SYN: true}, 1, 0, 1460)), connector)
	if len(syn) != 1 {
		t.Fatal("no SYN")
	}
	if mss := binary.BigEndian.Uint16(hubtest.Decode(syn[0].Packet).TCP.Options[1].OptionData); mss != 1240 {
		t.Errorf("MSS %d, want 1240", mss)
	}
}

// TestOX2Private: two tenants with identical addresses behind identical private
// networks never mix.
func TestOX2Private(t *testing.T) {
	n := private(t, hubtest.Options{ARR: hubtest.All, Connectors: 2, Edit: func(c *hub.Config) {
		other := c.Tenants[0]
		other.ID, other.Name, other.VNets = 2, "other", []hub.VNet{{ID: 2, Name: "default", Default: true}}
		c.Tenants = append(c.Tenants, other)
		for i := range c.OnRamps {
			if r := &c.OnRamps[i]; r.ID == 2 || r.ID == connector+1 {
				r.Tenant, r.VNet = 2, 2
			}
		}
		for i := range c.Routes {
			if r := &c.Routes[i]; r.NextHop == connector+1 {
				r.Tenant = 2
			}
		}
	}})
	for site := ident.OnRamp(1); site <= 2; site++ {
		all := n.FromSite(site, hubtest.IP{Src: hubtest.Till, Dst: hubtest.Host}.UDP())
		if len(by(all, connector+site-1)) != 1 || len(by(all, site)) != 1 || len(all) != 2 {
			t.Errorf("tenant of site %d: %+v, drops %v", site, all, n.Counters().Drops)
		}
	}
	// What tenant 2's connector says about tenant 1's flow is not believed.
	if all := n.FromSite(connector+1, hubtest.IP{Src: hubtest.Host, Dst: hubtest.Till}.UDP()); len(by(all, 1)) != 0 {
		t.Errorf("tenant 2 answers tenant 1: %+v", all)
	}
}

// TestPrivateFlowsEnd: flows to private networks end once, free their source and
// leave nothing.
func TestPrivateFlowsEnd(t *testing.T) {
	n := private(t, hubtest.Options{ARR: hubtest.All, Connectors: 1, Translate: true, Devices: 1})
	for port := range uint16(100) {
		p := hubtest.IP{Src: netip.AddrPortFrom(hubtest.Till.Addr(), 1000+port), Dst: hubtest.Host}
		n.FromSite(1, p.UDP())
	}
	n.Now = n.Now.Add(time.Hour)
	n.Timer()
	starts, ends := map[[16]byte]int{}, map[[16]byte]int{}
	for _, e := range n.Events {
		switch e.Kind {
		case hub.FlowStart:
			starts[e.Session.ID]++
		case hub.FlowEnd:
			ends[e.Session.ID]++
			if e.Session.OffRamp != connector || e.Session.BytesSent != e.Session.BytesReceived {
				t.Errorf("%+v", e.Session)
			}
		}
	}
	if len(starts) != 100 || len(ends) != 100 || n.Counters().Flows != 0 {
		t.Errorf("%d starts, %d ends, %d live", len(starts), len(ends), n.Counters().Flows)
	}
}
