package swarm

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Tally is how far a swarm is.
type Tally struct {
	Runs int
	// Seed is the last one that is over, with all before it.
	Seed   uint64
	Events uint64
	Flows  int
	// Sessions were opened, Answered are the flows that were ok, Marked the segments
	// that met congestion and said so.
	Sessions, Answered, Marked int
}

// Failure is the first case of a swarm that failed.
type Failure struct {
	Case      *Case
	Violation *Violation
}

// ended is a run that is over, the n-th of its swarm.
type ended struct {
	n      int
	c      *Case
	report Report
	broken *Violation
}

// Many runs the cases of one seed after the other, runs of them or until ctx ends,
// as many at a time as there are processors, and stops at the first that fails:
// of those that do, the one of the lowest seed, however many processors there are.
// progress hears of each that is over, in order.
func Many(ctx context.Context, from uint64, runs int, o Options, progress func(Tally)) (t Tally, f *Failure) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t.Seed = from
	waiting := map[int]ended{} // for one before them
	for e := range each(ctx, from, runs, o) {
		waiting[e.n] = e
		for f == nil {
			e, ok := waiting[t.Runs]
			if !ok {
				break
			}
			delete(waiting, t.Runs)
			t.add(&e)
			if e.broken != nil {
				f = &Failure{e.c, e.broken}
				stop()
			} else if progress != nil {
				progress(t)
			}
		}
	}
	return t, f
}

// each runs the cases on all processors. The channel is closed when those are over
// that were begun before ctx ended.
func each(ctx context.Context, from uint64, runs int, o Options) <-chan ended {
	out := make(chan ended)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if runs != 0 && n >= runs {
					return
				}
				c := Draw(from + uint64(n))
				r, v := Run(c, o)
				out <- ended{n, c, r, v}
			}
		})
	}
	go func() {
		workers.Wait()
		close(out)
	}()
	return out
}

func (t *Tally) add(e *ended) {
	t.Runs++
	t.Seed = e.c.Seed
	t.Events += e.report.Events
	t.Flows += e.report.Flows
	t.Sessions += e.report.Sessions
	t.Answered += e.report.Answered
	t.Marked += e.report.Marked
}
