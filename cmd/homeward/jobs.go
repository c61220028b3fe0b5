package main

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// With --jobs 0 another lab begins when, for spareWindow, all of the machine's
// processors together were used for spareShare of their time or less, and of labs
// fewer than mostLabs are up: a lab waits for most of its time, and needs all that
// there is while it comes up. Of more at once each would be late.
const (
	spareWindow = 400 * time.Millisecond
	spareShare  = 0.4
	mostLabs    = 8
)

// runAll has every variant run on every engine: simulations first, for beside a lab
// they would take the lab's time; then labs, in the order of the variants.
func (s *session) runAll(ctx context.Context) {
	for _, labs := range []bool{false, true} {
		limit := s.flags.jobs
		switch {
		case limit > 0:
		case labs:
			limit = mostLabs
		default:
			limit = runtime.GOMAXPROCS(0)
		}
		var group errgroup.Group
		var up atomic.Int32
		group.SetLimit(limit)
		for i, v := range s.variants {
			for k, e := range s.engines {
				if e.lab != labs {
					continue
				}
				if labs && s.flags.jobs == 0 {
					awaitSpare(ctx, &up, func() (float64, bool) { return used(spareWindow) })
				}
				up.Add(1)
				group.Go(func() error {
					defer up.Add(-1)
					if ctx.Err() == nil {
						s.runs[i*len(s.engines)+k] = s.runOne(ctx, v, e)
					}
					return nil
				})
			}
		}
		_ = group.Wait() // the runs carry their own errors
	}
	s.screen.clear()
}

// awaitSpare returns when a machine, of whose processors used says how much is used, has
// time for another lab, when none is up, or when ctx is done. Where nobody knows it
// has time for one.
func awaitSpare(ctx context.Context, up *atomic.Int32, used func() (share float64, known bool)) {
	for up.Load() > 0 && ctx.Err() == nil {
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
