package load

import "slices"

// wheel is what ends later, by time: a ring of slots of equal width, each a list.
// What is more than a turn ahead waits in its slot for its turn. Ends are exact:
// within the slot of now only those are taken that are due.
type wheel struct {
	slots   []int32 // the first of each list, none
	entries []entry
	free    int32
	width   float64
	at      int64 // the slot of the last Due
}

type entry struct {
	at   float64
	what int32
	next int32
}

const none = -1

// newWheel is for about so many entries, that stay for a mean time.
func newWheel(expect, stay float64) *wheel {
	n := 64
	for float64(n) < expect && n < 1<<20 {
		n *= 2
	}
	w := &wheel{slots: make([]int32, n), free: none, width: 2 * stay / float64(n)}
	for i := range w.slots {
		w.slots[i] = none
	}
	return w
}

func (w *wheel) slot(at float64) int64 { return int64(at / w.width) }

// add notes that what ends at a time that is not before the last Due.
func (w *wheel) add(at float64, what int32) {
	i := w.free
	if i == none {
		i = int32(len(w.entries))
		w.entries = append(w.entries, entry{})
	} else {
		w.free = w.entries[i].next
	}
	head := &w.slots[w.slot(at)&int64(len(w.slots)-1)]
	w.entries[i] = entry{at, what, *head}
	*head = i
}

// due takes out all that ends until now, in no order that means anything.
func (w *wheel) due(now float64, end func(what int32)) {
	to := w.slot(now)
	from := max(w.at, to-int64(len(w.slots))+1) // a turn is enough
	for s := from; s <= to; s++ {
		link := &w.slots[s&int64(len(w.slots)-1)]
		for *link != none {
			i := *link
			e := &w.entries[i]
			if e.at > now {
				link = &e.next
				continue
			}
			*link, e.next, w.free = e.next, w.free, i
			end(e.what)
		}
	}
	w.at = to
}

// left is the time that all that is there has left at now, which due was told.
func (w *wheel) left(now float64) (sum float64) {
	for _, i := range w.slots {
		for ; i != none; i = w.entries[i].next {
			sum += w.entries[i].at - now
		}
	}
	return sum
}

func (w *wheel) clone() *wheel {
	c := *w
	c.slots, c.entries = slices.Clone(w.slots), slices.Clone(w.entries)
	return &c
}
