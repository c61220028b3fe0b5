package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// devices makes client devices. The n-th device of an account has the n-th
// address of the range of devices, so that accounts have the same ones.
func (b *builder) devices() {
	if len(b.dcs) == 0 {
		return
	}
	count := map[ident.Tenant]int{}
	for i := range b.s.Devices {
		s, path := &b.s.Devices[i], at("devices", i)
		tenant, ok := b.tenant(path, s.Account)
		if !ok {
			continue
		}
		count[tenant]++
		address := advance(deviceRange.Addr(), count[tenant])
		if !usable(deviceRange, address) {
			b.fail(path, "too many devices in account %s: %v is used up", b.accountName(tenant), deviceRange)
			return
		}
		b.device(s, path, tenant, address)
	}
}

// device makes one device: a node whose default route is its tunnel.
func (b *builder) device(s *spec.Device, path string, tenant ident.Tenant, address netip.Addr) {
	a := b.accounts[tenant-1]
	vnet, chosen := b.choice(a, path+".vnet", s.VNet)
	id := s.ID + "." + strconv.Itoa(max(s.Instance, 1))
	r := b.router(path, s.Near, Node{ID: id, Kind: KindDevice, Account: a.name, Address: address})
	r.country = cmp.Or(strings.ToUpper(s.Country), r.country)
	b.access(r)
	if !b.devicePeer.IsValid() {
		b.devicePeer, _, _ = b.inner.pair()
	}
	o := b.connectedRamp(r, hub.OnRamp{
		Name: id, Tenant: tenant, VNet: vnet, Kind: tunnel.Device, Address: b.devicePeer,
		MTU: b.tunnelMTU(path, s.MTU, connectedEncap(r)), Client: address, User: s.User, ARR: !a.legacy(),
	})
	c := &Connect{Port: tunnel.ConnectedPort, Context: b.context(path, &o, chosen)}
	for i, w := range s.Switch {
		_, chosen := b.choice(a, at(path+".switch", i)+".vnet", w.VNet)
		c.Switch = append(c.Switch, Reconnect{At: w.At.D(), Context: b.context(path, &o, chosen)})
	}
	b.tunnel(r, r.link, o, BranchTunnel{Interface: "dev1", Local: r.outer(), Inner: address, Connect: c})
	b.hosts = append(b.hosts, &machine{node: r.node, addr: address, branch: r, town: r.town})
}

// choice is the virtual network of a name, and what a context says of it: 0 for
// no choice, which follows the default one wherever it moves (SEMANTICS VN-3).
func (b *builder) choice(a account, path, name string) (vnet, chosen ident.VNet) {
	v, ok := a.vnet(name)
	if !ok {
		b.fail(path, "no virtual network is called %q", name)
	}
	if name == "" {
		return v.ID, 0
	}
	return v.ID, v.ID
}

// outer is the router's own address on its access link.
func (r *branch) outer() netip.Addr { return r.link.A.Addresses[0].Addr() }

// connectedEncap is what a connected tunnel writes in front of a packet.
func connectedEncap(r *branch) *tunnel.Encap {
	return &tunnel.Encap{Src: r.outer(), Dst: tunnelAddr, Proto: tunnel.ViaUDP}
}

// connectedRamp makes the on-ramp of a connected tunnel. Its outer address is
// the router's business: it may connect from anywhere.
func (b *builder) connectedRamp(r *branch, o hub.OnRamp) hub.OnRamp {
	o.Local, o.Country = tunnelAddr, r.country
	o.Registration = hub.Registration(b.digest("registration", b.accountName(o.Tenant), o.Name)[:tunnel.RegistrationLen])
	return b.ramp(o)
}

// context is the first datagram of a connected tunnel (SEMANTICS 4.1), signed as
// the account's devices and connectors do.
func (b *builder) context(path string, o *hub.OnRamp, chosen ident.VNet) tunnel.Context {
	c := tunnel.Context{
		Kind: o.Kind, Tenant: o.Tenant, VNet: chosen, Registration: o.Registration, Country: o.Country, User: o.User,
	}
	if err := c.Sign(b.secret(o.Tenant)); err != nil {
		b.fail(path, "%v", err)
	}
	return c
}

// secret is the account's key for contexts.
func (b *builder) secret(id ident.Tenant) []byte { return b.digest("secret", b.accountName(id)) }

// secretOf is the account's key, if it has tunnels that need one.
func (b *builder) secretOf(a account) []byte {
	for _, r := range b.ramps {
		if r.Tenant == a.id && r.Registration != (hub.Registration{}) {
			return b.secret(a.id)
		}
	}
	return nil
}

// connected says whether anything is connected: devices or connectors.
func (b *builder) connected() bool { return len(b.s.Devices)+len(b.s.Connectors) > 0 }

// digest is 32 bytes that depend on the seed and the words alone. They make
// secrets and ids of a lab, which protect nothing beyond it.
func (b *builder) digest(words ...string) []byte {
	text := binary.BigEndian.AppendUint64(nil, b.p.Seed)
	for _, w := range words {
		text = binary.BigEndian.AppendUint32(text, uint32(len(w)))
		text = append(text, w...)
	}
	sum := sha256.Sum256(text)
	return sum[:]
}

// impliedRoutes are those that nobody writes: to each device's address in every
// virtual network of its account, and to each connector's private network in the
// connector's own, unless a written route names the connector.
func (b *builder) impliedRoutes(a account, written []planned) []planned {
	named := map[ident.OnRamp]bool{}
	for _, r := range written {
		named[r.NextHop] = true
	}
	var all []planned
	add := func(path string, o *hub.OnRamp, vnet ident.VNet, to netip.Prefix) {
		r := planned{path: path}
		r.Route = route.Route{
			ID: to.String() + " via " + o.Name, Tenant: a.id, VNet: vnet, Prefix: to, NextHop: o.ID,
			Priority: route.BasePriority, Source: route.Static, Plane: route.ZT,
		}
		all = append(all, r)
	}
	for _, r := range b.branch {
		for _, t := range r.Tunnels {
			o := &b.ramps[t.OnRamp-1].OnRamp
			switch {
			case o.Tenant != a.id:
			case o.Kind == tunnel.Device:
				for _, v := range a.vnets() {
					add(r.node.path, o, v.ID, host(o.Client))
				}
			case o.Kind == tunnel.Connector && !named[o.ID]:
				add(r.node.path+".lan", o, o.VNet, r.lan)
			}
		}
	}
	return all
}
