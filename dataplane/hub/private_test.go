package hub_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
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

// TestDeviceSpoofs: a device sends from its own address alone.
func TestDeviceSpoofs(t *testing.T) {
	n := private(t, hubtest.Options{Devices: 2})
	for _, src := range []netip.AddrPort{hubtest.Till, netip.AddrPortFrom(hubtest.DeviceAddr(device+1), 5000)} {
		if all := n.FromSite(device, hubtest.IP{Src: src, Dst: hubtest.Web}.UDP()); len(all) != 0 {
			t.Errorf("from %v: %+v", src, all)
		}
	}
	if got := n.Counters().Drops[drop.SpoofedSource]; got != 2 {
		t.Errorf("%d spoofed packets, want 2", got)
	}
	// Nor does a site send from a device's address.
	src := netip.AddrPortFrom(hubtest.DeviceAddr(device), 5000)
	if all := n.FromSite(1, hubtest.IP{Src: src, Dst: hubtest.Web}.UDP()); len(all) != 0 {
		t.Errorf("a site as a device: %+v", all)
	}
}

// TestConnectedHandshake: what a server answers on a connected tunnel from
// outside.
func TestConnectedHandshake(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{Devices: 2, Connectors: 1})
	packet := hubtest.IP{Src: netip.AddrPortFrom(hubtest.DeviceAddr(device), 1), Dst: hubtest.Web}.UDP()
	answer := func(name string, all []hubtest.Arrival, want tunnel.Answer) {
		t.Helper()
		if len(all) != 1 || all[0].Answer != want {
			t.Errorf("%s: %+v, want answer %#x", name, all, want)
		}
	}
	r := n.Config.OnRamps[slices.IndexFunc(n.Config.OnRamps, func(o hub.OnRamp) bool { return o.ID == device })]
	n.Connect(device, 0)
	answer("the same context again", n.Datagram(device, hubtest.Context(&r, 0)), tunnel.Accepted)
	if all := n.Datagram(device, hubtest.Context(&r, 99)); len(all) != 0 {
		t.Errorf("another context on a tunnel that stands: %+v", all)
	}
	if all := n.FromSite(device, packet); len(all) != 1 || all[0].Site != 0 {
		t.Errorf("after that: %+v", all)
	}
	answer("a network that does not exist", n.Connect(device, 99), tunnel.Refused)
	answer("a packet first", n.FromSite(device, packet), tunnel.Unknown)
	forged := hubtest.Context(&r, 0)
	forged[len(forged)-1] ^= 1
	answer("a forged token", n.Datagram(device, forged), tunnel.Refused)
	unsigned := tunnel.Context{Kind: tunnel.Device, Tenant: 1, Registration: r.Registration}
	b, _ := unsigned.Append(nil)
	answer("no token", n.Datagram(device, b), tunnel.Refused)
	unsigned.Kind = tunnel.Connector
	_ = unsigned.Sign(hubtest.Secret)
	b, _ = unsigned.Append(nil)
	answer("another kind", n.Datagram(device, b), tunnel.Refused)
	answer("junk", n.Datagram(device, []byte("junk")), tunnel.Refused)
	if c := n.Counters(); c.Drops[drop.BadContext] != 5 || c.Drops[drop.UnknownTunnel] != 1 {
		t.Errorf("drops %v", c.Drops)
	}
}

