package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// processors are how many the process may use: labs raise what the runtime says.
var processors = runtime.GOMAXPROCS(0)

// With --jobs 0 the first wave has two labs for each processor, later ones more, up to
// mostLabs, or fewer: as busy as those before were (sized).
const mostLabs = 8

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
	group.SetLimit(cmp.Or(s.flags.jobs, processors))
	for _, j := range others {
		group.Go(func() error { s.run(ctx, j, nil, s.out.Run); return nil })
	}
	_ = group.Wait() // the runs carry their own errors
	s.runLabs(ctx, labs, cmp.Or(s.flags.jobs, mostLabs), s.out.Run)
}

// runLabs has labs run in waves of most labs, or with --jobs 0 of as many of those as there
// is processor time for.
func (s *session) runLabs(ctx context.Context, labs []task, most int, open openFunc) {
	free := s.flags.jobs == 0
	size := most
	if free {
		size = min(most, 2*processors)
	}
	if size > 1 {
		slices.SortStableFunc(labs, func(a, b task) int { return cmp.Compare(s.lasts(b), s.lasts(a)) })
	}
	var last *wave
	for len(labs) > 0 {
		some := labs[:min(size, len(labs))]
		labs = labs[len(some):]
		w := newWave(last, len(some), free)
		for _, j := range some {
			go func() {
				turn := w.enter()
				defer turn.leave()
				s.run(ctx, j, turn.take, open)
			}()
		}
		w.over.Wait()
		if size == 1 {
			w.down.Wait()
		}
		if share, known := w.used(); free && known {
			size = min(most, sized(len(some), share))
		}
		last = w
	}
	for ; last != nil; last = last.before {
		last.down.Wait()
	}
	s.screen.clear()
}

// While its labs send, a wave is to use between idleWave and busyWave of the machine's
// processors: with more in use, whatever is to run next waits too often for one.
const (
	idleWave = 0.4
	busyWave = 0.6
)

// sized is how many labs are in the next wave, by how many were in one and which share of
// the processors they used: waves of like labs follow each other.
func sized(labs int, used float64) int {
	switch {
	case used > busyWave:
		return max(labs-1, 1)
	case used < idleWave:
		return labs + 1
	}
	return labs
}

func (s *session) run(ctx context.Context, j task, turn turnFunc, open openFunc) {
	if ctx.Err() == nil {
		s.runs[j.place] = s.runOne(ctx, j.v, j.e, turn, open)
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

// wave is labs that come up together, then send their traffic, beginning one after
// another, and when the last of them is done go down together, while the next wave comes
// up. A lab waits for most of its time, but as it comes up or goes down it takes all that
// a machine has: that is not to meet another's traffic, least of all again and again at
// one moment of it, as where variants of one file follow each other.
type wave struct {
	before         *wave          // nil of the first
	up, over, down sync.WaitGroup // labs that are on their way there
	raising        chan struct{}  // has room for those that come up at once
	spare          bool           // traffic waits for spare processors, and not for a while alone
	next           sync.Mutex     // whose traffic is the next
	sending        atomic.Int32   // labs with traffic
	began          [2]uint64      // processorTicks when the first could begin to send
	begin          sync.Once
}

func newWave(before *wave, labs int, spare bool) *wave {
	w := &wave{before: before, raising: make(chan struct{}, processors+1), spare: spare}
	for _, all := range []*sync.WaitGroup{&w.up, &w.over, &w.down} {
		all.Add(labs)
	}
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
	if t.w.before != nil {
		t.w.before.down.Wait()
	}
	t.w.begin.Do(func() { t.w.began, _ = processorTicks() })
	t.w.next.Lock()
	awaitSpare(ctx, &t.w.sending, func() (float64, bool) {
		if t.w.spare {
			return used(spareWindow)
		}
		time.Sleep(spareWindow) // variants of one file would do all that they do at one moment
		return 0, true
	})
	t.w.sending.Add(1)
	t.w.next.Unlock()
	return func() {
		t.w.sending.Add(-1)
		t.over()
		t.w.over.Wait()
	}
}

// used is which share of the processors' time was used since labs of the wave could begin
// to send; it is not known if none has, or where nobody counts.
func (w *wave) used() (share float64, known bool) {
	now, known := processorTicks()
	return usedSince(w.began, now), known && w.began[0] > 0
}

// leave says that nobody need wait for the lab, which has ended, or never began.
func (t *turn) leave() {
	t.up()
	t.over()
	t.w.down.Done()
}

// allowance is the time that a run may take, its waiting for others left out.
type allowance struct {
	limit  time.Duration
	began  time.Time
	waited time.Duration
	timer  *time.Timer
	end    func()
}

// allow is a context that ends when the time that a run may take has passed; a lab that
// is kept may take any.
func (s *session) allow(ctx context.Context) (context.Context, *allowance) {
	limited, cancel := context.WithCancelCause(ctx)
	a := &allowance{limit: s.flags.timeout, began: time.Now()}
	if s.flags.keep {
		const forever = 1 << 62
		a.limit = forever
	}
	a.timer = time.AfterFunc(a.limit, func() { cancel(fmt.Errorf("not done after --timeout %s", a.limit)) })
	a.end = func() {
		a.timer.Stop()
		cancel(nil)
	}
	return limited, a
}

// around is a turn, the waiting for which is no time that the run takes; what comes
// after it, all that is up being taken down, is without a limit.
func (a *allowance) around(turn turnFunc) turnFunc {
	if turn == nil {
		return nil
	}
	wait := func(do func()) {
		began := time.Now()
		a.timer.Stop()
		do()
		a.waited += time.Since(began)
	}
	return func(ctx context.Context) func() {
		var over func()
		wait(func() { over = turn(ctx) })
		a.timer.Reset(a.limit - a.spent())
		return func() { wait(over) }
	}
}

// spent is how long the run has taken.
func (a *allowance) spent() time.Duration { return time.Since(a.began) - a.waited }
