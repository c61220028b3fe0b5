package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// branch is a site's router.
type branch struct {
	Branch
	spec    *spec.Site
	node    *node
	town    *town
	account string
	link    *Link // toward transit
	hosts   []*machine
}

// machine is a host of a site, or an origin.
type machine struct {
	node   *node
	addr   netip.Addr
	branch *branch
	town   *town
	spec   *spec.InternetHost // of an origin
	link   *Link
}

// ramp is an on-ramp and where it is from.
type ramp struct {
	id     ident.OnRamp
	name   string
	kind   tunnel.Kind
	spec   spec.OnRamp
	tenant ident.Tenant
	vnet   ident.VNet
	outer  netip.Addr
	peer   netip.Addr // the servers' address inside
	peer6  netip.Addr // of IPv6
	mtu    int
}

// sites makes branch routers, their tunnels and hosts.
func (b *builder) sites() {
	if len(b.dcs) == 0 {
		return
	}
	for i := range b.s.Sites {
		b.site(&b.s.Sites[i], at("sites", i))
	}
}

// site makes one site.
func (b *builder) site(s *spec.Site, path string) {
	id := s.ID + "." + strconv.Itoa(max(s.Instance, 1))
	if !b.prefix(path+".lan", s.Lan) {
		return
	}
	if s.Lan.Overlaps(innerRange) {
		b.fail(path+".lan", "%v overlaps %v, which numbers tunnel interfaces", s.Lan, innerRange)
	}
	account, ok := b.tenant(path, s.Account)
	if !ok {
		return
	}
	t, pos, code := b.near(path, s.Near)
	in := func(n Node) Node {
		n.Site, n.Account, n.LAN = id, b.accountName(account), s.Lan
		if t.serves != nil {
			n.Datacenter = t.serves.Name
		}
		return pos.mark(n, code)
	}
	r := &branch{spec: s, town: t, account: b.accountName(account)}
	r.node = b.add(path, in(Node{ID: id + ".router", Kind: KindBranch, Forward: true}))
	r.Branch = Branch{Node: r.node.ID, Site: id}
	b.branch = append(b.branch, r)
	b.byNode[r.node.ID] = r
	r.link = b.wire(ClassAccess, r.node, t.node, delay(pos, t.pos))
	r.WAN = r.link.A.Interface
	gateway := b.gateway(s, path)
	for _, name := range sortedKeys(s.Hosts) {
		h := s.Hosts[name]
		n := b.add(path+".hosts."+name, in(Node{ID: id + "." + name, Kind: KindHost, Address: h.Address}))
		r.hosts = append(r.hosts, &machine{node: n, addr: h.Address, branch: r, town: t})
	}
	b.lan(r, gateway)
	b.hosts = append(b.hosts, r.hosts...)
	for j, o := range s.OnRamps {
		b.onramp(r, o, account, j, at(path+".onramps", j))
	}
}

// gateway is the router's address in the LAN: the given or the first free one.
// Addresses that a LAN cannot hold are refused.
func (b *builder) gateway(s *spec.Site, path string) netip.Addr {
	taken := map[netip.Addr]string{}
	g := s.Gateway
	if g.IsValid() {
		if !usable(s.Lan, g) {
			b.fail(path+".gateway", "%v is not an address of a machine in %v", g, s.Lan)
		}
		taken[g] = "the gateway"
	}
	for _, name := range sortedKeys(s.Hosts) {
		a, where := s.Hosts[name].Address, path+".hosts."+name
		switch {
		case !usable(s.Lan, a):
			b.fail(where, "%v is not an address of a machine in %v", a, s.Lan)
		case taken[a] != "":
			b.fail(where, "%v is already %s", a, taken[a])
		}
		taken[a] = name
	}
	if g.IsValid() {
		return g
	}
	for g = s.Lan.Addr(); s.Lan.Contains(g); g = g.Next() {
		if usable(s.Lan, g) && taken[g] == "" {
			return g
		}
	}
	b.fail(path+".lan", "%v has no address left for the router", s.Lan)
	return netip.Addr{}
}

