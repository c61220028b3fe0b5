package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// branch is a router with tunnels: a site's, a connector's, or a device.
type branch struct {
	Branch
	lan  netip.Prefix // invalid for a device
	node *node
	town *town
	pos  position
	link *Link // toward transit; nil for a site that has interconnects alone
	// lines are all links toward transit, that first: each tunnel of a site has one of its own.
	lines []*Link
	// crossing are the names of the on-ramps that cross each access link.
	crossing map[*Link][]string
	hosts    []*machine
	country  string
	// ways are the on-ramps in file order, as next hops of what leaves: the
	// first takes it.
	ways []way
	// nat is the address that a connector translates to; sources that it does not
	// preserve can open no flows.
	nat netip.Addr
	asn uint32 // the file's, of its BGP sessions
}

// way is an on-ramp as a branch's next hop, with its addresses inside.
type way struct {
	name        string
	hop         Hop
	inner, peer netip.Addr
}

// machine is a host of a site, a device, or an origin.
type machine struct {
	node   *node
	addr   netip.Addr
	branch *branch
	town   *town
	spec   *spec.InternetHost // of an origin, pos likewise
	pos    position
	link   *Link
	// replica is one of several that a datacenter each has.
	replica bool
	// asks is where a replica of a resolver asks from, published with the country
	// asksAs; invalid for all others.
	asks   netip.Addr
	asksAs string
}

// network is a private network as the file gives it, of a site or a connector.
type network struct {
	lan     netip.Prefix
	gateway netip.Addr
	hosts   map[string]spec.Host
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
	r := b.router(path, s.Near, Node{ID: id + ".router", Kind: KindBranch, Site: id, Account: b.accountName(account), LAN: s.Lan, Forward: true})
	if slices.ContainsFunc(s.OnRamps, func(o spec.OnRamp) bool { return o.Type != string(tunnel.Interconnect) }) {
		b.access(r)
	}
	r.asn = s.ASN
	private := network{s.Lan, s.Gateway, s.Hosts}
	b.lanHosts(r, path, private, b.gateway(path, private))
	for j, o := range s.OnRamps {
		b.onramp(r, o, account, j, at(path+".onramps", j))
	}
	b.resilience(r, s)
}

// router makes the router of a site or a connector, or a device, near a place.
func (b *builder) router(path string, near spec.Near, n Node) *branch {
	t, pos, code := b.near(path, near)
	if t.serves != nil {
		n.Datacenter = t.serves.Name
	}
	r := &branch{lan: n.LAN, town: t, pos: pos, country: pos.Country, crossing: map[*Link][]string{}}
	r.node = b.add(path, pos.mark(n, code))
	r.Branch = Branch{Node: n.ID, Site: cmp.Or(n.Site, n.ID)}
	b.branch = append(b.branch, r)
	b.byNode[n.ID] = r
	return r
}

// access links a router to the Internet.
func (b *builder) access(r *branch) {
	r.link = b.wire(ClassAccess, r.node, r.town.node, delay(r.pos, r.town.pos))
	r.WAN = r.link.A.Interface
	r.lines = []*Link{r.link}
}

// another links a router to the Internet by a further line, whose end at the
// router is the outer address of a tunnel. Nothing else is routed by it.
func (b *builder) another(r *branch) *Link {
	up, down := [2]string{r.node.ID, r.town.node.ID}, [2]string{r.town.node.ID, r.node.ID}
	first := [2]Hop{b.hops[up], b.hops[down]}
	l := b.wire(ClassAccess, r.node, r.town.node, delay(r.pos, r.town.pos))
	b.hops[up], b.hops[down] = first[0], first[1]
	l.ID += ":" + l.A.Interface
	r.lines = append(r.lines, l)
	return l
}

// inside is an address of the family that the router speaks inside its tunnels.
func (r *branch) inside() netip.Addr {
	if r.lan.IsValid() {
		return r.lan.Addr()
	}
	return r.node.Address
}

// lanHosts makes the hosts behind a router.
func (b *builder) lanHosts(r *branch, path string, private network, gateway netip.Addr) {
	for _, name := range sortedKeys(private.hosts) {
		h := private.hosts[name]
		n := r.node.Node
		n.ID, n.Kind, n.Address, n.Forward = n.Site+"."+name, KindHost, h.Address, false
		if len(h.Run) > 0 {
			b.p.Programs = append(b.p.Programs, Program{n.ID, h.Run})
		}
		r.hosts = append(r.hosts, &machine{node: b.add(path+".hosts."+name, n), addr: h.Address, branch: r, town: r.town})
	}
	b.lan(r, gateway)
	b.hosts = append(b.hosts, r.hosts...)
}

