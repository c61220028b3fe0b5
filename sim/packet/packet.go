// Package packet holds the packets of a simulated network: real bytes from the
// IP header on, in buffers that are used again, so that a run allocates nothing
// once it is warm. A packet is one owner's at a time: who drops it frees it.
package packet

import "fmt"

// Handle names a packet in its Pool. The zero value is none. It fits the
// argument of an event.
type Handle uint32

const (
	// Size is the largest packet: a full one of the Internet inside the headers
	// that the network's own links have room for.
	Size = 2048

	// headroom is what Push can put before a packet without moving it: a keyed
	// GRE header over IPv4. It puts the start of an outer header, or else that of
	// a bare packet up to its ports, into one cache line with what a Pool knows of
	// the packet: forwarding reads no other.
	headroom  = 31
	packetLen = 33 * 64 // an odd number of lines, so that packets spread over a cache's sets

	chunkBits = 6
	chunkSize = 1 << chunkBits
)

// packet is a buffer in use, or free: size bytes from at on.
type packet struct {
	flow     uint32
	at, size uint16
	used     bool
	buf      [packetLen - 9]byte
}

func (x *packet) data() []byte { return x.buf[x.at : x.at+x.size] }

// Pool holds packets. The zero value is empty and ready. It is not safe for
// concurrent use.
type Pool struct {
	chunks []*[chunkSize]packet
	free   []Handle
	next   Handle // the last handle ever given
	live   int
	warm   uint32
}

// New is a packet of size bytes, whose contents are what was there before.
func (p *Pool) New(size int) (Handle, []byte) {
	if size < 0 || size > Size {
		panic(fmt.Sprintf("packet: %d bytes, want at most %d", size, Size))
	}
	h := p.take()
	x := p.of(h)
	x.at, x.size, x.used, x.flow = headroom, uint16(size), true, 0
	p.live++
	return h, x.data()
}

func (p *Pool) take() Handle {
	if n := len(p.free); n > 0 {
		h := p.free[n-1]
		p.free = p.free[:n-1]
		return h
	}
	if int(p.next)>>chunkBits == len(p.chunks) {
		p.chunks = append(p.chunks, new([chunkSize]packet))
	}
	p.next++
	return p.next
}

func (p *Pool) of(h Handle) *packet { return &p.chunks[(h-1)>>chunkBits][(h-1)&(chunkSize-1)] }

// Make is a packet with these bytes, which are copied.
func (p *Pool) Make(b []byte) Handle {
	h, buf := p.New(len(b))
	copy(buf, b)
	return h
}

// Copy is a second packet like h.
func (p *Pool) Copy(h Handle) Handle {
	c := p.Make(p.Data(h))
	p.of(c).flow = p.of(h).flow
	return c
}

// Data are the packet's bytes, until it is freed.
func (p *Pool) Data(h Handle) []byte { return p.of(h).data() }

// Push makes room for n bytes before the packet, which belong to it from then on,
// and returns all of it.
func (p *Pool) Push(h Handle, n int) []byte {
	x := p.of(h)
	size := int(x.size) + n
	if n < 0 || size > Size {
		panic(fmt.Sprintf("packet: %d bytes, want at most %d", size, Size))
	}
	if n <= int(x.at) {
		x.at -= uint16(n)
	} else {
		copy(x.buf[n:], x.data())
		x.at = 0
	}
	x.size = uint16(size)
	return x.data()
}

// Keep makes the packet a part of what it was: its bytes from a place on, up to
// another.
func (p *Pool) Keep(h Handle, from, to int) {
	x := p.of(h)
	if from < 0 || to < from || to > int(x.size) {
		panic(fmt.Sprintf("packet: bytes %d to %d of %d", from, to, x.size))
	}
	x.at, x.size = x.at+uint16(from), uint16(to-from)
}

// Touch has the processor bring a packet near that will be looked at soon: with
// thousands under way, each look would wait for memory.
func (p *Pool) Touch(h Handle) { p.warm += p.of(h).flow }

// Flow is who asked for the packet, as its maker marked it: a mark beside the
// bytes, which no translation changes. 0 is nobody.
func (p *Pool) Flow(h Handle) uint32 { return p.of(h).flow }

// Mark sets what Flow says.
func (p *Pool) Mark(h Handle, flow uint32) { p.of(h).flow = flow }

// Free gives the packet back. To free one twice is a mistake that would mix two
// packets up: it panics.
func (p *Pool) Free(h Handle) {
	x := p.of(h)
	if !x.used {
		panic("packet: freed twice")
	}
	x.used = false
	p.live--
	p.free = append(p.free, h)
}

// Live is how many packets are in use: 0 at the end of a run that lost track of
// none.
func (p *Pool) Live() int { return p.live }