// lan links a site's hosts to its router, each on a wire of its own. Every host
// takes the router for its neighbours, so that hosts of one LAN reach each other.
func (b *builder) lan(r *branch, gateway netip.Addr) {
	for _, h := range r.hosts {
		l := b.link(ClassLAN, h.node, r.node, 0)
		l.A.Addresses = []netip.Prefix{netip.PrefixFrom(h.addr, r.spec.Lan.Bits())}
		l.A.Neighbors = []netip.Addr{gateway}
		for _, other := range r.hosts {
			if other != h {
				l.A.Neighbors = append(l.A.Neighbors, other.addr)
			}
		}
		l.B.Addresses = []netip.Prefix{host(gateway)}
		l.B.Neighbors = []netip.Addr{h.addr}
		h.link = l
		h.node.Routes = []KernelRoute{{To: defaultOf(h.addr), Hops: []Hop{{Interface: l.A.Interface, Via: gateway}}}}
		r.node.Routes = append(r.node.Routes, KernelRoute{To: host(h.addr), Hops: []Hop{{Interface: l.B.Interface}}})
		r.LANs = append(r.LANs, l.B.Interface)
	}
	// What no host has must not follow the default route into the tunnel: with
	// a route for this prefix it would come back for ever.
	r.node.Routes = append(r.node.Routes, KernelRoute{To: r.spec.Lan})
}

// onramp makes the j-th tunnel of a site.
func (b *builder) onramp(r *branch, o spec.OnRamp, tenant ident.Tenant, j int, path string) {
	outer := r.link.A.Addresses[0].Addr()
	if j > 0 {
		// A tunnel is known by its outer addresses: each further one has its own.
		_, hi, ok := b.outer.pair()
		if !ok {
			b.fail(path, "too many on-ramps: %v is used up", b.outer.prefix)
		}
		outer = hi
		r.node.Loopback = append(r.node.Loopback, host(outer))
	}
	peer, inner, ok := b.inner.pair()
	if !ok {
		b.fail(path, "too many tunnels: %v is used up", b.inner.prefix)
	}
	kind := tunnel.Kind(o.Type)
	if kind == "" {
		kind = tunnel.GRE
	}
	mtu, most := o.MTU, (&tunnel.Encap{Src: outer, Dst: tunnelAddr, HasKey: o.Key != nil}).InnerMTU(mtuPlain)
	if mtu > most {
		b.fail(path+".mtu", "%d: the access link passes %d bytes, tunnel headers included: want at most %d", mtu, mtuPlain, most)
	}
	if mtu == 0 {
		mtu = most
	}
	peer6, inner6 := b.inner6(r, mtu, path)
	id := ident.OnRamp(len(b.ramps) + 1)
	t := BranchTunnel{
		OnRamp: id, Name: r.Site + "." + o.ID, Kind: kind,
		Interface: string(kind[:min(len(kind), 9)]) + strconv.Itoa(j+1),
		Local:     outer, Remote: tunnelAddr, Key: o.Key, MTU: mtu, Inner: inner, Peer: peer, Inner6: inner6, Peer6: peer6,
		MAC: mac(macTunnel, int(id), 1), PeerMAC: mac(macTunnel, int(id), 2),
	}
	r.Tunnels = append(r.Tunnels, t)
	// Connections of a WAN are in the default virtual network (SEMANTICS 3.1).
	vnet, _ := b.accounts[tenant-1].vnet("")
	b.ramps = append(b.ramps, ramp{id: id, name: t.Name, kind: kind, spec: o, tenant: tenant, vnet: vnet.ID, outer: outer, peer: peer, peer6: peer6, mtu: mtu})
}

// connectors number the private networks behind outbound tunnels, so that
// routes can name them. Their machines are not part of the lab: the feature
// that they are is refused before anything starts.
func (b *builder) connectors() {
	for i, c := range b.s.Connectors {
		path := at("connectors", i)
		tenant, ok := b.tenant(path, c.Account)
		if !ok {
			continue
		}
		vnet, ok := b.accounts[tenant-1].vnet(c.VNet)
		if !ok {
			b.fail(path+".vnet", "no virtual network is called %q", c.VNet)
		}
		b.ramps = append(b.ramps, ramp{
			id: ident.OnRamp(len(b.ramps) + 1), name: c.ID, kind: tunnel.Connector, tenant: tenant, vnet: vnet.ID,
		})
	}
}

