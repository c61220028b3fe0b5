package hubtest

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// The first on-ramp numbers of what is no site with a GRE tunnel.
const (
	FirstDevice       ident.OnRamp = 1001
	FirstConnector    ident.OnRamp = 2001
	FirstInterconnect ident.OnRamp = 501
)

// Private is what is behind every connector, Host in it.
var (
	Private = netip.MustParsePrefix("10.9.0.0/16")
	Host    = netip.MustParseAddrPort("10.9.0.10:443")
)

// Secret signs contexts.
var Secret = []byte("of the network in memory")

// DeviceAddr is a device's own address.
func DeviceAddr(id ident.OnRamp) netip.Addr {
	return netip.AddrFrom4([4]byte{100, 96, 0, byte(id - FirstDevice + 1)})
}

// sourceOf is the network's own source of a server.
func sourceOf(server ident.Server) netip.Addr {
	return netip.AddrFrom4([4]byte{100, 64, 0, byte(server)})
}

func registration(id ident.OnRamp) (r hub.Registration) {
	r[0], r[14], r[15] = 1, byte(id>>8), byte(id)
	return r
}

// private adds what is no site with a GRE tunnel.
func (o Options) private(c *hub.Config) {
	c.Unconnected = []netip.Addr{Unconnected}
	c.Tenants[0].Secret = Secret
	for _, s := range c.Servers {
		c.Sources = append(c.Sources, hub.Source{Addr: sourceOf(s.ID), Server: s.ID})
	}
	ramp := func(id ident.OnRamp, kind tunnel.Kind) *hub.OnRamp {
		c.OnRamps = append(c.OnRamps, hub.OnRamp{
			ID: id, Name: string(kind), Tenant: 1, VNet: 1, Scope: ident.Scope(id), Kind: kind, Local: Tunnel, ARR: true, Registration: registration(id),
		})
		return &c.OnRamps[len(c.OnRamps)-1]
	}
	for i := range o.Interconnects {
		r := ramp(FirstInterconnect+ident.OnRamp(i), tunnel.Interconnect)
		r.Local, r.Remote, r.Registration = Unconnected, Edge, hub.Registration{}
		r.ARR = o.ARR != nil && o.ARR(int(r.ID))
	}
	for i := range max(o.Connectors, 1) {
		vnet := route.DefaultVNet + ident.VNet(i)
		c.Tenants[0].VNets = append(c.Tenants[0].VNets, hub.VNet{ID: vnet, Name: "vnet", Default: i == 0})
	}
	zt := func(prefix netip.Prefix, vnet ident.VNet, hop ident.OnRamp) {
		c.Routes = append(c.Routes, route.Route{ID: "zt", Tenant: 1, VNet: vnet, Prefix: prefix, NextHop: hop, Priority: 100, Plane: route.ZT})
	}
	for i := range o.Devices {
		r := ramp(FirstDevice+ident.OnRamp(i), tunnel.Device)
		r.Client = DeviceAddr(r.ID)
		for _, v := range c.Tenants[0].VNets {
			zt(netip.PrefixFrom(r.Client, 32), v.ID, r.ID)
		}
	}
	for i := range o.Connectors {
		r := ramp(FirstConnector+ident.OnRamp(i), tunnel.Connector)
		r.VNet, r.Translate = c.Tenants[0].VNets[i].ID, o.Translate
		zt(Private, r.VNet, r.ID)
	}
}

// Context is the first datagram of a device's or connector's tunnel.
func Context(r *hub.OnRamp, vnet ident.VNet) []byte {
	c := tunnel.Context{Kind: r.Kind, Tenant: r.Tenant, VNet: vnet, Registration: r.Registration}
	if err := c.Sign(Secret); err != nil {
		panic(err)
	}
	b, err := c.Append(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// Connect opens the tunnel of a device or connector, from another port each
// time, and returns what came back.
func (n *Net) Connect(id ident.OnRamp, vnet ident.VNet) []Arrival {
	at, ok := n.at[id]
	if !ok {
		at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(id >> 8), byte(id)}), 29999)
	}
	n.at[id] = netip.AddrPortFrom(at.Addr(), at.Port()+1)
	r := n.ramp(id)
	return n.Send(n.datagram(r, Context(r, vnet)))
}

