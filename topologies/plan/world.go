package plan

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const (
	mtuPlain = 1500
	// mtuInternal leaves room for a hand-over's header on a full packet.
	mtuInternal = 1600
	// maxServers of one datacenter.
	maxServers = 1000
	// maxEgress bounds the egress directory: every address is an entry on every server.
	maxEgress = 4096
)

// town is a place with a transit router, or an AS, and the datacenters behind it.
type town struct {
	code string
	pos  position
	node *node
	dcs  []*dc
	// as is the AS, path where it is in the file; nil where the file has none.
	as   *spec.Transit
	path string
	// serves takes what arrives here for an anycast address.
	serves *dc
}

// dc is a datacenter.
type dc struct {
	Datacenter
	spec    *spec.Datacenter
	path    string
	town    *town // the first of those that its edge is linked to
	pos     position
	edge    *node
	servers []*server
	// unconnected is the edge's own address for packets in GUE, where it has
	// interconnects.
	unconnected netip.Addr
	// directory is its part of the egress directory.
	directory []egress.Address
}

// server is an edge server before its configuration.
type server struct {
	id       ident.Server
	node     *node
	dc       *dc
	index    int
	handover netip.Addr
	link     *Link
}

// places makes transit routers, datacenters, edges and servers, and says who
// serves where.
func (b *builder) places() {
	b.systems()
	for i := range b.s.Datacenters {
		b.datacenter(i)
	}
	if len(b.dcs) == 0 {
		b.fail("datacenters", "want at least one datacenter")
		return
	}
	b.egressClashes()
	b.dedicate()
	if len(b.s.Transit) > 0 {
		b.sessions()
	} else {
		b.mesh()
	}
	if !slices.ContainsFunc(b.dcs, func(d *dc) bool { return b.announces(d, host(tunnelAddr)) }) {
		b.fail("datacenters", "every datacenter is in maintenance: want one that takes ingress")
		return
	}
	for i, d := range b.dcs {
		b.linkEdge(d)
		for _, e := range b.dcs[i+1:] {
			b.wire(ClassBackbone, d.edge, e.edge, delay(d.pos, e.pos))
		}
		for _, s := range d.servers {
			s.link = b.wire(ClassServer, s.node, d.edge, 0)
		}
	}
	b.announcements()
	if len(b.s.Transit) > 0 && len(b.errs) == 0 {
		b.catchments()
	}
}

// linkEdge links a datacenter to the Internet.
func (b *builder) linkEdge(d *dc) {
	if len(b.s.Transit) == 0 {
		b.wire(ClassEdge, d.edge, d.town.node, 0)
		return
	}
	for _, u := range b.uplinked(d) {
		b.session(b.wire(ClassEdge, d.edge, u.town.node, delay(d.pos, u.town.pos)), u.relation)
	}
}

// mesh links all places with each other: the Internet of a file that says nothing
// of it, where everything goes to the nearest that announces it.
func (b *builder) mesh() {
	for i, t := range b.towns {
		t.serves = b.nearest(t, host(tunnelAddr))
		for _, u := range b.towns[i+1:] {
			b.wire(ClassTransit, t.node, u.node, delay(t.pos, u.pos))
		}
	}
}

// datacenter makes the i-th datacenter's nodes.
func (b *builder) datacenter(i int) {
	sd := &b.s.Datacenters[i]
	path := at("datacenters", i)
	code := strings.ToLower(sd.Place)
	if code == "" {
		code = sd.ID
	}
	d := &dc{spec: sd, path: path, pos: locate(code)}
	if len(b.s.Transit) > 0 {
		b.placed(path, code, d.pos)
		d.town = b.uplinked(d)[0].town
	} else {
		d.town = b.town(path, code)
	}
	d.Datacenter = Datacenter{ID: ident.Datacenter(i + 1), Name: sd.ID, Place: code, Propagation: sd.Propagation.D()}
	d.town.dcs = append(d.town.dcs, d)
	for _, e := range sd.Egress {
		d.Egress = append(d.Egress, e.Prefix)
	}
	count := max(sd.Servers, 1)
	if sd.Servers < 0 || count > maxServers {
		b.fail(path+".servers", "%d servers: want 1 to %d", sd.Servers, maxServers)
		count = 1
	}
	where := func(n Node) Node { return d.pos.mark(n, code) }
	d.edge = b.add(path, where(Node{ID: sd.ID + ".edge", Kind: KindEdge, Datacenter: sd.ID, Forward: true, Multipath: count > 1}))
	for k := 1; k <= count; k++ {
		n := b.add(path, where(Node{ID: sd.ID + "." + strconv.Itoa(k), Kind: KindServer, Datacenter: sd.ID}))
		b.serverIDs++
		s := &server{id: b.serverIDs, node: n, dc: d, index: k}
		s.handover = advance(handoverFirst, int(s.id)-1)
		if !ownRange.Contains(s.handover) {
			b.fail(path+".servers", "too many servers in all: hand-over addresses of %v are used up", ownRange)
		}
		d.servers = append(d.servers, s)
	}
	b.dcs = append(b.dcs, d)
	b.p.Datacenters = append(b.p.Datacenters, d.Datacenter)
}