// unplanned says whether a selector names something that the file has and the
// lab has not: a device, a connector or an AS. It is no mistake then.
func (b *builder) unplanned(selector string) bool {
	first, _, _ := strings.Cut(selector, ".")
	is := func(id string) bool { return first == "*" || first == id }
	return slices.ContainsFunc(b.s.Devices, func(d spec.Device) bool { return is(d.ID) }) ||
		slices.ContainsFunc(b.s.Connectors, func(c spec.Connector) bool { return is(c.ID) }) ||
		slices.ContainsFunc(b.s.Transit, func(t spec.Transit) bool { return is(t.ID) })
}

// origins makes the hosts on the Internet.
func (b *builder) origins() {
	if len(b.dcs) == 0 {
		return
	}
	seen := map[netip.Addr]string{}
	for i := range b.s.Internet {
		s := &b.s.Internet[i]
		path, id := at("internet", i), s.ID
		if s.Instance > 0 {
			id += "." + strconv.Itoa(s.Instance)
		}
		b.originAddress(path+".address", id, s.Address, seen)
		t, pos, code := b.near(path, s.Near)
		n := Node{ID: id, Kind: KindOrigin, Address: s.Address}
		if t.serves != nil {
			n.Datacenter = t.serves.Name
		}
		m := &machine{node: b.add(path, pos.mark(n, code)), addr: s.Address, town: t, spec: s}
		b.origin = append(b.origin, m)
		gateway, _, ok := b.infraOf(s.Address).pair()
		if !ok {
			b.fail(path, "too many links: %v is used up", b.infraOf(s.Address).prefix)
		}
		l := b.link(ClassInternet, m.node, t.node, delay(pos, t.pos))
		l.A.Addresses, l.A.Neighbors = []netip.Prefix{host(s.Address)}, []netip.Addr{gateway}
		l.B.Addresses, l.B.Neighbors = []netip.Prefix{host(gateway)}, []netip.Addr{s.Address}
		m.link = l
		m.node.Routes = []KernelRoute{{To: defaultOf(s.Address), Hops: []Hop{{Interface: l.A.Interface, Via: gateway}}}}
	}
}

// originAddress refuses an address that an Internet host cannot have.
func (b *builder) originAddress(path, id string, a netip.Addr, seen map[netip.Addr]string) {
	own, _ := kept(host(a))
	switch {
	case !a.IsValid():
		b.fail(path, "want an address such as 203.0.113.9")
		return
	case own.IsValid():
		b.fail(path, "%v is in %v, which the lab keeps for itself", a, own)
	case seen[a] != "":
		b.fail(path, "%v is already the address of %s", a, seen[a])
	}
	seen[a] = id
	for _, d := range b.dcs {
		for _, e := range d.Egress {
			if e.Contains(a) {
				b.fail(path, "%v is in the egress range %v of %s", a, e, d.Name)
			}
		}
	}
}

// near is the transit router of a site or host, with its own position: the
// place that is named, or the nearest one with a datacenter.
func (b *builder) near(path string, near spec.Near) (*town, position, string) {
	code := ""
	if len(near) > 0 {
		code = strings.ToLower(near[0].Code)
	}
	code = cmp.Or(code, b.towns[0].code)
	for _, d := range b.dcs {
		if d.Name == code {
			return d.town, d.town.pos, d.town.code
		}
	}
	for _, t := range b.towns {
		if t.code == code {
			return t, t.pos, code
		}
	}
	pos := locate(code)
	if !pos.known {
		b.fail(path+".near", "%q is neither a datacenter nor a place with a known position", code)
	}
	best := slices.MinFunc(b.towns, func(x, y *town) int { return int(delay(pos, x.pos) - delay(pos, y.pos)) })
	return best, pos, code
}