// TestOX1: of a connected tunnel the first datagram is never a packet, and the
// second is one. What is wrong with a first datagram closes that tunnel alone.
// SEMANTICS 4.5.
func TestOX1(t *testing.T) {
	c := hubtest.Options{Devices: 2, Datacenters: 1, Servers: 1}.Config()
	h, err := hub.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ramp := func(id ident.OnRamp) *hub.OnRamp {
		return &c.OnRamps[slices.IndexFunc(c.OnRamps, func(o hub.OnRamp) bool { return o.ID == id })]
	}
	packet := hubtest.IP{Src: netip.AddrPortFrom(hubtest.DeviceAddr(device), 1), Dst: hubtest.Web}.UDP()
	var out hub.Out
	send := func(port hub.Port, data []byte) {
		out.Reset()
		h.HandlePacket(1, &hub.Packet{Data: bytes.Clone(data), Port: port}, &out)
	}
	first := hubtest.Context(ramp(device), 0)
	bad := map[string][]byte{"empty": nil, "a packet": packet, "garbage": []byte("garbage"), "cut off": first[:len(first)-1], "unknown tenant": func() []byte {
		r := *ramp(device)
		r.Tenant = 7
		return hubtest.Context(&r, 0)
	}()}
	send(1, first)
	if len(out.Send) != 0 || len(out.Hangup) != 0 || len(out.Events) != 1 || out.Events[0].Kind != hub.Attached || out.Events[0].OnRamp != device {
		t.Fatalf("the first datagram: %+v", out)
	}
	port := hub.Port(2)
	for name, datagram := range bad {
		send(port, datagram)
		if len(out.Send) != 0 || !slices.Equal(out.Hangup, []hub.Port{port}) {
			t.Errorf("%s first: sent %d, hung up %v", name, len(out.Send), out.Hangup)
		}
		send(port, packet) // before the driver has closed it
		if len(out.Send) != 0 || len(out.Hangup) != 0 {
			t.Errorf("%s, after it: sent %d, hung up %v", name, len(out.Send), out.Hangup)
		}
		port++
	}
	send(1, packet)
	if len(out.Send) != 1 || len(out.Hangup) != 0 {
		t.Fatalf("the second datagram of the good tunnel: %+v", out)
	}
	egress := hubtest.Decode(out.Send[0].Data).Src
	send(1, first)
	if len(out.Send) != 0 || h.Counters().Drops[drop.BadTunnel] != 1 {
		t.Errorf("a context later: sent %d, drops %v", len(out.Send), h.Counters().Drops)
	}
	reply := hubtest.IP{Src: hubtest.Web, Dst: egress}.UDP()
	send(0, reply)
	if len(out.Send) != 1 || out.Send[0].Port != 1 || !out.Send[0].Encap.IsZero() {
		t.Fatalf("the reply: %+v", out.Send)
	}
	// The same device from another socket: the first is closed.
	send(port, first)
	out2 := hub.Out{}
	h.HandleTimer(1, &out2)
	if !slices.Equal(out2.Hangup, []hub.Port{1}) {
		t.Errorf("the first tunnel: hung up %v", out2.Hangup)
	}
	out.Reset()
	h.Closed(1, 1, &out)
	send(0, reply)
	if len(out.Send) != 1 || out.Send[0].Port != port {
		t.Errorf("the reply: %+v", out.Send)
	}
	out.Reset()
	h.Closed(2, port, &out)
	if len(out.Events) != 1 || out.Events[0].Kind != hub.Detached {
		t.Errorf("closed: %+v", out.Events)
	}
	send(0, reply)
	if len(out.Send) != 0 || h.Counters().Drops[drop.Unattached] != 1 {
		t.Errorf("a reply to nobody: %+v", out.Send)
	}
}

