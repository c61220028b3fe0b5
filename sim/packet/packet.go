// Package packet holds the packets of a simulated network: real bytes from the
// IP header on, in buffers that are used again, so that a run allocates nothing
// once it is warm. Of a packet that was made with a payload of zeros, those are a
// number until somebody wants to see them: who forwards it looks at the headers
// alone. A packet is one owner's at a time: who drops it frees it.
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
	// GRE header over IPv4. It leaves an IPv4 header in one cache line with what a
	// Pool knows of the packet: forwarding reads no other.
	headroom = 28
	slotLen  = 128 - 15
	// short packets, and headers, fit a slot; what is longer has a body.
	short = slotLen - headroom

	header4   = 20
	chunkBits = 8
	chunkSize = 1 << chunkBits
	bodyBits  = 6
	bodyChunk = 1 << bodyBits
)

// packet is a slot in use, or free. Its bytes are size from at on, in the slot or
// in its body; those beyond the first held are zeros that are not there.
type packet struct {
	flow           uint32
	body           uint32 // 0 is none
	at, size, held uint16
	used           bool
	buf            [slotLen]byte
}

// body is room for a whole packet.
type body [headroom + Size]byte

// Pool holds packets. The zero value is empty and ready. It is not safe for
// concurrent use.
type Pool struct {
	chunks []*[chunkSize]packet // a handle counts on over all: 0 is of none
	free   []Handle
	next   Handle // the last handle ever given
	live   int

	bodies     []*[bodyChunk]body // likewise
	freeBodies []uint32
	nextBody   uint32
}

// New is a packet of size bytes, whose contents are what was there before.
func (p *Pool) New(size int) (Handle, []byte) {
	h, x := p.make(size)
	if size > short {
		x.body = p.takeBody()
	}
	x.held = x.size
	return h, p.head(x)
}

// NewZero is a packet of size bytes which are zeros but for the first head: those
// are returned, to be written.
func (p *Pool) NewZero(size, head int) (Handle, []byte) {
	if head > short {
		h, b := p.New(size)
		clear(b)
		return h, b[:head]
	}
	h, x := p.make(size)
	x.held = uint16(head)
	return h, p.head(x)
}

// make is a packet without contents.
func (p *Pool) make(size int) (Handle, *packet) {
	if size < 0 || size > Size {
		panic(fmt.Sprintf("packet: %d bytes, want at most %d", size, Size))
	}
	h := p.take()
	x := p.of(h)
	x.at, x.size, x.used, x.flow, x.body = headroom, uint16(size), true, 0, 0
	p.live++
	return h, x
}

func (p *Pool) take() Handle {
	if n := len(p.free); n > 0 {
		h := p.free[n-1]
		p.free = p.free[:n-1]
		return h
	}
	p.next++
	if int(p.next)>>chunkBits == len(p.chunks) || len(p.chunks) == 0 {
		p.chunks = append(p.chunks, new([chunkSize]packet))
	}
	return p.next
}

func (p *Pool) takeBody() uint32 {
	if n := len(p.freeBodies); n > 0 {
		b := p.freeBodies[n-1]
		p.freeBodies = p.freeBodies[:n-1]
		return b
	}
	p.nextBody++
	if int(p.nextBody)>>bodyBits == len(p.bodies) || len(p.bodies) == 0 {
		p.bodies = append(p.bodies, new([bodyChunk]body))
	}
	return p.nextBody
}

func (p *Pool) of(h Handle) *packet { return &p.chunks[h>>chunkBits][h%chunkSize] }

func (p *Pool) room(x *packet) []byte {
	if x.body == 0 {
		return x.buf[:]
	}
	return p.bodies[x.body>>bodyBits][x.body%bodyChunk][:]
}

func (p *Pool) head(x *packet) []byte { return p.room(x)[x.at : x.at+x.held] }