// gateway is the router's address in the LAN: the given or the first free one.
// Addresses that a LAN cannot hold are refused.
func (b *builder) gateway(path string, n network) netip.Addr {
	taken := map[netip.Addr]string{}
	g := n.gateway
	if g.IsValid() {
		if !usable(n.lan, g) {
			b.fail(path+".gateway", "%v is not an address of a machine in %v", g, n.lan)
		}
		taken[g] = "the gateway"
	}
	for _, name := range sortedKeys(n.hosts) {
		a, where := n.hosts[name].Address, path+".hosts."+name
		switch {
		case !usable(n.lan, a):
			b.fail(where, "%v is not an address of a machine in %v", a, n.lan)
		case taken[a] != "":
			b.fail(where, "%v is already %s", a, taken[a])
		}
		taken[a] = name
	}
	if g.IsValid() {
		return g
	}
	if g = n.free(netip.Addr{}); !g.IsValid() {
		b.fail(path+".lan", "%v has no address left for the router", n.lan)
	}
	return g
}

// free is the first address that neither a host nor the gateway has; invalid if
// there is none.
func (n network) free(gateway netip.Addr) netip.Addr {
	taken := map[netip.Addr]bool{gateway: true}
	for _, h := range n.hosts {
		taken[h.Address] = true
	}
	for a := n.lan.Addr(); n.lan.Contains(a); a = a.Next() {
		if usable(n.lan, a) && !taken[a] {
			return a
		}
	}
	return netip.Addr{}
}

