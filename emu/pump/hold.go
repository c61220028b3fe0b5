package pump

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// slot is a place for one frame.
type slot int32

// none is no slot.
const none slot = -1

// store is memory for frames under way, all of one size, taken from the system
// in pieces and never given back.
type store struct {
	size   int // of a slot
	pieces [][]byte
	free   []slot
	most   int // pieces
}

// pieceSlots is how many slots one piece holds.
const pieceSlots = 1024

// newStore has room for one piece at once, and for memory bytes in all.
func newStore(frame, memory int) (*store, error) {
	s := &store{size: (frame + 63) &^ 63}
	s.most = max(memory/(s.size*pieceSlots), 1)
	s.pieces = make([][]byte, 0, s.most)
	s.free = make([]slot, 0, s.most*pieceSlots)
	if !s.grow() {
		return nil, fmt.Errorf("memory for %d packets of %d bytes: there is none", pieceSlots, frame)
	}
	return s, nil
}

// grow takes another piece, every page of it at once.
func (s *store) grow() bool {
	if len(s.pieces) == s.most {
		return false
	}
	piece, err := unix.Mmap(-1, 0, s.size*pieceSlots, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return false
	}
	first := len(s.pieces) * pieceSlots
	s.pieces = append(s.pieces, piece)
	for i := range pieceSlots {
		s.free = append(s.free, slot(first+i))
	}
	return true
}

// take copies a frame into a slot; none if there is no room.
func (s *store) take(frame []byte) slot {
	if len(s.free) == 0 && !s.grow() {
		return none
	}
	at := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	copy(s.at(at, len(frame)), frame)
	return at
}

func (s *store) at(i slot, length int) []byte {
	piece := s.pieces[int(i)/pieceSlots]
	return piece[int(i)%pieceSlots*s.size:][:length:length]
}

func (s *store) give(i slot) { s.free = append(s.free, i) }

// held is a frame under way.
type held struct {
	at     int64 // when it is to leave
	slot   slot
	length int32
}

// queue is frames in the order in which they leave.
type queue struct {
	ring        []held // a power of two long
	first, size int
}

func (q *queue) push(h held) {
	if q.size == len(q.ring) {
		bigger := make([]held, max(2*len(q.ring), pieceSlots))
		for i := range q.size {
			bigger[i] = q.ring[(q.first+i)&(len(q.ring)-1)]
		}
		q.ring, q.first = bigger, 0
	}
	q.ring[(q.first+q.size)&(len(q.ring)-1)] = h
	q.size++
}

func (q *queue) head() *held { return &q.ring[q.first] }

func (q *queue) pop() {
	q.first = (q.first + 1) & (len(q.ring) - 1)
	q.size--
}

// due is when a wire has something to send: the head of its queue, or one frame
// that overtakes it.
type due struct {
	at       int64
	wire     int32
	overtake held // slot none: the head of the queue
}

// agenda is a heap of what is due, the earliest first. Of the queue of a wire it
// holds the head alone.
type agenda []due

func (a *agenda) push(d due) {
	h := append(*a, d)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if h[up].at <= h[i].at {
			break
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
	*a = h
}

func (a *agenda) pop() {
	h := *a
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < last && h[child].at < h[least].at {
				least = child
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	*a = h
}