// fill puts the packet's zeros into a body, where it has room before it again.
func (p *Pool) fill(x *packet) {
	old := p.head(x)
	if x.body == 0 {
		x.body = p.takeBody()
	}
	b := p.room(x)
	n := copy(b[headroom:], old)
	clear(b[headroom+n : headroom+int(x.size)])
	x.at, x.held = headroom, x.size
}

// Make is a packet with these bytes, which are copied.
func (p *Pool) Make(b []byte) Handle {
	h, buf := p.New(len(b))
	copy(buf, b)
	return h
}

// Copy is a second packet like h.
func (p *Pool) Copy(h Handle) Handle {
	x := p.of(h)
	c, y := p.make(int(x.size))
	y.flow, y.held = x.flow, x.held
	if x.held > short {
		y.body = p.takeBody()
	}
	copy(p.head(y), p.head(x))
	return c
}

// Data are the packet's bytes, until it is freed.
func (p *Pool) Data(h Handle) []byte {
	x := p.of(h)
	if x.held < x.size {
		p.fill(x)
	}
	return p.head(x)
}

// Len is how many bytes the packet has.
func (p *Pool) Len(h Handle) int { return int(p.of(h).size) }

// Head are the first of the packet's bytes, with all headers that it was made
// with.
func (p *Pool) Head(h Handle) []byte { return p.head(p.of(h)) }

// Header4 are the first of the packet's bytes, as many as an IPv4 header without
// options has, and Len. It is nil of a packet that is not in its slot, for which
// there is BodyHeader4, or was made with fewer.
func (p *Pool) Header4(h Handle) (b *[header4]byte, size int) {
	x := p.of(h)
	if x.held < header4 || x.body != 0 || x.at > slotLen-header4 {
		return nil, 0
	}
	return (*[header4]byte)(x.buf[x.at:]), int(x.size)
}

// BodyHeader4 is Header4 of any packet, in more words.
//
//go:noinline
func (p *Pool) BodyHeader4(h Handle) (b *[header4]byte, size int) {
	x := p.of(h)
	if x.held < header4 {
		return nil, 0
	}
	return (*[header4]byte)(p.head(x)), int(x.size)
}

// Push makes room for n bytes before the packet, which belong to it from then on,
// and returns them.
func (p *Pool) Push(h Handle, n int) []byte {
	x := p.of(h)
	size := int(x.size) + n
	if n < 0 || size > Size {
		panic(fmt.Sprintf("packet: %d bytes, want at most %d", size, Size))
	}
	if n > int(x.at) {
		if x.held < x.size || x.body == 0 {
			p.fill(x)
		}
		if n > int(x.at) {
			b := p.room(x)
			copy(b[n:], p.head(x))
			x.at = uint16(n)
		}
	}
	x.at, x.size, x.held = x.at-uint16(n), uint16(size), x.held+uint16(n)
	return p.head(x)[:n]
}

// Keep makes the packet a part of what it was: its bytes from a place on, up to
// another.
func (p *Pool) Keep(h Handle, from, to int) {
	x := p.of(h)
	if from < 0 || to < from || to > int(x.size) {
		panic(fmt.Sprintf("packet: bytes %d to %d of %d", from, to, x.size))
	}
	if from > int(x.held) {
		p.fill(x)
	}
	x.held = min(x.held, uint16(to)) - uint16(from)
	x.at, x.size = x.at+uint16(from), uint16(to-from)
}

// Touch makes sure that a packet is somebody's that will be looked at soon. The
// processor brings it near by that: with thousands under way, each look would wait
// for memory.
func (p *Pool) Touch(h Handle) {
	if !p.of(h).used {
		panic("packet: freed while it was under way")
	}
}

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
	if x.body != 0 {
		p.freeBodies = append(p.freeBodies, x.body)
	}
	x.used = false
	p.live--
	p.free = append(p.free, h)
}

// Live is how many packets are in use: 0 at the end of a run that lost track of
// none.
func (p *Pool) Live() int { return p.live }
