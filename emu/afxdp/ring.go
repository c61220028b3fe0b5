package afxdp

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is one of a socket's four queues, in memory shared with the kernel: one
// side moves producer, the other consumer, both without end, and an entry's place
// is its number under mask.
type ring[T any] struct {
	mapping            []byte
	producer, consumer *uint32
	entries            []T
	mask               uint32
	// next is our side's index, which the kernel sees once it is published.
	next uint32
}

// mapRing has the kernel make a ring of that many entries, a power of two, and
// maps it.
func mapRing[T any](fd, option int, entries uint32, at unix.XDPRingOffset, page int64) (*ring[T], error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_XDP, option, int(entries)); err != nil {
		return nil, fmt.Errorf("ring of %d entries: %w", entries, err)
	}
	var one T
	size := int(at.Desc) + int(entries)*int(unsafe.Sizeof(one))
	m, err := unix.Mmap(fd, page, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map a ring of %d bytes: %w", size, err)
	}
	return &ring[T]{
		mapping:  m,
		producer: (*uint32)(unsafe.Pointer(&m[at.Producer])),
		consumer: (*uint32)(unsafe.Pointer(&m[at.Consumer])),
		entries:  unsafe.Slice((*T)(unsafe.Pointer(&m[at.Desc])), entries),
		mask:     entries - 1,
	}, nil
}

func (r *ring[T]) close() error {
	if r == nil {
		return nil
	}
	return unix.Munmap(r.mapping)
}

// put appends an entry of ours; the caller knows that there is room.
func (r *ring[T]) put(v T) {
	r.entries[r.next&r.mask] = v
	r.next++
}

// publish shows the kernel what was put.
func (r *ring[T]) publish() { atomic.StoreUint32(r.producer, r.next) }

// unread is how many of ours the kernel has not taken.
func (r *ring[T]) unread() uint32 { return r.next - atomic.LoadUint32(r.consumer) }

// there is how many of the kernel's entries wait for us.
func (r *ring[T]) there() uint32 { return atomic.LoadUint32(r.producer) - r.next }

// take returns the kernel's next entry; there must be one.
func (r *ring[T]) take() T {
	v := r.entries[r.next&r.mask]
	r.next++
	return v
}

// release gives the places of what was taken back.
func (r *ring[T]) release() { atomic.StoreUint32(r.consumer, r.next) }
