package conform

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// World is a network in which decisions differ: on-ramps with and without ARR,
// key, group and tuple key, tunnels of several sizes and over both families, and
// two datacenters. Config is that of server 1, the one under test.
type World struct {
	Config hub.Config
	// Offloads also draws packets whose sender's kernel left things undone:
	// superpackets of TCP, and checksums of which only the pseudo header's sum is
	// there. Only a server that gets them from a link can be given them.
	Offloads bool
}

// On-ramps of the world by number. rampOff is without ARR; rampGroup and
// rampBackup are one site's; rampTuple and rampTuple2 are of a tenant whose
// forward keys leave the on-ramp out; ramp6 has a tunnel over IPv6; rampPlain is an
// interconnect, whose packets reach this server handed over.
const (
	rampFirst ident.OnRamp = iota + 1
	rampKeyed
	rampKey0
	rampOff
	rampGroup
	rampBackup
	rampTuple
	rampTuple2
	ramp6
	rampPlain
	ramps
)

var (
	anycast      = netip.MustParseAddr("192.0.2.1")
	anycast6     = netip.MustParseAddr("2001:db8:2::1")
	unconnected  = netip.MustParseAddr("192.0.2.2")
	lan          = netip.MustParsePrefix("10.0.1.0/24")
	lan6         = netip.MustParsePrefix("fd00:0:0:1::/64")
	insideRouter = netip.MustParseAddr("198.18.255.1")
)

const perDatacenter = 3

// NewWorld returns the world. With trace its servers tell what the hub tells.
func NewWorld(seed uint64, trace bool) (*World, error) {
	c := hub.Config{
		Epoch: 1, Seed: seed, Self: 1, Trace: trace,
		Tunnels: []netip.Addr{anycast, anycast6}, Unconnected: []netip.Addr{unconnected},
		Tenants: []hub.Tenant{
			{ID: 1, Name: "acme", OnExhaustion: hub.ExhaustionAnotherServer},
			{ID: 2, Name: "tuple", FlowKey: hub.FlowKeyTuple, OnExhaustion: hub.ExhaustionAnotherServer, Orphan: hub.OrphanReset},
		},
		Groups: []hub.Group{{Members: []ident.OnRamp{rampGroup, rampBackup}, Repin: time.Hour}},
		Timers: hub.Timers{TCPConnect: time.Hour, TCPTransitory: time.Hour, UDP: time.Hour, DNS: time.Hour, ICMP: time.Hour, PortHold: time.Hour},
	}
	for dc := ident.Datacenter(1); dc <= 2; dc++ {
		if err := addDatacenter(&c, dc); err != nil {
			return nil, err
		}
	}
	for id := rampFirst; id < ramps; id++ {
		c.OnRamps = append(c.OnRamps, onRamp(id))
	}
	for _, prefix := range []netip.Prefix{lan, lan6} {
		for i, hop := range []ident.OnRamp{rampOff, rampTuple} {
			c.Routes = append(c.Routes, route.Route{ID: fmt.Sprintf("lan%d", i), Tenant: ident.Tenant(i + 1), VNet: 1, Prefix: prefix, NextHop: hop, Priority: 100})
		}
	}
	return &World{Config: c}, nil
}

func addDatacenter(c *hub.Config, dc ident.Datacenter) error {
	var servers []ident.Server
	for i := range perDatacenter {
		id := ident.Server(len(c.Servers) + 1)
		servers = append(servers, id)
		c.Servers = append(c.Servers, hub.Server{
			ID: id, Name: fmt.Sprintf("dc%d.%d", dc, i+1), Datacenter: dc, Live: true, Was: was(id),
			Handover: netip.AddrFrom4([4]byte{172, 31, byte(dc), byte(i + 1)}),
		})
	}
	addresses := []netip.Addr{
		netip.AddrFrom4([4]byte{198, 51, byte(100 + dc), 1}), netip.AddrFrom4([4]byte{198, 51, byte(100 + dc), 2}),
	}
	six, err := egress.Hosts(netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 100, 0, byte(dc)}), 64), len(servers))
	if err != nil {
		return err
	}
	assigned, err := egress.Assign(dc, append(addresses, six...), servers)
	if err == nil && dc == 2 {
		assigned[0].Was[1] = c.Self // it moves, and drains
	}
	c.Egress = append(c.Egress, assigned...)
	return err
}

// was has server 1 join last: the second hop of its buckets are servers 2 and 3.
func was(id ident.Server) uint64 {
	if id == 1 {
		return 0
	}
	return 1
}

func onRamp(id ident.OnRamp) hub.OnRamp {
	r := hub.OnRamp{
		ID: id, Name: fmt.Sprintf("site%d", id), Tenant: 1, VNet: 1, Scope: ident.Scope(100 + id), Kind: tunnel.GRE,
		Local: anycast, Remote: netip.AddrFrom4([4]byte{198, 18, 0, byte(id)}), ARR: id != rampOff,
	}
	key := func(k uint32) *uint32 { return &k }
	switch id {
	case rampKeyed:
		r.Key, r.MTU, r.Remote = key(0xc0ffee11), 1000, netip.AddrFrom4([4]byte{198, 18, 0, byte(rampFirst)})
	case rampKey0:
		r.Key, r.VNet, r.Address = key(0), 2, insideRouter
	case rampBackup:
		r.MTU = 1280
	case rampTuple, rampTuple2:
		r.Tenant = 2
	case ramp6:
		r.Local, r.Remote = anycast6, netip.MustParseAddr("2001:db8:18::9")
	case rampPlain:
		r.Kind, r.Local, r.Remote, r.MTU = tunnel.Interconnect, unconnected, netip.MustParseAddr("172.31.255.1"), 1500
	}
	return r
}
