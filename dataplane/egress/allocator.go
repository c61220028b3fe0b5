package egress

import (
	"math/bits"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// part is one slice of one address that this server owns.
type part struct {
	addr  netip.Addr
	first uint16 // first port
}

// Allocator hands out the egress ports of one server. A port serves several
// remote ends at once: what is unique is the reverse key (SEMANTICS 5.5). The
// flow table is the truth about what is taken; the allocator only remembers
// full-looking destinations so that they stay fast.
type Allocator struct {
	seed uint64
	// pools are the parts that flows may leave by.
	pools map[pool][]part
	// held are reverse keys of flows that go on elsewhere.
	held map[flow.Key]ident.Server
	// resting are reverse keys of flows that ended before their port is free again.
	resting map[flow.Key]vt.Instant
	// maps are bit maps of taken ports for destinations that were hard to
	// serve, direct-mapped by hash: a busy destination keeps its line.
	maps [mapLines]*portMap
	// bound is of addresses that a tenant has to itself.
	bound *bound
}

const (
	// probes before the allocator builds a bit map: enough for a slice that is
	// four fifths full.
	probes   = 24
	mapLines = 64
	words    = SliceSize / 64
)

// portMap is which ports of a part are taken toward one remote end.
type portMap struct {
	part   part
	proto  uint8
	remote netip.AddrPort
	taken  [words]uint64
	free   int
}

// From says which addresses a flow may leave by. The zero value is all shared
// ones.
type From struct {
	// Country narrows the shared ones down to those with this tag.
	Country string
	// Tenant is all of a tenant's own, Addr one of them.
	Tenant ident.Tenant
	Addr   netip.Addr
	// Proxied: toward what the network itself serves in every datacenter, where
	// each datacenter has its own division of an address (SEMANTICS 6.3).
	Proxied bool
}

// pool is a From with the family.
type pool struct {
	From
	six bool
}

// NewAllocator collects the slices that server owns in d.
func NewAllocator(seed uint64, d *Directory, server ident.Server) *Allocator {
	a := &Allocator{seed: seed, pools: make(map[pool][]part), bound: newBound(server)}
	a.collect(d, server, false)
	return a
}

// Proxy collects the slices that server owns of local, its datacenter's own
// division of addresses, for flows to what the network itself serves.
func (a *Allocator) Proxy(local *Directory, server ident.Server) { a.collect(local, server, true) }

func (a *Allocator) collect(d *Directory, server ident.Server, proxied bool) {
	for i := range d.addresses {
		e := &d.addresses[i]
		if e.CDN() {
			continue
		}
		a.bound.add(e, proxied)
		var mine []part
		for k, owner := range e.Opens() {
			if owner == server && k > 0 {
				mine = append(mine, part{e.Addr, uint16(k * SliceSize)})
			}
		}
		for _, from := range e.ways(proxied) {
			p := pool{from, e.Addr.Is6()}
			a.pools[p] = append(a.pools[p], mine...)
		}
	}
}

// ways are the ways to ask for an address.
func (a *Address) ways(proxied bool) []From {
	switch {
	case proxied:
		return []From{{Addr: a.Addr, Proxied: true}}
	case a.Tenant != 0:
		return []From{{Addr: a.Addr}, {Tenant: a.Tenant}}
	case a.Country != "":
		return []From{{}, {Country: a.Country}}
	}
	return []From{{}}
}

// Hold keeps the reverse keys of flows that go on elsewhere from being given out
// here: two flows would share one otherwise (SEMANTICS 5.2).
func (a *Allocator) Hold(held map[flow.Key]ident.Server) {
	a.held = held
	a.bound.hold(held)
}

// Rest keeps reverse keys from being given out that no flow of the table has any
// more, until the caller takes them out of resting and says that they are freed.
func (a *Allocator) Rest(resting map[flow.Key]vt.Instant) { a.resting = resting }

// Reach is how much of the pool a flow may have a port of.
type Reach uint8

const (
	// Pool is every address that the flow may leave by.
	Pool Reach = iota
	// OneAddress is the address that the flow hashes to.
	OneAddress
)

// Size is how many ports there are toward a remote end of this address.
func (a *Allocator) Size(remote netip.Addr, from From) int {
	return len(a.pools[pool{from, remote.Is6()}]) * SliceSize
}

// Allocate picks egress address and port for the flow of key. The address is a
// keyed hash of the flow over what it may leave by, the port a keyed hash into the slice;
// when they are taken it probes on, by double hashing, which visits every port
// of the slice. ok is false only when all within reach is taken for that remote
// end. The caller inserts the flow, or does not; nothing is reserved.
func (a *Allocator) Allocate(t *flow.Table, key *flow.Key, from From, reach Reach) (egress netip.AddrPort, ok bool) {
	remote := key.Destination()
	parts := a.pools[pool{from, remote.Addr().Is6()}]
	if len(parts) == 0 {
		return netip.AddrPort{}, false
	}
	hash := a.spread(flow.Hash(a.seed, key))
	start := first(hash, parts)
	for i := range parts {
		p := parts[(start+i)%len(parts)]
		if !reach.holds(p, parts[start]) || a.bound.full(p.addr, from.Proxied, key.Proto, remote) {
			continue
		}
		if port, ok := a.inPart(t, p, key.Proto, remote, hash); ok {
			return netip.AddrPortFrom(p.addr, port), true
		}
	}
	return netip.AddrPort{}, false
}

// spread is a flow's hash over ports, from that of its key.
func (a *Allocator) spread(hash uint64) uint64 { return flow.Combine(a.seed, hash, 1) }

// first is the part that a flow hashes to.
func first(hash uint64, parts []part) int { return int(hash >> 32 % uint64(len(parts))) }

// holds reports whether a part is within reach of a flow that hashes to another.
func (r Reach) holds(p, start part) bool { return r != OneAddress || p.addr == start.addr }

// inPart finds a free port of p toward remote.
func (a *Allocator) inPart(t *flow.Table, p part, proto uint8, remote netip.AddrPort, hash uint64) (uint16, bool) {
	at, step := uint16(hash)%SliceSize, uint16(hash>>16)%SliceSize|1 // odd: a cycle through all
	if m := a.line(p, proto, remote); m.is(p, proto, remote) {
		return m.pick(at)
	}
	key := flow.ReverseKey(proto, netip.AddrPortFrom(p.addr, 0), remote)
	for range probes {
		key.SrcPort = p.first + at
		if !a.taken(t, &key) {
			return key.SrcPort, true
		}
		at = (at + step) % SliceSize
	}
	m := &portMap{part: p, proto: proto, remote: remote, free: SliceSize}
	for i := range uint16(SliceSize) {
		key.SrcPort = p.first + i
		if a.taken(t, &key) {
			m.set(i)
		}
	}
	a.maps[a.lineOf(p, proto, remote)] = m
	return m.pick(at)
}

// taken reports whether a flow holds the reverse key, here or elsewhere, or did
// lately.
func (a *Allocator) taken(t *flow.Table, key *flow.Key) bool {
	if t.Taken(key) || a.held != nil && a.held[*key] != 0 {
		return true
	}
	_, resting := a.resting[*key]
	return resting
}

func (a *Allocator) lineOf(p part, proto uint8, remote netip.AddrPort) uint64 {
	k := flow.ReverseKey(proto, netip.AddrPortFrom(p.addr, p.first), remote)
	return flow.Hash(a.seed, &k) % mapLines
}

func (a *Allocator) line(p part, proto uint8, remote netip.AddrPort) *portMap {
	return a.maps[a.lineOf(p, proto, remote)]
}

// Took and Freed tell the allocator that a flow now has egress toward remote,
// or has it no more.
func (a *Allocator) Took(proto uint8, egress, remote netip.AddrPort) {
	a.bound.change(proto, egress, remote, 1)
	p := part{egress.Addr(), egress.Port() &^ (SliceSize - 1)}
	if m := a.line(p, proto, remote); m.is(p, proto, remote) {
		m.set(egress.Port() - p.first)
	}
}

// Freed is the opposite of Took.
func (a *Allocator) Freed(proto uint8, egress, remote netip.AddrPort) {
	a.bound.change(proto, egress, remote, -1)
	a.Rested(proto, egress, remote)
}

// Rested says that a port is free whose flow ended before.
func (a *Allocator) Rested(proto uint8, egress, remote netip.AddrPort) {
	p := part{egress.Addr(), egress.Port() &^ (SliceSize - 1)}
	if m := a.line(p, proto, remote); m.is(p, proto, remote) {
		m.clear(egress.Port() - p.first)
	}
}

func (m *portMap) is(p part, proto uint8, remote netip.AddrPort) bool {
	return m != nil && m.part == p && m.proto == proto && m.remote == remote
}

func (m *portMap) set(i uint16) {
	if bit := uint64(1) << (i % 64); m.taken[i/64]&bit == 0 {
		m.taken[i/64] |= bit
		m.free--
	}
}

func (m *portMap) clear(i uint16) {
	if bit := uint64(1) << (i % 64); m.taken[i/64]&bit != 0 {
		m.taken[i/64] &^= bit
		m.free++
	}
}

// pick returns the first free port from start on, around the slice.
func (m *portMap) pick(start uint16) (uint16, bool) {
	if m.free == 0 {
		return 0, false
	}
	word := int(start / 64)
	free := ^m.taken[word] & (^uint64(0) << (start % 64))
	for free == 0 {
		word = (word + 1) % words
		free = ^m.taken[word]
	}
	return m.part.first + uint16(word*64+bits.TrailingZeros64(free)), true
}
