package egress

import (
	"math/bits"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
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
	// four and six are the parts of each family.
	four, six []part
	// maps are bit maps of taken ports for destinations that were hard to
	// serve, direct-mapped by hash: a busy destination keeps its line.
	maps [mapLines]*portMap
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

// NewAllocator collects the slices that server owns in d.
func NewAllocator(seed uint64, d *Directory, server ident.Server) *Allocator {
	a := &Allocator{seed: seed}
	for i := range d.addresses {
		for k, owner := range d.addresses[i].Owner {
			if owner == server && k > 0 {
				p := a.pool(d.addresses[i].Addr)
				*p = append(*p, part{d.addresses[i].Addr, uint16(k * SliceSize)})
			}
		}
	}
	return a
}

// pool is the parts of an address's family.
func (a *Allocator) pool(addr netip.Addr) *[]part {
	if addr.Is4() {
		return &a.four
	}
	return &a.six
}

// Reach is how much of the pool a flow may have a port of.
type Reach uint8

const (
	// Pool is every address of the family.
	Pool Reach = iota
	// OneAddress is the address that the flow hashes to.
	OneAddress
)

// Size is how many ports there are toward a remote end of this address.
func (a *Allocator) Size(remote netip.Addr) int { return len(*a.pool(remote)) * SliceSize }

// Allocate picks egress address and port for the flow of key. The address is a
// keyed hash of the flow over the pool of its family, the port a keyed hash into the slice;
// when they are taken it probes on, by double hashing, which visits every port
// of the slice. ok is false only when all within reach is taken for that remote
// end. The caller inserts the flow, or does not; nothing is reserved.
func (a *Allocator) Allocate(t *flow.Table, key *flow.Key, reach Reach) (egress netip.AddrPort, ok bool) {
	remote := key.Destination()
	parts := *a.pool(remote.Addr())
	if len(parts) == 0 {
		return netip.AddrPort{}, false
	}
	hash := flow.Combine(a.seed, flow.Hash(a.seed, key), 1)
	start := int(hash >> 32 % uint64(len(parts)))
	for i := range parts {
		p := parts[(start+i)%len(parts)]
		if reach == OneAddress && p.addr != parts[start].addr {
			continue
		}
		if port, ok := a.inPart(t, p, key.Proto, remote, hash); ok {
			return netip.AddrPortFrom(p.addr, port), true
		}
	}
	return netip.AddrPort{}, false
}

// inPart finds a free port of p toward remote.
func (a *Allocator) inPart(t *flow.Table, p part, proto uint8, remote netip.AddrPort, hash uint64) (uint16, bool) {
	at, step := uint16(hash)%SliceSize, uint16(hash>>16)%SliceSize|1 // odd: a cycle through all
	if m := a.line(p, proto, remote); m.is(p, proto, remote) {
		return m.pick(at)
	}
	key := flow.ReverseKey(proto, netip.AddrPortFrom(p.addr, 0), remote)
	for range probes {
		key.SrcPort = p.first + at
		if !t.Taken(&key) {
			return key.SrcPort, true
		}
		at = (at + step) % SliceSize
	}
	m := &portMap{part: p, proto: proto, remote: remote, free: SliceSize}
	for i := range uint16(SliceSize) {
		key.SrcPort = p.first + i
		if t.Taken(&key) {
			m.set(i)
		}
	}
	a.maps[a.lineOf(p, proto, remote)] = m
	return m.pick(at)
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
	p := part{egress.Addr(), egress.Port() &^ (SliceSize - 1)}
	if m := a.line(p, proto, remote); m.is(p, proto, remote) {
		m.set(egress.Port() - p.first)
	}
}

// Freed is the opposite of Took.
func (a *Allocator) Freed(proto uint8, egress, remote netip.AddrPort) {
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
