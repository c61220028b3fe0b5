package load

// again is a refused flow that tries later.
type again struct {
	at  float64
	n   uint64
	try int
	// client is 48 bits of chance: its address and port.
	client uint64
	hold   float64
}

func (a *again) before(b *again) bool { return a.at < b.at || a.at == b.at && a.n < b.n }

// waiting is a heap, the next first. It holds values: where many are refused it is a
// third of a run.
type waiting []again

func (w *waiting) push(a again) {
	h := append(*w, a)
	i := len(h) - 1
	for i > 0 && a.before(&h[(i-1)/2]) {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = a
	*w = h
}

func (w *waiting) pop() again {
	h := *w
	first, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	*w = h
	for i := 0; len(h) > 0; {
		k := 2*i + 1
		if k+1 < len(h) && h[k+1].before(&h[k]) {
			k++
		}
		if k >= len(h) || !h[k].before(&last) {
			h[i] = last
			break
		}
		h[i], i = h[k], k
	}
	return first
}
