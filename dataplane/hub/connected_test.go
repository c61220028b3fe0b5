package hub_test

import (
	"bytes"
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

// inside is a server by itself, with sockets of devices inside it.
type inside struct {
	c   hub.Config
	h   *hub.Hub
	out hub.Out
}

func newInside(t *testing.T) *inside {
	t.Helper()
	s := &inside{c: hubtest.Options{Devices: 2, Datacenters: 1, Servers: 1}.Config()}
	var err error
	if s.h, err = hub.New(s.c); err != nil {
		t.Fatal(err)
	}
	return s
}

// send gives the server a datagram of a socket; port 0 is its uplink.
func (s *inside) send(port hub.Port, data []byte) {
	s.out.Reset()
	s.h.HandlePacket(1, &hub.Packet{Data: bytes.Clone(data), Port: port}, &s.out)
}

func (s *inside) ramp(id ident.OnRamp) hub.OnRamp {
	return s.c.OnRamps[slices.IndexFunc(s.c.OnRamps, func(o hub.OnRamp) bool { return o.ID == id })]
}

// TestOX1: of a connected tunnel the first datagram is never a packet, and the
// second is one. What is wrong with a first datagram closes that tunnel alone.
// SEMANTICS 4.5.
func TestOX1(t *testing.T) {
	s := newInside(t)
	r := s.ramp(device)
	packet := hubtest.IP{Src: netip.AddrPortFrom(hubtest.DeviceAddr(device), 1), Dst: hubtest.Web}.UDP()
	first := hubtest.Context(&r, 0)
	r.Tenant = 7
	bad := map[string][]byte{
		"empty": nil, "a packet": packet, "garbage": []byte("garbage"), "cut off": first[:len(first)-1], "unknown tenant": hubtest.Context(&r, 0),
	}
	s.send(1, first)
	if out := &s.out; len(out.Send) != 0 || len(out.Hangup) != 0 || len(out.Events) != 1 || out.Events[0].Kind != hub.Attached || out.Events[0].OnRamp != device {
		t.Fatalf("the first datagram: %+v", out)
	}
	port := hub.Port(2)
	for name, datagram := range bad {
		s.send(port, datagram)
		if len(s.out.Send) != 0 || !slices.Equal(s.out.Hangup, []hub.Port{port}) {
			t.Errorf("%s first: sent %d, hung up %v", name, len(s.out.Send), s.out.Hangup)
		}
		s.send(port, packet) // before the driver has closed it
		if len(s.out.Send) != 0 || len(s.out.Hangup) != 0 {
			t.Errorf("%s, after it: sent %d, hung up %v", name, len(s.out.Send), s.out.Hangup)
		}
		port++
	}
	s.send(1, packet)
	if len(s.out.Send) != 1 || len(s.out.Hangup) != 0 {
		t.Fatalf("the second datagram of the good tunnel: %+v", s.out)
	}
	s.send(1, first)
	if len(s.out.Send) != 0 || s.h.Counters().Drops[drop.BadTunnel] != 1 {
		t.Errorf("a context later: sent %d, drops %v", len(s.out.Send), s.h.Counters().Drops)
	}
}

// TestAnotherSocket: replies go into the socket that a device opened last, which
// closes the one before; and nowhere when that is closed too.
func TestAnotherSocket(t *testing.T) {
	s := newInside(t)
	r := s.ramp(device)
	first := hubtest.Context(&r, 0)
	s.send(1, first)
	s.send(1, hubtest.IP{Src: netip.AddrPortFrom(hubtest.DeviceAddr(device), 1), Dst: hubtest.Web}.UDP())
	if len(s.out.Send) != 1 {
		t.Fatalf("a packet: %+v", s.out)
	}
	reply := hubtest.IP{Src: hubtest.Web, Dst: hubtest.Decode(s.out.Send[0].Data).Src}.UDP()
	s.send(0, reply)
	if len(s.out.Send) != 1 || s.out.Send[0].Port != 1 || !s.out.Send[0].Encap.IsZero() {
		t.Fatalf("the reply: %+v", s.out.Send)
	}
	s.send(2, first)
	s.out.Reset()
	s.h.HandleTimer(1, &s.out)
	if !slices.Equal(s.out.Hangup, []hub.Port{1}) {
		t.Errorf("the first tunnel: hung up %v", s.out.Hangup)
	}
	s.out.Reset()
	s.h.Closed(1, 1, &s.out)
	s.send(0, reply)
	if len(s.out.Send) != 1 || s.out.Send[0].Port != 2 {
		t.Errorf("the reply: %+v", s.out.Send)
	}
	s.out.Reset()
	s.h.Closed(2, 2, &s.out)
	if len(s.out.Events) != 1 || s.out.Events[0].Kind != hub.Detached {
		t.Errorf("closed: %+v", s.out.Events)
	}
	s.send(0, reply)
	if len(s.out.Send) != 0 || s.h.Counters().Drops[drop.Unattached] != 1 {
		t.Errorf("a reply to nobody: %+v", s.out.Send)
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
	ended := ends(n)
	for _, s := range ended {
		if s.VNet != route.DefaultVNet || s.OffRamp != connector {
			t.Errorf("ended: %+v", s)
		}
	}
	for _, s := range starts(n) {
		if s.VNet != route.DefaultVNet+1 || s.OffRamp != connector+1 {
			t.Errorf("started: %+v", s)
		}
	}
	if c := n.Counters(); len(ended) != 40 || c.Flows != 40 {
		t.Errorf("%d flows of the old network ended and %d live, want 40 and 40", len(ended), c.Flows)
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

// TestHangupOrder: tunnels inside the server that a configuration has no place for
// are closed in the order of their ports, in every run.
func TestHangupOrder(t *testing.T) {
	const devices = 8
	c := hubtest.Options{Devices: devices, Datacenters: 1, Servers: 1}.Config()
	h, err := hub.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var out hub.Out
	var want []hub.Port
	for i := range c.OnRamps {
		if r := &c.OnRamps[i]; r.Kind == tunnel.Device {
			want = append(want, hub.Port(len(want)+1))
			h.HandlePacket(1, &hub.Packet{Data: hubtest.Context(r, 0), Port: want[len(want)-1]}, &out)
		}
	}
	c.Routes = nil
	c.OnRamps = slices.DeleteFunc(c.OnRamps, func(o hub.OnRamp) bool { return o.Kind == tunnel.Device })
	if err := h.Reconfigure(2, c); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	h.HandleTimer(2, &out)
	if len(want) != devices || !slices.Equal(out.Hangup, want) {
		t.Errorf("closed %v, want %v", out.Hangup, want)
	}
}
