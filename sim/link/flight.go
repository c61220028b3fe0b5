package link

import (
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/packet"
)

// flight are the packets on a wire: first out is the first to arrive, and of
// those of one time the first that went in. The zero value is empty.
//
// Nearly all arrive in the order in which they went in: they are in a ring, and
// cost the same however many there are. Only those that overtake are in a heap.
type flight struct {
	ring []arrival // of a power of two
	// head and tail count on: what is between them is in the ring.
	head, tail uint32
	last       vt.Instant // of the ring's packets
	early      []arrival  // a heap
	count      uint32     // of all that went in
}

type arrival struct {
	at vt.Instant
	// n tells packets of one time apart. It wraps around: much less than half of
	// its range is ever on one wire.
	n uint32
	h packet.Handle
}

func (a *arrival) before(b *arrival) bool {
	return a.at < b.at || a.at == b.at && int32(a.n-b.n) < 0
}

func (f *flight) len() int { return int(f.tail-f.head) + len(f.early) }

// slot is a place of the ring's.
func (f *flight) slot(i uint32) *arrival { return &f.ring[i&uint32(len(f.ring)-1)] }

// overtaken says that the next packet is one that overtook others.
func (f *flight) overtaken() bool {
	return len(f.early) > 0 && (f.head == f.tail || f.early[0].before(f.slot(f.head)))
}

// follow adds a packet behind others, if that is where it goes and there is room:
// nearly always.
func (f *flight) follow(at vt.Instant, h packet.Handle) bool {
	if f.head == f.tail || at < f.last || int(f.tail-f.head) == len(f.ring) {
		return false
	}
	f.count++
	*f.slot(f.tail) = arrival{at, f.count, h}
	f.tail++
	f.last = at
	return true
}

// push adds a packet, and reports whether it is the next.
func (f *flight) push(at vt.Instant, h packet.Handle) bool {
	if f.follow(at, h) {
		return false
	}
	f.count++
	if f.head != f.tail && at < f.last {
		return f.overtake(arrival{at, f.count, h})
	}
	if int(f.tail-f.head) == len(f.ring) {
		f.grow()
	}
	first := f.head == f.tail
	*f.slot(f.tail) = arrival{at, f.count, h}
	f.tail++
	f.last = at
	return first && !f.overtaken()
}

// grow doubles the ring.
//
//go:noinline
func (f *flight) grow() {
	old := *f
	f.ring = make([]arrival, max(8, 2*len(old.ring)))
	for i := old.head; i != old.tail; i++ {
		*f.slot(i) = *old.slot(i)
	}
}

// next is the next packet, nil without one.
func (f *flight) next() *arrival {
	switch {
	case f.overtaken():
		return &f.early[0]
	case f.head == f.tail:
		return nil
	}
	return f.slot(f.head)
}

// pop takes the next packet out; there is one. next is the one behind it, nil
// without one.
func (f *flight) pop() (h packet.Handle, next *arrival) {
	if f.overtaken() {
		h = f.popEarly()
	} else {
		h = f.slot(f.head).h
		f.head++
	}
	return h, f.next()
}

// several reports whether more than one packet is under way and none overtook.
func (f *flight) several() bool { return len(f.early) == 0 && f.tail-f.head > 1 }

// overtake adds a packet to the heap, and reports whether it is the next.
//
//go:noinline
func (f *flight) overtake(a arrival) bool {
	i := len(f.early)
	f.early = append(f.early, a)
	for i > 0 {
		parent := (i - 1) / 2
		if !a.before(&f.early[parent]) {
			break
		}
		f.early[i] = f.early[parent]
		i = parent
	}
	f.early[i] = a
	return i == 0 && f.overtaken()
}

func (f *flight) popEarly() packet.Handle {
	first, n := f.early[0].h, len(f.early)-1
	a := f.early[n]
	f.early = f.early[:n]
	i := 0
	for 2*i+1 < n {
		child := 2*i + 1
		if child+1 < n && f.early[child+1].before(&f.early[child]) {
			child++
		}
		if !f.early[child].before(&a) {
			break
		}
		f.early[i] = f.early[child]
		i = child
	}
	if n > 0 {
		f.early[i] = a
	}
	return first
}
