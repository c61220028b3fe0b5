package main

import (
	"cmp"
	"context"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// With --jobs 0 a wave is of mostLabs labs, and another one's traffic begins when, for
// spareWindow, all of the machine's processors together were used for spareShare of
// their time or less. Of more at once each would be late.
const (
	spareWindow = 400 * time.Millisecond
	spareShare  = 0.4
	mostLabs    = 8
)

// task is a variant to run on an engine; place is that of its result.
type task struct {
	v     *variant
	e     engine
	place int
}

// runAll has every variant run on every engine: simulations first, for beside a lab
// they would take the lab's time; then labs, those that last longest first, so that
// what lasts alike shares a wave.
func (s *session) runAll(ctx context.Context) {
	var labs, others []task
	for i, v := range s.variants {
		for k, e := range s.engines {
			if j := (task{v, e, i*len(s.engines) + k}); e.lab {
				labs = append(labs, j)
			} else {
				others = append(others, j)
			}
		}
	}
	var group errgroup.Group
	group.SetLimit(cmp.Or(s.flags.jobs, runtime.GOMAXPROCS(0)))
	for _, j := range others {
		group.Go(func() error { s.run(ctx, j, nil); return nil })
	}
	_ = group.Wait() // the runs carry their own errors
	size := cmp.Or(s.flags.jobs, mostLabs)
	if size > 1 {
		slices.SortStableFunc(labs, func(a, b task) int { return cmp.Compare(s.lasts(b), s.lasts(a)) })
	}
	var ending sync.WaitGroup
	for some := range slices.Chunk(labs, size) {
		w := newWave(len(some), s.flags.jobs == 0)
		for _, j := range some {
			ending.Go(func() {
				turn := w.enter()
				defer turn.leave()
				s.run(ctx, j, turn.take)
			})
		}
		w.over.Wait()
		if size == 1 {
			ending.Wait()
		}
	}
	ending.Wait()
	s.screen.clear()
}

func (s *session) run(ctx context.Context, j task, turn turnFunc) {
	if ctx.Err() == nil {
		s.runs[j.place] = s.runOne(ctx, j.v, j.e, turn)
	}
}

// lasts is about how long the traffic of a lab will: as long as it did in virtual time,
// and until the last of its flows and faults that have a time.
func (s *session) lasts(j task) (last time.Duration) {
	for i := range j.v.plan.Flows {
		last = max(last, j.v.plan.Flows[i].Start)
	}
	for i := range j.v.plan.Faults {
		f := &j.v.plan.Faults[i]
		last = max(last, (f.At + f.For).D())
	}
	first := j.place - j.place%len(s.engines)
	for _, r := range s.runs[first : first+len(s.engines)] {
		if r == nil || r.records == nil {
			continue
		}
		for i := range r.records.Flows {
			last = max(last, time.Duration(r.records.Flows[i].EndNs))
		}
	}
	return last
}

// turnFunc is emu/run's Options.Turn.
type turnFunc func(ctx context.Context) (over func())

// wave is labs that come up together, then send their traffic, and when the last of
// them is done go down together, while the next wave comes up. A lab waits for most of
// its time, but as it comes up or goes down it takes all that a machine has: that is
// not to meet another's traffic, least of all again and again at one moment of it, as
// where variants of one file follow each other.
type wave struct {
	up, over sync.WaitGroup // labs that are on their way there
	raising  chan struct{}  // has room for those that come up at once
	spare    bool           // traffic waits for spare processors
	next     sync.Mutex     // who waits for them
	sending  atomic.Int32   // labs with traffic
}

func newWave(labs int, spare bool) *wave {
	w := &wave{raising: make(chan struct{}, runtime.GOMAXPROCS(0)+1), spare: spare}
	w.up.Add(labs)
	w.over.Add(labs)
	return w
}

// turn is what one lab of a wave has done of what the others wait for.
type turn struct {
	w        *wave
	up, over func()
}

// enter waits until another lab may come up.
func (w *wave) enter() *turn {
	w.raising <- struct{}{}
	return &turn{w: w, up: sync.OnceFunc(func() { <-w.raising; w.up.Done() }), over: sync.OnceFunc(w.over.Done)}
}

// take waits until the lab's traffic may begin; over is for when it has ended, and
// waits until all others' has.
func (t *turn) take(ctx context.Context) (over func()) {
	t.up()
	t.w.up.Wait()
	if t.w.spare {
		t.w.next.Lock()
		awaitSpare(ctx, &t.w.sending, func() (float64, bool) { return used(spareWindow) })
		t.w.next.Unlock()
	}
	t.w.sending.Add(1)
	return func() {
		t.w.sending.Add(-1)
		t.over()
		t.w.over.Wait()
	}
}

// leave says that nobody need wait for the lab, which has ended, or never began.
func (t *turn) leave() {
	t.up()
	t.over()
}

// awaitSpare returns when a machine, of whose processors used says how much is used, has
// time for another lab's traffic, when there is none, or when ctx is done. Where nobody
// knows it has time for one.
func awaitSpare(ctx context.Context, sending *atomic.Int32, used func() (share float64, known bool)) {
	for sending.Load() > 0 && ctx.Err() == nil {
		if share, known := used(); known && share <= spareShare {
			return
		}
	}
}

// used is which share of the processors' time is used from now on for as long.
func used(window time.Duration) (share float64, known bool) {
	before, ok := processorTicks()
	time.Sleep(window)
	after, ok2 := processorTicks()
	all := after[0] - before[0]
	if !ok || !ok2 || all == 0 {
		return 0, false
	}
	return float64(after[1]-before[1]) / float64(all), true
}

// processorTicks is what the processors did since the machine began, and how much of
// that was not to idle, in ticks (proc_stat(5)).
func processorTicks() (t [2]uint64, known bool) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return t, false
	}
	line, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(line)
	const idle, wait, guest = 4, 5, 9 // what guests used is counted before, too
	for i := 1; i < min(len(fields), guest); i++ {
		n, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return t, false
		}
		if t[0] += n; i != idle && i != wait {
			t[1] += n
		}
	}
	return t, t[0] > 0
}