// Datagram sends a datagram from the address at which a device or connector is.
func (n *Net) Datagram(id ident.OnRamp, b []byte) []Arrival { return n.Send(n.datagram(n.ramp(id), b)) }

func (n *Net) datagram(r *hub.OnRamp, b []byte) []byte {
	return IP{Src: n.at[r.ID], Dst: netip.AddrPortFrom(r.Local, tunnel.ConnectedPort), Payload: b}.UDP()
}

func (n *Net) ramp(id ident.OnRamp) *hub.OnRamp {
	for i := range n.Config.OnRamps {
		if n.Config.OnRamps[i].ID == id {
			return &n.Config.OnRamps[i]
		}
	}
	panic("hubtest: no such on-ramp")
}

// wrap puts a packet into the tunnel of r, as its other end does.
func (n *Net) wrap(r *hub.OnRamp, inner []byte) []byte {
	switch r.Kind {
	case tunnel.Device, tunnel.Connector:
		return n.datagram(r, inner)
	case tunnel.Interconnect:
		return GUE(r.Remote, r.Local, tunnel.GUEContext{OnRamp: r.ID, Tenant: r.Tenant}, inner)
	}
	return GRE(r.Remote, r.Local, r.Key, inner)
}

// GUE wraps a packet with its context.
func GUE(src, dst netip.Addr, c tunnel.GUEContext, inner []byte) []byte {
	e := tunnel.Encap{Proto: tunnel.ViaGUE, Src: src, Dst: dst, SrcPort: 50000, DstPort: tunnel.GUEPort, Context: c}
	return e.Append(nil, inner)
}

// arrival reads a packet that left the network.
func (n *Net) arrival(packet []byte) Arrival {
	a, v := Arrival{Packet: packet}, Decode(packet)
	for _, r := range n.Config.OnRamps {
		switch {
		case r.Kind == tunnel.GRE:
			if v.GRE != nil && v.Src.Addr() == r.Local && v.Dst.Addr() == r.Remote && (r.Key == nil && !v.GRE.KeyPresent || r.Key != nil && v.GRE.KeyPresent && *r.Key == v.GRE.Key) {
				a.Site, a.Packet = r.ID, v.Payload
			}
		case r.Kind == tunnel.Interconnect:
			if v.Proto == 17 && v.Dst == netip.AddrPortFrom(Edge, tunnel.GUEPort) {
				if h, reason := tunnel.ParseGUE(v.Payload); reason == 0 && h.Context.OnRamp == r.ID && h.Context.Return {
					a.Site, a.Packet = r.ID, v.Payload[h.Len:]
				}
			}
		case v.Proto == 17 && v.Dst == n.at[r.ID] && v.Src == netip.AddrPortFrom(r.Local, tunnel.ConnectedPort):
			a.Site, a.Packet = r.ID, v.Payload
			if answer, _, ok := tunnel.ParseAnswer(v.Payload); ok {
				a.Answer = answer
			}
		}
	}
	return a
}

// listen notes what a server says of devices and connectors.
func (n *Net) listen(server ident.Server, events []hub.Event) {
	for _, e := range events {
		if a, ok := e.Attachment(server); ok {
			n.news = append(n.news, a)
		}
	}
}

// Learn lets all servers learn where devices and connectors are.
func (n *Net) Learn() {
	if len(n.news) == 0 {
		return
	}
	for _, id := range n.order {
		n.out.Reset()
		n.Hubs[id].Learn(n.Now, n.news, &n.out)
		n.Events = append(n.Events, n.out.Events...)
	}
	n.news = nil
}