// lan links a site's hosts to its router, each on a wire of its own. Every host
// takes the router for its neighbours, so that hosts of one LAN reach each other.
func (b *builder) lan(r *branch, gateway netip.Addr) {
	for _, h := range r.hosts {
		l := b.link(ClassLAN, h.node, r.node, 0)
		l.A.Addresses = []netip.Prefix{netip.PrefixFrom(h.addr, r.lan.Bits())}
		l.A.Neighbors = []netip.Addr{gateway}
		for _, other := range r.hosts {
			if other != h {
				l.A.Neighbors = append(l.A.Neighbors, other.addr)
			}
		}
		if r.nat.IsValid() {
			l.A.Neighbors = append(l.A.Neighbors, r.nat)
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
	r.node.Routes = append(r.node.Routes, KernelRoute{To: r.lan})
}

// onramp makes the j-th on-ramp of a site.
func (b *builder) onramp(r *branch, o spec.OnRamp, tenant ident.Tenant, j int, path string) {
	if o.Type == string(tunnel.Interconnect) {
		b.interconnect(r, o, tenant, path)
		return
	}
	line := r.link
	if len(r.Tunnels) > 0 {
		// A tunnel is known by its outer addresses, and a backup on the line of its
		// primary would be none.
		line = b.another(r)
	}
	outer := line.A.Addresses[0].Addr()
	peer, inner, ok := b.inner.pair()
	if !ok {
		b.fail(path, "too many tunnels: %v is used up", b.inner.prefix)
	}
	kind := tunnel.Kind(cmp.Or(o.Type, string(tunnel.GRE)))
	mtu := b.tunnelMTU(path, o.MTU, &tunnel.Encap{Src: outer, Dst: tunnelAddr, HasKey: o.Key != nil})
	peer6, inner6 := b.inner6(r, mtu, path)
	// Connections of a WAN are in the default virtual network (SEMANTICS 3.1).
	vnet, _ := b.accounts[tenant-1].vnet("")
	made := b.ramp(hub.OnRamp{
		Name: r.Site + "." + o.ID, Tenant: tenant, VNet: vnet.ID, Kind: kind, Local: tunnelAddr, Remote: outer,
		Address: peer, Address6: peer6, Key: o.Key, ARR: o.ARR, MTU: mtu, Country: r.country,
	})
	b.tunnel(r, line, made, BranchTunnel{Interface: string(kind[:min(len(kind), 9)]) + strconv.Itoa(j+1), Local: outer, Inner: inner, Inner6: inner6})
}

// tunnelMTU is the given MTU, or the largest that the access link leaves inside e.
func (b *builder) tunnelMTU(path string, given int, e *tunnel.Encap) int {
	most := e.InnerMTU(mtuPlain)
	if given > most {
		b.fail(path+".mtu", "%d: the access link passes %d bytes, tunnel headers included: want at most %d", given, mtuPlain, most)
	}
	return cmp.Or(given, most)
}

// ramp makes an on-ramp known to the servers, which number it.
func (b *builder) ramp(o hub.OnRamp) hub.OnRamp {
	o.ID = ident.OnRamp(len(b.ramps) + 1)
	o.Scope = ident.Scope(o.ID)
	b.ramps = append(b.ramps, ramp{o})
	return o
}

// tunnel gives a router its end of an on-ramp on a line; t says what servers do
// not know.
func (b *builder) tunnel(r *branch, line *Link, o hub.OnRamp, t BranchTunnel) {
	if line != r.link {
		t.WAN = line.A.Interface
	}
	t.OnRamp, t.Name, t.Kind, t.Key, t.MTU = o.ID, o.Name, o.Kind, o.Key, o.MTU
	t.Remote, t.Peer, t.Peer6 = o.Local, o.Address, o.Address6
	t.MAC, t.PeerMAC = mac(macTunnel, int(o.ID), 1), mac(macTunnel, int(o.ID), 2)
	r.Tunnels = append(r.Tunnels, t)
	r.crossing[line] = append(r.crossing[line], t.Name)
	r.ways = append(r.ways, way{t.Name, Hop{Interface: t.Interface, Via: t.PeerOf(r.inside())}, t.Inner, t.Peer})
}

// unplanned says whether a selector names something that the file has and the
// lab has not: an AS. It is no mistake then.
func (b *builder) unplanned(selector string) bool {
	first, _, _ := strings.Cut(selector, ".")
	return slices.ContainsFunc(b.s.Transit, func(t spec.Transit) bool { return first == "*" || first == t.ID })
}

// origins makes the hosts on the Internet.
func (b *builder) origins() {
	if len(b.dcs) == 0 {
		return
	}
	seen := map[netip.Addr]string{}
	for i := range b.s.Internet {
		s := &b.s.Internet[i]
		path, id := at("internet", i), originID(s)
		b.originAddress(path+".address", id, s.Address, seen)
		if s.Proxied {
			b.replicas(s, path, id)
			continue
		}
		t, pos, code := b.near(path, s.Near)
		n := Node{ID: id, Kind: KindOrigin, Address: s.Address}
		if t.serves != nil {
			n.Datacenter = t.serves.Name
		}
		m := &machine{node: b.add(path, pos.mark(n, code)), addr: s.Address, town: t, spec: s, pos: pos}
		b.origin = append(b.origin, m)
		b.originLink(m, t.node, delay(pos, t.pos), path)
	}
}

// originLink links an origin to a router.
func (b *builder) originLink(m *machine, router *node, away time.Duration, path string) {
	gateway, _, ok := b.infraOf(m.addr).pair()
	if !ok {
		b.fail(path, "too many links: %v is used up", b.infraOf(m.addr).prefix)
	}
	l := b.link(ClassInternet, m.node, router, away)
	l.A.Addresses, l.A.Neighbors = []netip.Prefix{host(m.addr)}, []netip.Addr{gateway}
	l.B.Addresses, l.B.Neighbors = []netip.Prefix{host(gateway)}, []netip.Addr{m.addr}
	m.link = l
	m.node.Routes = []KernelRoute{{To: defaultOf(m.addr), Hops: []Hop{{Interface: l.A.Interface, Via: gateway}}}}
}

// originID is the id of an Internet host.
func originID(s *spec.InternetHost) string {
	if s.Instance > 0 {
		return s.ID + "." + strconv.Itoa(s.Instance)
	}
	return s.ID
}

// logical is the id that the file gives the machine: that of a replica stands for
// all of them.
func (m *machine) logical() string { return cmp.Or(m.node.Replica, m.node.ID) }

// replicas are a host that the network itself serves, in every datacenter: a
// reverse proxy beside its servers (SEMANTICS 6.3).
func (b *builder) replicas(s *spec.InternetHost, path, id string) {
	for _, d := range b.dcs {
		n := d.pos.mark(Node{ID: id + "." + d.Name, Kind: KindOrigin, Address: s.Address, Datacenter: d.Name, Replica: id}, d.Place)
		m := &machine{node: b.add(path, n), addr: s.Address, town: d.town, spec: s, pos: d.pos, replica: true}
		b.origin = append(b.origin, m)
		b.originLink(m, d.edge, 0, path)
		b.asking(m, d, path)
	}
}

// replicaRoutes give a datacenter's edge the routes to its own replicas.
func (b *builder) replicaRoutes(d *dc, family func(netip.Addr) bool) {
	for _, m := range b.origin {
		if m.replica && m.node.Datacenter == d.Name && family(m.addr) {
			for _, a := range m.link.B.Neighbors {
				d.edge.Routes = append(d.edge.Routes, KernelRoute{To: host(a), Hops: []Hop{{Interface: m.link.B.Interface}}})
			}
		}
	}
}

// replicaNear is the replica of d that a client of a datacenter reaches; d itself if it
// is none.
func (b *builder) replicaNear(d *machine, dc string) *machine {
	if !d.replica {
		return d
	}
	for _, m := range b.origin {
		if m.node.Replica == d.node.Replica && m.node.Datacenter == dc {
			return m
		}
	}
	return d
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
	pos := locate(code)
	for _, d := range b.dcs {
		if d.Name == code {
			code, pos = d.Place, d.pos
			if len(b.s.Transit) == 0 {
				return d.town, pos, code
			}
		}
	}
	for _, t := range b.towns {
		switch {
		case t.as != nil && t.as.ID == code: // an AS by its name
			return t, t.pos, t.code
		case t.as == nil && t.code == code:
			return t, t.pos, code
		}
	}
	if !pos.known {
		b.fail(path+".near", "%q is neither a datacenter nor a place with a known position", code)
	}
	best := slices.MinFunc(b.towns, func(x, y *town) int { return cmp.Compare(delay(pos, x.pos), delay(pos, y.pos)) })
	return best, pos, code
}
