package fragment_test

import (
	"bytes"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/fragment"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// piece is a fragment as a test made it.
type piece struct {
	offset int
	data   []byte
	more   bool
}

func (p piece) end() int { return p.offset + len(p.data) }

// oracle is the slow obvious reassembler: lists, and nothing between them.
type oracle struct {
	limits fragment.Limits
	held   []*heldDatagram
}

type heldDatagram struct {
	key      fragment.Key
	deadline vt.Instant
	pieces   []piece
	refused  fragment.Result
}

// pages is what the datagram costs: 2 KiB wherever any byte of it lies.
func (h *heldDatagram) pages(more ...piece) int {
	seen := map[int]bool{}
	for _, p := range append(slices.Clone(h.pieces), more...) {
		for at := p.offset; at < p.end(); at++ {
			seen[at/2048] = true
		}
	}
	return len(seen)
}

func (o *oracle) expire(now vt.Instant) (timedOut uint64) {
	o.held = slices.DeleteFunc(o.held, func(h *heldDatagram) bool {
		gone := now >= h.deadline
		if gone && h.refused == fragment.Incomplete {
			timedOut++
		}
		return gone
	})
	return timedOut
}

// add returns the payload of the whole. The piece itself is sound.
func (o *oracle) add(now vt.Instant, key fragment.Key, p piece) (payload []byte, result fragment.Result, timedOut uint64) {
	timedOut = o.expire(now)
	i := slices.IndexFunc(o.held, func(h *heldDatagram) bool { return h.key == key })
	if i < 0 {
		if len(o.held) >= o.limits.Datagrams {
			return nil, fragment.Full, timedOut
		}
		i = len(o.held)
		o.held = append(o.held, &heldDatagram{key: key, deadline: now.Add(30 * time.Second)})
	}
	h := o.held[i]
	if h.refused != fragment.Incomplete {
		return nil, h.refused, timedOut
	}
	if result = h.judge(p); result == fragment.Incomplete {
		used := h.pages(p)
		for _, other := range o.held {
			if other != h {
				used += other.pages()
			}
		}
		if used > o.limits.Bytes/2048 {
			result = fragment.Full
		}
	}
	switch result {
	case fragment.Incomplete:
		h.pieces = append(h.pieces, p)
		if payload = h.whole(); payload != nil {
			o.held = slices.Delete(o.held, i, i+1)
			return payload, fragment.Complete, timedOut
		}
	case fragment.Overlap, fragment.Full:
		h.refused, h.pieces = result, nil
	}
	return nil, result, timedOut
}

func (h *heldDatagram) judge(p piece) fragment.Result {
	for _, q := range h.pieces {
		if q.offset == p.offset && q.more == p.more && bytes.Equal(q.data, p.data) {
			return fragment.Duplicate
		}
	}
	for _, q := range h.pieces {
		if p.offset < q.end() && q.offset < p.end() || // shared bytes
			!q.more && p.end() > q.end() || !p.more && q.end() > p.end() || // beyond the end
			!p.more && !q.more {
			return fragment.Overlap
		}
	}
	return fragment.Incomplete
}

// whole is the payload if the pieces follow each other from 0 to the last.
func (h *heldDatagram) whole() []byte {
	sorted := slices.Clone(h.pieces)
	slices.SortFunc(sorted, func(a, b piece) int { return a.offset - b.offset })
	var b []byte
	for _, p := range sorted {
		if p.offset != len(b) {
			return nil
		}
		b = append(b, p.data...)
		if !p.more {
			return b
		}
	}
	return nil
}
