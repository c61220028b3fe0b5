package plan

import (
	"math"
	"net/netip"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// servers writes every server's configuration.
func (b *builder) servers() {
	common := hub.Config{
		Epoch:   1,
		Seed:    b.p.Seed,
		Tunnels: []netip.Addr{tunnelAddr},
		Timers:  timers(b.s.Timers),
		Bounds:  hub.Bounds{Flows: b.s.Bounds.Flows},
		Trace:   true,
	}
	if len(b.p.Interconnects) > 0 {
		common.Unconnected = []netip.Addr{unconnectedAddr}
	}
	common.Countries = b.countries()
	for _, m := range b.origin {
		if m.replica && m.node.Datacenter == b.dcs[0].Name {
			common.Proxied = append(common.Proxied, host(m.addr))
		}
	}
	for _, d := range b.dcs {
		for _, s := range d.servers {
			common.Servers = append(common.Servers, hub.Server{
				ID: s.id, Name: s.node.ID, Datacenter: d.ID, Handover: s.handover, Live: true,
			})
			common.Sources = append(common.Sources, b.sources(s)...)
		}
		common.Egress = append(common.Egress, d.directory...)
	}
	var routes []planned
	for _, a := range b.accounts {
		common.Tenants = append(common.Tenants, hub.Tenant{
			ID: a.id, Name: a.name, FlowKey: hub.FlowKey(a.FlowKey), Orphan: hub.Orphan(a.Orphan),
			Collision: hub.Collision(a.Collision), OnExhaustion: hub.OnExhaustion(a.OnExhaustion),
			Legacy: a.legacy(), Secret: b.secretOf(a), VNets: a.vnets(), Policies: b.policies(a),
		})
		routes = append(routes, b.routes(a)...)
	}
	for _, r := range b.ramps {
		common.OnRamps = append(common.OnRamps, r.OnRamp)
	}
	common.Groups = b.groups
	for _, d := range b.dcs {
		local := b.routesOf(d, routes)
		distances := b.distances(d)
		for _, s := range d.servers {
			c := common
			c.Self, c.Routes = s.id, local
			if b.departs() {
				c.Distances = distances
			}
			b.p.Servers = append(b.p.Servers, Server{
				Node: s.node.ID, Datacenter: d.Name, Index: s.index,
				Interface: s.link.A.Interface, Handover: s.handover, Config: c,
			})
		}
	}
	for _, r := range b.branch {
		b.p.Branches = append(b.p.Branches, r.Branch)
	}
}

// scaled is a time, or what stands for it if it is not given, times the scale; the
// longest duration where that is more.
func scaled(t spec.Timers, d unit.Duration, standard time.Duration) time.Duration {
	scale := t.Scale
	if scale == 0 {
		scale = 1
	}
	if d != 0 {
		standard = d.D()
	}
	ns := float64(standard) * scale
	if ns >= math.MaxInt64 { // what a conversion makes of it differs by processor
		return math.MaxInt64
	}
	return max(time.Duration(ns), 1) // zero would mean the default again
}

// timers fills in the defaults of SEMANTICS 1.9 and 5.5 and scales them.
func timers(t spec.Timers) hub.Timers {
	of := func(d unit.Duration, standard time.Duration) time.Duration { return scaled(t, d, standard) }
	return hub.Timers{
		TCPConnect:     of(t.TCPConnect, 30*time.Second),
		TCPEstablished: of(t.TCPEstablished, 8*time.Hour),
		TCPTransitory:  of(t.TCPTransitory, 240*time.Second),
		UDP:            of(t.UDP, 300*time.Second),
		DNS:            of(t.DNS, 10*time.Second),
		ICMP:           of(t.ICMP, 60*time.Second),
		PortHold:       of(t.PortHold, 60*time.Second),
	}
}

// Timers are a scenario's, with their defaults and scale, as servers have them.
func Timers(t spec.Timers) hub.Timers { return timers(t) }

// BGPHold is the hold time of BGP sessions between routers, scaled.
func BGPHold(t spec.Timers) time.Duration {
	return max(scaled(t, t.BGPHold, standardHold).Round(time.Second), minHold)
}
