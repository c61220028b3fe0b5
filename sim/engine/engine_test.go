package engine_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/engine"
)

func queues() map[string]func() engine.Queue {
	return map[string]func() engine.Queue{
		"heap":   func() engine.Queue { return new(engine.Heap) },
		"ladder": func() engine.Queue { return engine.NewLadder() },
	}
}

// hold is a world in which each event schedules another, some timers, and now
// and then a crowd at one instant.
type hold struct {
	e      *engine.Engine
	rand   *rand.Rand
	gap    func(*rand.Rand) vt.Instant
	timers []engine.Timer
	left   int
	seen   []engine.Event
}

func (h *hold) Handle(ev engine.Event) {
	h.seen = append(h.seen, ev)
	if h.left == 0 {
		return
	}
	h.left--
	at := h.e.Now() + h.gap(h.rand)
	h.e.At(at, engine.Class(h.rand.IntN(3)), engine.Entity(h.rand.IntN(50)), engine.Kind(h.rand.IntN(5)), uint32(h.left))
	switch h.rand.IntN(10) {
	case 0:
		for range h.rand.IntN(200) {
			h.e.At(at, 1, engine.Entity(h.rand.IntN(50)), 7, 0)
		}
	case 1:
		h.e.Arm(h.timers[h.rand.IntN(len(h.timers))], at+h.gap(h.rand))
	case 2:
		h.e.Stop(h.timers[h.rand.IntN(len(h.timers))])
	}
}

// gaps are distances to the next event: near, far, equal, skewed, mixed.
var gaps = map[string]func(*rand.Rand) vt.Instant{
	"uniform":     func(r *rand.Rand) vt.Instant { return vt.Instant(r.IntN(1000)) },
	"exponential": func(r *rand.Rand) vt.Instant { return vt.Instant(r.ExpFloat64() * 1e6) },
	"none":        func(*rand.Rand) vt.Instant { return 0 },
	"one":         func(*rand.Rand) vt.Instant { return 1 },
	"camel": func(r *rand.Rand) vt.Instant {
		if r.IntN(10) == 0 {
			return vt.Instant(r.IntN(1e12))
		}
		return vt.Instant(r.IntN(10))
	},
	"end of time": func(r *rand.Rand) vt.Instant {
		if r.IntN(50) == 0 {
			return engine.Horizon/1000 + vt.Instant(r.IntN(10))
		}
		return vt.Instant(r.IntN(100))
	},
}

func run(t *testing.T, q engine.Queue, gap func(*rand.Rand) vt.Instant, seed uint64, steps int) (*hold, *engine.Engine) {
	t.Helper()
	e := engine.New(engine.Options{Queue: q})
	h := &hold{e: e, rand: rand.New(rand.NewPCG(seed, 0)), gap: gap, left: steps}
	for i := range engine.Entity(20) {
		h.timers = append(h.timers, e.NewTimer(2, i, 9, uint32(1000+i)))
		e.At(vt.Instant(i), 0, i, 0, 0)
	}
	if err := e.Run(h, engine.Horizon); err != nil {
		t.Fatal(err)
	}
	return h, e
}

// TestOrder: both queues give the same events in the same order, which is the
// total one, and the same fingerprint, run after run.
func TestOrder(t *testing.T) {
	for name, gap := range gaps {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(5) {
				want, reference := run(t, new(engine.Heap), gap, seed, 3000)
				for q, make := range queues() {
					got, e := run(t, make(), gap, seed, 3000)
					if !slices.Equal(got.seen, want.seen) {
						t.Fatalf("%s, seed %d: %d events, other than the heap's %d", q, seed, len(got.seen), len(want.seen))
					}
					if e.Fingerprint() != reference.Fingerprint() || e.Handled() != uint64(len(got.seen)) {
						t.Errorf("%s, seed %d: fingerprint %v of %d, want %v", q, seed, e.Fingerprint(), e.Handled(), reference.Fingerprint())
					}
				}
				if !slices.IsSortedFunc(want.seen, func(a, b engine.Event) int { return cmp.Compare(a.At, b.At) }) {
					t.Errorf("seed %d: time went back", seed)
				}
			}
		})
	}
}

