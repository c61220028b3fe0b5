package pump

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/homeward-lab/homeward/dataplane/impair"
)

// What is held leaves in the order of its time, every frame as it came: against
// a list that is sorted.
func TestHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := newStore(100, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var a agenda
		var queues [3]queue
		type item struct {
			at    int64
			frame uint64
		}
		var want, got []item
		last := [3]int64{}
		for n := range rapid.IntRange(0, 200).Draw(t, "frames") {
			w := rapid.IntRange(0, 2).Draw(t, "wire")
			at := last[w] + rapid.Int64Range(0, 5).Draw(t, "later")
			over := rapid.IntRange(0, 9).Draw(t, "overtakes") == 0
			if over {
				at = rapid.Int64Range(0, at).Draw(t, "earlier")
			}
			h := held{at: at, slot: s.take(binary.BigEndian.AppendUint64(nil, uint64(n))), length: 8}
			want = append(want, item{at, uint64(n)})
			if over {
				a.push(due{at, int32(w), h})
				continue
			}
			last[w] = at
			if queues[w].push(h); queues[w].size == 1 {
				a.push(due{at, int32(w), held{slot: none}})
			}
		}
		take := func(h held) {
			got = append(got, item{h.at, binary.BigEndian.Uint64(s.at(h.slot, 8))})
			s.give(h.slot)
		}
		for len(a) > 0 {
			d := a[0]
			a.pop()
			if d.overtake.slot != none {
				take(d.overtake)
				continue
			}
			q := &queues[d.wire]
			take(*q.head())
			if q.pop(); q.size > 0 {
				a.push(due{q.head().at, d.wire, held{slot: none}})
			}
		}
		if !slices.IsSortedFunc(got, func(x, y item) int { return int(x.at - y.at) }) {
			t.Fatalf("not in the order of time: %v", got)
		}
		byFrame := func(x, y item) int { return int(x.frame) - int(y.frame) }
		slices.SortFunc(got, byFrame)
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if len(s.free) != len(s.pieces)*pieceSlots {
			t.Fatalf("%d of %d slots are free", len(s.free), len(s.pieces)*pieceSlots)
		}
	})
}

// Memory for packets grows up to its bound, and then there is none.
func TestStoreIsBounded(t *testing.T) {
	s, err := newStore(1514, 3*pieceSlots*1536)
	if err != nil {
		t.Fatal(err)
	}
	frame := bytes.Repeat([]byte{7}, 1514)
	for n := range 3 * pieceSlots {
		if s.take(frame) == none {
			t.Fatalf("no room for packet %d of %d", n, 3*pieceSlots)
		}
	}
	if s.take(frame) != none {
		t.Error("room beyond the bound")
	}
	s.give(5)
	if got := s.take(frame); got != 5 {
		t.Errorf("slot %d, want the one given back", got)
	}
}

// A frame comes, is held, and is due again without an allocation.
func TestNoAllocations(t *testing.T) {
	l, err := newLoop(1518, 1<<24, clock{began: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	model, err := impair.New(impair.Config{Delay: 1000, Jitter: 500, Loss: 0.1, Reorder: 0.2, Duplicate: 0.2, Corrupt: 0.2}, impair.Stream{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := &way{model: model, asked: newTimes(1), late: newTimes(1)}
	frame := make([]byte, 1514)
	round := func() {
		w.latest += 1e6
		l.take(0, w, frame)
		for len(l.agenda) > 0 {
			d := l.agenda[0]
			l.agenda.pop()
			h := d.overtake
			if h.slot == none {
				h = *w.queue.head()
				if w.queue.pop(); w.queue.size > 0 {
					l.agenda.push(due{w.queue.head().at, 0, held{slot: none}})
				}
			}
			l.store.give(h.slot)
		}
	}
	round() // the queue's first memory
	if n := testing.AllocsPerRun(5000, round); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}