// town finds or makes the transit router of a place.
func (b *builder) town(path, code string) *town {
	for _, t := range b.towns {
		if t.code == code {
			return t
		}
	}
	t := &town{code: code, pos: locate(code)}
	b.placed(path, code, t.pos)
	t.node = b.add(path, t.pos.mark(Node{ID: "transit." + code, Kind: KindTransit, Forward: true}, code))
	b.towns = append(b.towns, t)
	return t
}

// placed refuses a datacenter that is nowhere.
func (b *builder) placed(path, code string, pos position) {
	if !pos.known {
		b.fail(path, "%q is not the IATA code of a place: want an id such as lhr, or place: lhr beside it", code)
	}
}

// nearest is the datacenter that takes what arrives at t for a prefix: the nearest
// that announces it, the first in the file among equals; nil if none does.
func (b *builder) nearest(t *town, p netip.Prefix) *dc {
	var best *dc
	var bestDelay time.Duration
	for _, d := range b.dcs {
		if !b.announces(d, p) {
			continue
		}
		if away := far(t, d); best == nil || away < bestDelay {
			best, bestDelay = d, away
		}
	}
	return best
}

// egressClashes refuses egress ranges that overlap each other or the lab's own,
// and more servers than addresses have slices for.
func (b *builder) egressClashes() {
	type claim struct {
		prefix netip.Prefix
		path   string
	}
	var claims []claim
	total := 0
	for _, d := range b.dcs {
		for j, e := range d.spec.Egress {
			path := at(d.path+".egress", j)
			if !b.prefix(path, e.Prefix) {
				continue
			}
			for _, c := range claims {
				if c.prefix.Overlaps(e.Prefix) {
					b.fail(path, "egress range %v overlaps %v of %s: an address lives in one datacenter, a slice on one server", e.Prefix, c.prefix, c.path)
				}
			}
			claims = append(claims, claim{e.Prefix, path})
			if e.Prefix.Addr().Is4() {
				total += 1 << (32 - e.Prefix.Bits())
			}
			if total > maxEgress {
				b.fail(path, "more than %d egress addresses in all with %v", maxEgress, e.Prefix)
				return
			}
			b.checkSlices(path, e.Slices, len(d.servers))
		}
		if len(b.errs) == 0 {
			b.assign(d)
		}
	}
}

// assign fills in the datacenter's part of the egress directory. Every address
// of a prefix is used: they are single addresses, not a subnet. IPv6 is
// in assign6.
func (b *builder) assign(d *dc) {
	ids := d.ids()
	var free []netip.Addr
	for _, e := range d.spec.Egress {
		for a := e.Prefix.Addr(); a.Is4() && e.Prefix.Contains(a) && len(e.Slices) == 0 && !e.Spare; a = a.Next() {
			free = append(free, a)
		}
	}
	var dealt []egress.Address
	if len(free) > 0 {
		var err error
		if dealt, err = egress.Assign(d.ID, free, ids); err != nil {
			b.fail(d.path+".servers", "%v", err)
			return
		}
	}
	for _, e := range d.spec.Egress {
		for a := e.Prefix.Addr(); a.Is4() && e.Prefix.Contains(a); a = a.Next() {
			entry := egress.Address{Addr: a, Datacenter: d.ID}
			for slice, n := range e.Slices {
				entry.Owner[slice] = ids[n-1]
			}
			if len(e.Slices) == 0 && !e.Spare {
				entry, dealt = dealt[0], dealt[1:]
			}
			entry.Country, entry.Tags = strings.ToUpper(e.Country), e.Tags
			d.directory = append(d.directory, entry)
		}
	}
	b.assign6(d, ids)
}

// checkSlices refuses slices that do not exist or belong to nobody.
func (b *builder) checkSlices(path string, owners map[int]int, servers int) {
	for _, k := range sortedKeys(owners) {
		if k < 1 || k >= egress.Slices {
			b.fail(path+".slices", "slice %d: want 1 to %d", k, egress.Slices-1)
		}
		if v := owners[k]; v < 1 || v > servers {
			b.fail(path+".slices", "slice %d belongs to server %d: want 1 to %d", k, v, servers)
		}
	}
}

// prefix refuses a prefix that is none, has host bits or lies in the lab's own
// addresses.
func (b *builder) prefix(path string, p netip.Prefix) bool {
	own, _ := kept(p)
	switch {
	case !p.IsValid():
		b.fail(path, "want a prefix such as 10.0.1.0/24")
	case p != p.Masked():
		b.fail(path, "%v has host bits: want %v", p, p.Masked())
	case own.IsValid():
		b.fail(path, "%v overlaps %v, which the lab keeps for itself", p, own)
	default:
		return true
	}
	return false
}