// TestFingerprintMoves: any difference of any event changes the fingerprint.
func TestFingerprintMoves(t *testing.T) {
	base := func(at vt.Instant, class engine.Class, entity engine.Entity, kind engine.Kind, arg uint32) engine.Fingerprint {
		e := engine.New(engine.Options{})
		e.At(1, 0, 0, 0, 0)
		e.At(at, class, entity, kind, arg)
		_ = e.Run(nobody{}, engine.Horizon)
		return e.Fingerprint()
	}
	seen := map[engine.Fingerprint]string{}
	for name, f := range map[string]engine.Fingerprint{
		"base": base(5, 1, 2, 3, 4), "time": base(6, 1, 2, 3, 4), "class": base(5, 2, 2, 3, 4),
		"entity": base(5, 1, 3, 3, 4), "kind": base(5, 1, 2, 4, 4), "argument": base(5, 1, 2, 3, 5),
	} {
		if old, twice := seen[f]; twice {
			t.Errorf("%s and %s: %v", name, old, f)
		}
		seen[f] = name
	}
}

type nobody struct{}

func (nobody) Handle(engine.Event) {}

// counter handles events by name.
type counter struct {
	e    *engine.Engine
	seen []string
	do   func(*counter, engine.Event)
}

func (c *counter) Handle(ev engine.Event) {
	c.seen = append(c.seen, fmt.Sprintf("%d@%d", ev.Arg(), ev.At))
	if c.do != nil {
		c.do(c, ev)
	}
}

// TestTimers: a timer goes off once, when it was last set to, and not when it
// was stopped.
func TestTimers(t *testing.T) {
	e := engine.New(engine.Options{})
	c := &counter{e: e}
	a, b, gone := e.NewTimer(0, 1, 0, 1), e.NewTimer(0, 1, 0, 2), e.NewTimer(0, 1, 0, 3)
	e.Arm(a, 10)
	e.Arm(a, 30)
	e.Arm(a, 20)
	e.Arm(b, 20)
	e.Arm(b, vt.Never)
	e.Arm(gone, 20)
	e.Stop(gone)
	e.Free(gone)
	again := e.NewTimer(0, 1, 0, 4)
	e.Arm(again, 25)
	if err := e.Run(c, 100); err != nil {
		t.Fatal(err)
	}
	if want := []string{"1@20", "4@25"}; !slices.Equal(c.seen, want) {
		t.Errorf("%v, want %v", c.seen, want)
	}
	if again != gone {
		t.Errorf("timer %d, want the freed %d", again, gone)
	}
}

// TestRunGoesOn: a run that stops at an instant goes on from there.
func TestRunGoesOn(t *testing.T) {
	for name, q := range queues() {
		e := engine.New(engine.Options{Queue: q()})
		c := &counter{e: e}
		for _, at := range []vt.Instant{1, 5, 5, 9} {
			e.At(at, 0, 1, 0, 0)
		}
		for _, end := range []vt.Instant{0, 4, 5, 8, 9, 99} {
			if err := e.Run(c, end); err != nil {
				t.Fatal(err)
			}
		}
		if len(c.seen) != 4 || e.Now() != 9 {
			t.Errorf("%s: %v at %d", name, c.seen, e.Now())
		}
	}
}

// TestBounds: a loop in zero time and a run without end are ended with the reason.
func TestBounds(t *testing.T) {
	e := engine.New(engine.Options{Instant: 100})
	c := &counter{e: e, do: func(c *counter, ev engine.Event) { c.e.At(ev.At, 0, 1, 0, 0) }}
	e.At(5, 0, 1, 0, 0)
	if err := e.Run(c, 10); !errors.Is(err, engine.ErrZeno) || len(c.seen) != 100 {
		t.Errorf("%v after %d events", err, len(c.seen))
	}
	e = engine.New(engine.Options{Budget: 50})
	c = &counter{e: e, do: func(c *counter, ev engine.Event) { c.e.At(ev.At+1, 0, 1, 0, 0) }}
	e.At(0, 0, 1, 0, 0)
	if err := e.Run(c, 1000); !errors.Is(err, engine.ErrBudget) || len(c.seen) != 50 {
		t.Errorf("%v after %d events", err, len(c.seen))
	}
}

