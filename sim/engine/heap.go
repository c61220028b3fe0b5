package engine

// Heap is a 4-ary heap of values: the reference, and the better queue for few
// events. The zero value is empty.
type Heap struct{ events []Event }

// Len implements Queue.
func (h *Heap) Len() int { return len(h.events) }

// Push implements Queue.
func (h *Heap) Push(e Event) {
	i := len(h.events)
	h.events = append(h.events, e)
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(h.events[parent]) {
			break
		}
		h.events[i] = h.events[parent]
		i = parent
	}
	h.events[i] = e
}

// Pop implements Queue.
func (h *Heap) Pop() (first Event, ok bool) {
	n := len(h.events) - 1
	if n < 0 {
		return Event{}, false
	}
	first = h.events[0]
	e := h.events[n]
	h.events = h.events[:n]
	if n == 0 {
		return first, true
	}
	i := 0
	for {
		child := 4*i + 1
		if child >= n {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, n); c++ {
			if h.events[c].before(h.events[least]) {
				least = c
			}
		}
		if !h.events[least].before(e) {
			break
		}
		h.events[i] = h.events[least]
		i = least
	}
	h.events[i] = e
	return first, true
}