// TestOX3Hub: packets of two contexts in GUE, interleaved, stay separate; and only
// the network's own may write one. SEMANTICS 4.5.
func TestOX3Hub(t *testing.T) {
	n := private(t, hubtest.Options{ARR: hubtest.All, Interconnects: 2, Connectors: 1, Devices: 1})
	for i := range 10 {
		site := plainLink + ident.OnRamp(i%2)
		all := n.FromSite(site, hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web, Payload: []byte{byte(i)}}.UDP())
		back := by(all, site)
		if len(back) != 1 || hubtest.Decode(back[0].Packet).Payload[0] != byte(i) {
			t.Fatalf("packet %d: %+v", i, all)
		}
	}
	if c := n.Counters(); c.FlowsStarted != 2 {
		t.Errorf("%d flows, want 2", c.FlowsStarted)
	}
	inner := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}.UDP()
	context := tunnel.GUEContext{OnRamp: plainLink, Tenant: 1}
	with := func(edit func(*tunnel.GUEContext)) tunnel.GUEContext { c := context; edit(&c); return c }
	peer := n.Config.Servers[1].Handover
	for _, tt := range []struct {
		name     string
		src, dst netip.Addr
		context  tunnel.GUEContext
		want     drop.Reason
	}{
		{"not the edge", hubtest.Till.Addr(), hubtest.Unconnected, context, drop.ForgedHandover},
		{"another on-ramp's", hubtest.Edge, hubtest.Unconnected, with(func(c *tunnel.GUEContext) { c.OnRamp = 1 }), drop.ForgedHandover},
		{"no on-ramp's", hubtest.Edge, hubtest.Unconnected, with(func(c *tunnel.GUEContext) { c.OnRamp = 77 }), drop.UnknownTunnel},
		{"another tenant's", hubtest.Edge, hubtest.Unconnected, with(func(c *tunnel.GUEContext) { c.Tenant = 2 }), drop.BadTunnel},
		{"with a virtual network", hubtest.Edge, hubtest.Unconnected, with(func(c *tunnel.GUEContext) { c.VNet = 1 }), drop.BadTunnel},
		{"on the way back", hubtest.Edge, hubtest.Unconnected, with(func(c *tunnel.GUEContext) { c.Return = true }), drop.BadTunnel},
		{"handed over by nobody", hubtest.Till.Addr(), n.Config.Servers[0].Handover, with(func(c *tunnel.GUEContext) { c.OnRamp, c.Hops = device, 1 }), drop.ForgedHandover},
		{"handed over for a site", peer, n.Config.Servers[0].Handover, with(func(c *tunnel.GUEContext) { c.OnRamp, c.Hops = 1, 1 }), drop.BadTunnel},
		{"handed over without a hop", peer, n.Config.Servers[0].Handover, with(func(c *tunnel.GUEContext) { c.OnRamp = device }), drop.BadTunnel},
		{"to the tunnel address", hubtest.Edge, hubtest.Tunnel, context, drop.Unsupported},
	} {
		var out hub.Out
		h := n.Hubs[1]
		before := h.Counters().Drops[tt.want]
		h.HandlePacket(n.Now, &hub.Packet{Data: hubtest.GUE(tt.src, tt.dst, tt.context, inner), Internal: true}, &out)
		if len(out.Send) != 0 || h.Counters().Drops[tt.want] != before+1 {
			t.Errorf("%s: sent %d, drops %v", tt.name, len(out.Send), h.Counters().Drops)
		}
	}
	var out hub.Out
	n.Hubs[1].HandlePacket(n.Now, &hub.Packet{Data: hubtest.GUE(hubtest.Edge, hubtest.Unconnected, context, inner)}, &out)
	if len(out.Send) != 0 {
		t.Error("GUE from outside is believed")
	}
}

// TestVN4Hub: a device that switches its virtual network reaches the other
// private network at once, its old flows end everywhere once it is known, and no
// packet ever goes to the wrong one. SEMANTICS VN-1, VN-4, VN-7.
func TestVN4Hub(t *testing.T) {
	n := private(t, hubtest.Options{Connectors: 2, Devices: 1})
	me := hubtest.DeviceAddr(device)
	ask := func(port uint16) []hubtest.Arrival {
		return n.FromSite(device, hubtest.IP{Src: netip.AddrPortFrom(me, port), Dst: hubtest.Host}.TCP(hubtest.Flags{SYN: true}, 1, 0, 0))
	}
	for port := range uint16(40) {
		if all := ask(1000 + port); len(by(all, connector)) != 1 || len(by(all, device)) != 1 {
			t.Fatalf("in the first network: %+v", all)
		}
	}
	n.Hold, n.Now = true, n.Now.Add(time.Second)
	n.Events = nil
	n.Connect(device, route.DefaultVNet+1)
	for port := range uint16(40) {
		if all := ask(1000 + port); len(by(all, connector+1)) != 1 || len(by(all, connector)) != 0 || len(by(all, device)) != 1 {
			t.Fatalf("in the second network, before it is known: %+v", all)
		}
	}
	n.Learn()
	ended := 0
	for _, e := range n.Events {
		if e.Kind == hub.FlowEnd {
			ended++
			if e.Session.VNet != route.DefaultVNet || e.Session.OffRamp != connector {
				t.Errorf("ended: %+v", e.Session)
			}
		}
		if e.Kind == hub.FlowStart && (e.Session.VNet != route.DefaultVNet+1 || e.Session.OffRamp != connector+1) {
			t.Errorf("started: %+v", e.Session)
		}
	}
	if c := n.Counters(); ended != 40 || c.Flows != 40 {
		t.Errorf("%d flows of the old network ended and %d live, want 40 and 40", ended, c.Flows)
	}
}

