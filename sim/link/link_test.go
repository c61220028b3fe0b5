package link_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/link"
	"github.com/homeward-lab/homeward/sim/packet"
)

// world sends packets of numbers over one wire, one each gap.
type world struct {
	e    *engine.Engine
	pool packet.Pool
	wire *link.Wire
	got  []arrival
	gap  vt.Instant
	left uint32
	cut  vt.Instant
}

type arrival struct {
	n  uint32
	at vt.Instant
}

const (
	kindSend engine.Kind = iota
	kindArrive
	kindCut
)

func (w *world) Handle(ev engine.Event) {
	switch ev.Kind() {
	case kindSend:
		h, b := w.pool.New(1000)
		binary.BigEndian.PutUint32(b, ev.Arg())
		w.wire.Send(h)
		if ev.Arg()+1 < w.left {
			w.e.At(ev.At+w.gap, 0, 1, kindSend, ev.Arg()+1)
		}
	case kindCut:
		w.wire.SetDown(ev.Arg() == 1)
	case kindArrive:
		for more := true; more; {
			var h packet.Handle
			h, more = w.wire.Receive()
			w.got = append(w.got, arrival{binary.BigEndian.Uint32(w.pool.Data(h)), ev.At})
			w.pool.Free(h)
		}
	}
}

func run(t *testing.T, c impair.Config, n uint32, gap time.Duration, edit func(*world)) *world {
	t.Helper()
	w := &world{e: engine.New(engine.Options{}), gap: vt.Instant(gap), left: n}
	wire, err := link.New(w.e, &w.pool, w.e.NewTimer(0, 2, kindArrive, 0), c, impair.NewStream(1, "a-b", impair.AB))
	if err != nil {
		t.Fatal(err)
	}
	w.wire = wire
	w.e.At(0, 0, 1, kindSend, 0)
	if edit != nil {
		edit(w)
	}
	if err := w.e.Run(w, engine.Horizon); err != nil {
		t.Fatal(err)
	}
	if w.pool.Live() != 0 {
		t.Errorf("%d packets are lost track of", w.pool.Live())
	}
	return w
}

// TestAsTheModelSays: each packet comes out when and how impair.Line says, and
// nothing else does.
func TestAsTheModelSays(t *testing.T) {
	for name, c := range map[string]impair.Config{
		"plain":     {},
		"delay":     {Delay: 20 * time.Millisecond},
		"jitter":    {Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond},
		"loss":      {Loss: 0.3},
		"reorder":   {Delay: 5 * time.Millisecond, Reorder: 0.2},
		"duplicate": {Duplicate: 0.3, Delay: time.Millisecond},
		"rate":      {Rate: 10_000_000, Queue: 5000},
	} {
		t.Run(name, func(t *testing.T) {
			const n, gap = 2000, 500 * time.Microsecond
			got := run(t, c, n, gap, nil).got
			line, err := impair.New(c, impair.NewStream(1, "a-b", impair.AB), 0)
			if err != nil {
				t.Fatal(err)
			}
			var want []arrival
			for i := range uint32(n) {
				at := vt.Instant(i) * vt.Instant(gap)
				f := line.Send(at, 1000)
				if f.End != impair.Passed {
					continue
				}
				if c.Plain() {
					f.At = f.At.Add(link.Hop)
				}
				want = append(want, arrival{i, f.At})
				if f.Twice {
					want = append(want, arrival{i, f.At})
				}
			}
			slices.SortStableFunc(want, func(a, b arrival) int { return int(min(max(a.at-b.at, -1), 1)) })
			if !slices.Equal(got, want) {
				t.Errorf("%d arrivals, want %d, or another order", len(got), len(want))
			}
		})
	}
}

// TestCut: nothing passes a cut wire, what was under way arrives, and it heals.
func TestCut(t *testing.T) {
	w := run(t, impair.Config{Delay: 10 * time.Millisecond}, 100, time.Millisecond, func(w *world) {
		w.e.At(vt.Instant(30*time.Millisecond+1), 0, 3, kindCut, 1)
		w.e.At(vt.Instant(60*time.Millisecond+1), 0, 3, kindCut, 0)
	})
	if len(w.got) != 100-30 || w.wire.Dropped() != 30 || w.got[30].n != 30 || w.got[31].n != 61 {
		t.Errorf("%d arrived, %d dropped: %v", len(w.got), w.wire.Dropped(), w.got)
	}
}

// TestSlow: where packets take more than Hop of a plain wire none overtakes, each
// arrives in time, not all as late, and another seed is another chance.
func TestSlow(t *testing.T) {
	const n, gap, most = 2000, 20 * time.Microsecond, 150 * time.Microsecond
	slow := func(seed uint64) []arrival {
		return run(t, impair.Config{}, n, gap, func(w *world) { w.wire.Slow(most, seed) }).got
	}
	got := slow(1)
	times := map[time.Duration]bool{}
	for i, a := range got {
		took := a.at.Sub(vt.Instant(i) * vt.Instant(gap))
		if int(a.n) != i || took < link.Hop || took > most {
			t.Fatalf("packet %d is number %d and took %v, want %v to %v", i, a.n, took, link.Hop, most)
		}
		times[took] = true
	}
	if len(got) != n || len(times) < n/2 {
		t.Errorf("%d packets came, with %d times", len(got), len(times))
	}
	if !slices.Equal(got, slow(1)) || slices.Equal(got, slow(2)) {
		t.Error("want the same by one seed, and others by another")
	}
}
