package plan

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// connectors makes the routers of private networks, their tunnels and hosts.
func (b *builder) connectors() {
	if len(b.dcs) == 0 {
		return
	}
	for i := range b.s.Connectors {
		b.connector(&b.s.Connectors[i], at("connectors", i))
	}
}

// connector makes one private network behind an outbound tunnel.
func (b *builder) connector(s *spec.Connector, path string) {
	if !b.prefix(path+".lan", s.Lan) {
		return
	}
	if kept, into := route.ReservedBy(s.Lan); into {
		b.fail(path+".lan", "%v is in %v, which is reserved for %s", s.Lan, kept.Prefix, kept.For)
	} else if !spec.IsPrivate(s.Lan) {
		b.fail(path+".lan", "%v is not private: want a part of %s", s.Lan, spec.PrivateRanges)
	}
	tenant, ok := b.tenant(path, s.Account)
	if !ok {
		return
	}
	a := b.accounts[tenant-1]
	vnet, chosen := b.choice(a, path+".vnet", s.VNet)
	r := b.router(path, s.Near, Node{ID: s.ID + ".router", Kind: KindConnector, Site: s.ID, Account: a.name, LAN: s.Lan, Forward: true})
	b.access(r)
	private := network{s.Lan, s.Gateway, s.Hosts}
	gateway := b.gateway(path, private)
	preserve := s.Source == spec.Preserve
	if !preserve {
		r.nat = b.natAddress(path, private, gateway)
	}
	b.lanHosts(r, path, private, gateway)
	peer, inner, ok := b.inner.pair()
	if !ok {
		b.fail(path, "too many tunnels: %v is used up", b.inner.prefix)
	}
	mtu := b.tunnelMTU(path, s.MTU, connectedEncap(r))
	peer6, inner6 := b.inner6(r, mtu, path)
	o := b.connectedRamp(r, hub.OnRamp{
		Name: s.ID, Tenant: tenant, VNet: vnet, Kind: tunnel.Connector, Address: peer, Address6: peer6, MTU: mtu,
		Translate: !preserve, ARR: !a.legacy(),
	})
	b.tunnel(r, r.link, o, BranchTunnel{Interface: "con1", Local: r.outer(), Inner: inner, Inner6: inner6, Connect: &Connect{
		Port: tunnel.ConnectedPort, Context: b.context(path, &o, chosen), NAT: r.nat,
	}})
}

// natAddress is the connector's second address in its LAN, to which it
// translates sources: the first that neither a host nor the gateway has.
func (b *builder) natAddress(path string, n network, gateway netip.Addr) netip.Addr {
	a := n.free(gateway)
	if !a.IsValid() {
		b.fail(path+".lan", "%v has no address left that sources are translated to: want a wider lan, or source: preserve", n.lan)
	}
	return a
}