// TestPast: the past does not change.
func TestPast(t *testing.T) {
	e := engine.New(engine.Options{})
	c := &counter{e: e, do: func(c *counter, ev engine.Event) {
		defer func() {
			if recover() == nil {
				t.Error("an event before now is taken")
			}
		}()
		c.e.At(ev.At-1, 0, 1, 0, 0)
	}}
	e.At(5, 0, 1, 0, 0)
	_ = e.Run(c, 10)
}

// holder is the hold model: each event schedules the next.
type holder struct {
	e    *engine.Engine
	x    uint64
	left int
}

func (h *holder) Handle(ev engine.Event) {
	if h.left--; h.left <= 0 {
		return
	}
	h.x = h.x*6364136223846793005 + 1442695040888963407
	h.e.At(ev.At+vt.Instant(1+h.x>>44), 0, ev.Entity(), 0, 0)
}

func holding(q engine.Queue, pending int) *holder {
	h := &holder{e: engine.New(engine.Options{Queue: q}), x: 1}
	for i := range pending {
		h.x = h.x*6364136223846793005 + 1442695040888963407
		h.e.At(vt.Instant(h.x>>44), 0, engine.Entity(i%1000), 0, 0)
	}
	return h
}

// TestNoAllocations: once it is warm, an event takes no memory.
func TestNoAllocations(t *testing.T) {
	for name, q := range queues() {
		h := holding(q(), 1000)
		h.left = 100_000
		_ = h.e.Run(h, h.e.Now()+1<<22)
		if n := testing.AllocsPerRun(20, func() {
			h.left = 1 << 30
			_ = h.e.Run(h, h.e.Now()+1<<17)
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkHold is the hold model at several sizes.
func BenchmarkHold(b *testing.B) {
	for _, pending := range []int{100, 10_000, 100_000} {
		for name, q := range queues() {
			b.Run(fmt.Sprintf("%s/%d", name, pending), func(b *testing.B) {
				h := holding(q(), pending)
				h.left = pending * 3
				_ = h.e.Run(h, engine.Horizon)
				h = holding(q(), pending)
				h.left = b.N
				b.ReportAllocs()
				b.ResetTimer()
				for h.left > 0 {
					_ = h.e.Run(h, h.e.Now()+1<<20)
				}
			})
		}
	}
}

// TestTotalOrder: what is scheduled for one instant comes by class, entity and
// sequence, in whatever order it was scheduled.
func TestTotalOrder(t *testing.T) {
	type key struct{ class, entity, arg int }
	var keys []key
	for class := range 3 {
		for entity := range 40 {
			for arg := range 3 {
				keys = append(keys, key{class, entity, arg})
			}
		}
	}
	for name, q := range queues() {
		e := engine.New(engine.Options{Queue: q()})
		c := &counter{e: e}
		shuffled := slices.Clone(keys)
		rand.New(rand.NewPCG(1, 1)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		slices.SortStableFunc(shuffled, func(a, b key) int { return cmp.Compare(a.arg, b.arg) }) // each entity in its own order
		for _, k := range shuffled {
			e.At(7, engine.Class(k.class), engine.Entity(k.entity), 0, uint32(k.class*10000+k.entity*10+k.arg))
		}
		_ = e.Run(c, 7)
		var want []string
		for _, k := range keys {
			want = append(want, fmt.Sprintf("%d@7", k.class*10000+k.entity*10+k.arg))
		}
		// An entity's sequence counts over all classes, so within a class and
		// entity the arguments are in order.
		if !slices.Equal(c.seen, want) {
			t.Errorf("%s: %v", name, c.seen)
		}
	}
}

// TestFewStaySmall: the room of a few events does not grow with those that went
// through it.
func TestFewStaySmall(t *testing.T) {
	for name, q := range queues() {
		h := holding(q(), 50)
		h.left = 1 << 30
		_, _ = h.e.Steps(h, engine.Horizon, 10_000)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = h.e.Steps(h, engine.Horizon, 300_000)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<14 {
			t.Errorf("%s: %d bytes for 300,000 events, 50 at a time", name, n)
		}
	}
}