// TestUnattached: packets to a device that is nowhere are dropped with a reason.
func TestUnattached(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Devices: 1})
	dst := netip.AddrPortFrom(hubtest.DeviceAddr(device), 80)
	if all := n.FromSite(1, hubtest.IP{Src: hubtest.Till, Dst: dst}.UDP()); len(all) != 0 || n.Counters().Drops[drop.Unattached] != 1 {
		t.Errorf("%+v, drops %v", all, n.Counters().Drops)
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

// TestPrivateHistories: over long random histories of flows from everywhere to
// everywhere, with devices that connect elsewhere, servers that leave and come
// back, and timers, an answer comes to who asked, or to nobody; every packet is
// counted once, and every flow starts and ends once. DESIGN 7, 1, 3, 4 and 5.
func TestPrivateHistories(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { privateHistory(t, seed) })
	}
}

func privateHistory(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	collision := hub.CollisionReject
	if seed%2 == 1 {
		collision = hub.CollisionSNAT
	}
	n := private(t, hubtest.Options{
		ARR: hubtest.All, Sites: 3, Devices: 2, Connectors: 2, Interconnects: 2, Translate: seed%3 == 0,
		Edit: func(c *hub.Config) { c.Tenants[0].Collision = collision },
	})
	askers := []ident.OnRamp{1, 2, 3, plainLink, plainLink + 1, device, device + 1}
	targets := []netip.AddrPort{hubtest.Web, hubtest.Host, netip.AddrPortFrom(hubtest.DeviceAddr(device), 22), netip.AddrPortFrom(hubtest.DeviceAddr(device+1), 22)}
	answered := 0
	for step := range 600 {
		n.Now = n.Now.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
		switch r.IntN(30) {
		case 0:
			n.Connect(device+ident.OnRamp(r.IntN(2)), route.DefaultVNet+ident.VNet(r.IntN(2)))
		case 1:
			n.Reconfigure(func(c *hub.Config) {
				for i := range c.Servers {
					c.Servers[i].WasLive = c.Servers[i].Live
				}
				i := r.IntN(len(c.Servers))
				c.Servers[i].Live = !c.Servers[i].Live || i%2 == 0
			})
		case 2:
			n.Now = n.Now.Add(time.Hour)
			n.Timer()
		}
		asker, to := askers[r.IntN(len(askers))], targets[r.IntN(len(targets))]
		src := netip.AddrPortFrom(hubtest.Till.Addr(), 40000+uint16(r.IntN(3)))
		if asker >= device {
			src = netip.AddrPortFrom(hubtest.DeviceAddr(asker), src.Port())
		}
		if src.Addr() == to.Addr() {
			continue
		}
		payload := binary.BigEndian.AppendUint32(nil, uint32(step))
		for _, a := range n.FromSite(asker, hubtest.IP{Src: src, Dst: to, Payload: payload}.UDP()) {
			v := hubtest.Decode(a.Packet)
			if v.Src.Addr() != to.Addr() || !bytes.Equal(v.Payload, payload) {
				continue // the question, on its way
			}
			if a.Site != asker {
				t.Fatalf("step %d: on-ramp %d asked %v, and %d got the answer", step, asker, to, a.Site)
			}
			answered++
		}
	}
	if answered < 300 {
		t.Errorf("%d of 600 answered: drops %v", answered, n.Counters().Drops)
	}
	n.Now = n.Now.Add(24 * time.Hour)
	n.Timer()
	counts := map[[16]byte][2]int{}
	for _, e := range n.Events {
		x := counts[sessionOf(e)]
		switch e.Kind {
		case hub.FlowStart:
			x[0]++
		case hub.FlowEnd:
			x[1]++
		default:
			continue
		}
		counts[sessionOf(e)] = x
	}
	for id, x := range counts {
		if x != [2]int{1, 1} {
			t.Errorf("session %x started and ended %v times", id, x)
		}
	}
	c := n.Counters()
	sum := c.Forwarded + c.Returned + c.HandedOver + c.Delivered + c.Routed + c.Answered + c.Held
	for _, d := range c.Drops {
		sum += d
	}
	if sum != c.Packets {
		t.Errorf("%d packets and %d counted", c.Packets, sum)
	}
}

func sessionOf(e hub.Event) [16]byte {
	if e.Session == nil {
		return [16]byte{}
	}
	return e.Session.ID
}
