package plan

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// interconnect links a site's router to the edge of the datacenter that serves
// it, without a tunnel. The link's addresses are those of a tunnel interface,
// and the edge's kernel has none on it: what the site sends goes to the servers
// in GUE, and never by the edge's own routes.
func (b *builder) interconnect(r *branch, o spec.OnRamp, tenant ident.Tenant, path string) {
	d := r.town.serves
	if d == nil {
		b.fail(path, "no path leads from %s to a datacenter: want one to link to", r.town.code)
		return
	}
	peer, inner, ok := b.inner.pair()
	if !ok {
		b.fail(path, "too many tunnels: %v is used up", b.inner.prefix)
	}
	if o.MTU > mtuPlain {
		b.fail(path+".mtu", "%d: the link passes %d bytes", o.MTU, mtuPlain)
	}
	if !d.unconnected.IsValid() {
		d.unconnected = advance(edgeFirst, int(d.ID)-1)
		if !d.unconnected.Less(handoverFirst) {
			b.fail(path, "too many datacenters with interconnects: addresses from %v to %v are used up", edgeFirst, handoverFirst)
		}
		d.edge.Loopback = append(d.edge.Loopback, host(d.unconnected))
	}
	l := b.link(ClassAccess, r.node, d.edge, delay(r.pos, d.pos))
	if o.MTU != 0 {
		l.MTU = o.MTU
	}
	peer6, inner6 := b.inner6(r, l.MTU, path)
	vnet, _ := b.accounts[tenant-1].vnet("")
	made := b.ramp(hub.OnRamp{
		Name: r.Site + "." + o.ID, Tenant: tenant, VNet: vnet.ID, Kind: tunnel.Interconnect, Local: unconnectedAddr, Remote: d.unconnected,
		Address: peer, Address6: peer6, ARR: o.ARR, MTU: l.MTU, Country: r.country,
	})
	gateway := mac(macTunnel, int(made.ID), 2)
	l.VLAN = o.VLAN
	l.A.Addresses, l.A.Neighbors, l.A.NeighborMAC = []netip.Prefix{netip.PrefixFrom(inner, 31)}, append(l.A.Neighbors, peer), gateway
	l.B.Neighbors = append(l.B.Neighbors, inner)
	hop := Hop{Interface: l.A.Interface, Via: peer}
	if inner6.IsValid() {
		l.A.Addresses, l.A.Neighbors = append(l.A.Addresses, netip.PrefixFrom(inner6, 127)), append(l.A.Neighbors, peer6)
		l.B.Neighbors = append(l.B.Neighbors, inner6)
		hop.Via = peer6
	}
	r.crossing[l] = append(r.crossing[l], made.Name)
	r.ways = append(r.ways, way{made.Name, hop, inner, peer})
	b.plain = append(b.plain, l)
	b.p.Interconnects = append(b.p.Interconnects, Interconnect{
		OnRamp: made.ID, Tenant: tenant, Name: made.Name, Edge: d.edge.ID, Interface: l.B.Interface, VLAN: o.VLAN,
		Local: d.unconnected, Remote: unconnectedAddr, MAC: gateway,
	})
}
