package flow

import (
	"math/bits"

	"github.com/homeward-lab/homeward/dataplane/vt"
)

// A hierarchical timer wheel (Varghese and Lauck, scheme 7): six levels of 64
// slots over ticks of 2^24 ns (17 ms), so the top level turns in 36 years.
// Which slots are occupied is a bit map, so that virtual time can jump.
const (
	tickShift = 24
	slotBits  = 6
	slots     = 1 << slotBits
	levels    = 6
	nowhere   = 0 // a link's at when it is in no list
)

// link chains the flows of one slot; next and prev are Index + 1.
type link struct {
	next, prev uint32
	at         uint32 // level*slots + slot + 1
}

type wheel struct {
	tick     int64 // everything up to here has fired
	occupied [levels]uint64
	heads    [levels * slots]uint32
	links    []link
}

func (w *wheel) init() { *w = wheel{} }

func (w *wheel) grow(n int) {
	if n <= len(w.links) {
		return
	}
	links := make([]link, max(n, 2*len(w.links)))
	copy(links, w.links)
	w.links = links
}

// arm puts i where it fires at the first tick not before t; it may be armed
// already.
func (w *wheel) arm(i Index, t vt.Instant) {
	due := int64(t) >> tickShift
	if int64(t)&(1<<tickShift-1) != 0 {
		due++
	}
	w.disarm(i)
	w.insert(i, max(due, w.tick+1))
}

func (w *wheel) insert(i Index, due int64) {
	delta := due - w.tick
	level := 0
	for level < levels-1 && delta >= 1<<(slotBits*(level+1)) {
		level++
	}
	// Beyond the top level's turn it waits there for another one.
	due = min(due, w.tick+1<<(slotBits*levels)-1)
	at := uint32(level*slots) + uint32(due>>(slotBits*level))&(slots-1)
	head := w.heads[at]
	w.links[i] = link{next: head, at: at + 1}
	if head != 0 {
		w.links[head-1].prev = uint32(i) + 1
	}
	w.heads[at] = uint32(i) + 1
	w.occupied[level] |= 1 << (at % slots)
}

func (w *wheel) disarm(i Index) {
	l := w.links[i]
	if l.at == nowhere {
		return
	}
	at := l.at - 1
	if l.prev != 0 {
		w.links[l.prev-1].next = l.next
	} else {
		w.heads[at] = l.next
		if l.next == 0 {
			w.occupied[at/slots] &^= 1 << (at % slots)
		}
	}
	if l.next != 0 {
		w.links[l.next-1].prev = l.prev
	}
	w.links[i] = link{}
}

// nextTick is the first tick at which a slot fires or cascades.
func (w *wheel) nextTick() (int64, bool) {
	first, found := int64(0), false
	for level, occupied := range w.occupied {
		if occupied == 0 {
			continue
		}
		cur := w.tick >> (slotBits * level)
		ahead := bits.TrailingZeros64(bits.RotateLeft64(occupied, -int((cur+1)&(slots-1)))) + 1
		tick := (cur + int64(ahead)) << (slotBits * level)
		if !found || tick < first {
			first, found = tick, true
		}
	}
	return first, found
}

func (w *wheel) next() vt.Instant {
	tick, ok := w.nextTick()
	if !ok || tick > int64(vt.Never)>>tickShift {
		return vt.Never
	}
	return vt.Instant(tick << tickShift)
}

// advance fires everything due at or before now, in the order of ticks. fire
// may arm and disarm anything.
func (w *wheel) advance(now vt.Instant, fire func(Index)) {
	to := int64(now) >> tickShift
	for {
		tick, ok := w.nextTick()
		if !ok || tick > to {
			w.tick = max(w.tick, to)
			return
		}
		w.tick = tick
		for level := levels - 1; level > 0; level-- {
			if tick&(1<<(slotBits*level)-1) == 0 {
				w.cascade(level, tick)
			}
		}
		// Taken one by one, because firing one may remove another.
		at := uint32(tick & (slots - 1))
		for w.heads[at] != 0 {
			i := Index(w.heads[at] - 1)
			w.disarm(i)
			fire(i)
		}
	}
}

// cascade brings down the slot of level that starts at tick. The wheel does not
// keep exact deadlines, so everything in it goes to the slot of this very tick:
// firing re-arms what has time left, and that finds its lower level.
func (w *wheel) cascade(level int, tick int64) {
	at := level*slots + int(tick>>(slotBits*level))&(slots-1)
	for w.heads[at] != 0 {
		i := Index(w.heads[at] - 1)
		w.disarm(i)
		w.insert(i, tick)
	}
}
