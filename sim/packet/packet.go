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

	chunkBits = 6
	chunkSize = 1 << chunkBits
)

// packet is a buffer in use, or free.
type packet struct {
	buf  [Size]byte
	size uint16
	used bool
	flow uint32
}

// Pool holds packets. The zero value is empty and ready. It is not safe for
// concurrent use.
type Pool struct {
	chunks []*[chunkSize]packet
	free   []Handle
	next   Handle // the last handle ever given
	live   int
}

// New is a packet of size bytes, whose contents are what was there before.
func (p *Pool) New(size int) (Handle, []byte) {
	if size < 0 || size > Size {
		panic(fmt.Sprintf("packet: %d bytes, want at most %d", size, Size))
	}
	h := p.take()
	x := p.at(h)
	x.size, x.used, x.flow = uint16(size), true, 0
	p.live++
	return h, x.buf[:size]
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

func (p *Pool) at(h Handle) *packet { return &p.chunks[(h-1)>>chunkBits][(h-1)&(chunkSize-1)] }

// Make is a packet with these bytes, which are copied.
func (p *Pool) Make(b []byte) Handle {
	h, buf := p.New(len(b))
	copy(buf, b)
	return h
}

// Copy is a second packet like h.
func (p *Pool) Copy(h Handle) Handle {
	c := p.Make(p.Data(h))
	p.at(c).flow = p.at(h).flow
	return c
}

// Data are the packet's bytes, until it is freed.
func (p *Pool) Data(h Handle) []byte {
	x := p.at(h)
	return x.buf[:x.size]
}

// Buffer is all of the room that the packet has, for who makes it longer with
// Resize.
func (p *Pool) Buffer(h Handle) []byte { return p.at(h).buf[:] }

// Resize changes the packet's length.
func (p *Pool) Resize(h Handle, size int) {
	if size < 0 || size > Size {
		panic(fmt.Sprintf("packet: %d bytes, want at most %d", size, Size))
	}
	p.at(h).size = uint16(size)
}

// Flow is who asked for the packet, as its maker marked it: a mark beside the
// bytes, which no translation changes. 0 is nobody.
func (p *Pool) Flow(h Handle) uint32 { return p.at(h).flow }

// Mark sets what Flow says.
func (p *Pool) Mark(h Handle, flow uint32) { p.at(h).flow = flow }

// Free gives the packet back. To free one twice is a mistake that would mix two
// packets up: it panics.
func (p *Pool) Free(h Handle) {
	x := p.at(h)
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
