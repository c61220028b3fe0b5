package main

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// No lab of a wave sends while another comes up, and none goes down while another sends;
// no two begin at one moment, and one that never comes up keeps nobody waiting.
func TestWave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const second = time.Second
		began := time.Now()
		type times struct{ up, sends, begins, ends time.Duration }
		all := []times{{up: second, sends: second}, {up: 3 * second, sends: 5 * second}, {up: 4 * second, sends: -1}}
		w := newWave(nil, len(all), false)
		var labs sync.WaitGroup
		for i := range all {
			labs.Go(func() {
				x := &all[i]
				turn := w.enter()
				defer turn.leave()
				time.Sleep(x.up)
				if x.sends < 0 {
					return
				}
				over := turn.take(t.Context())
				x.begins = time.Since(began)
				time.Sleep(x.sends)
				over()
				x.ends = time.Since(began)
				time.Sleep(5 * second)
			})
		}
		w.over.Wait()
		next := newWave(w, 1, false).enter()
		next.take(t.Context())
		after := time.Since(began)
		next.leave()
		labs.Wait()
		one, other := all[0], all[1]
		if one.begins > other.begins {
			one, other = other, one
		}
		ends := max(one.begins+one.sends, other.begins+other.sends)
		if after != ends+5*second {
			t.Errorf("the next wave's traffic begins at %v, want %v, when all before are down", after, ends+5*second)
		}
		if one.begins != 4*second || other.begins != 4*second+spareWindow || one.ends != ends || other.ends != ends || all[2].begins != 0 {
			t.Errorf("%v, want two that begin one after the other once the third is not coming up, and end together", all)
		}
	})
}

// A run may take its time limit, and wait for its turn as long as it must.
func TestAllowance(t *testing.T) {
	for _, tt := range []struct {
		sends time.Duration
		ends  string
	}{
		{5 * time.Second, ""},
		{7 * time.Second, "not done after --timeout 10s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &session{flags: runFlags{timeout: 10 * time.Second}}
			ctx, a := s.allow(t.Context())
			defer a.end()
			turn := a.around(func(context.Context) func() {
				time.Sleep(time.Minute)
				return func() { time.Sleep(time.Minute) }
			})
			time.Sleep(4 * time.Second)
			over := turn(ctx)
			time.Sleep(tt.sends)
			over()
			said := ""
			if err := context.Cause(ctx); err != nil {
				said = err.Error()
			}
			if want := 4*time.Second + tt.sends; said != tt.ends || a.spent() != want {
				t.Errorf("sends for %v: %q after %v, want %q after %v", tt.sends, said, a.spent(), tt.ends, want)
			}
		})
	}
}

// Another lab waits for a machine that is used, not for one that is idle; the first
// waits for none; and where nobody knows, until it is alone.
func TestAwaitSpare(t *testing.T) {
	type sample struct {
		share float64
		known bool
	}
	for _, tt := range []struct {
		name    string
		up      int32
		samples []sample
		asked   int
	}{
		{"the first", 0, nil, 0},
		{"idle", 1, []sample{{0.1, true}}, 1},
		{"just idle enough", 3, []sample{{spareShare, true}}, 1},
		{"used at first", 2, []sample{{1, true}, {spareShare + 0.01, true}, {0.3, true}}, 3},
		{"nobody knows", 2, []sample{{0, false}, {0, false}}, 2},
	} {
		var up atomic.Int32
		up.Store(tt.up)
		asked := 0
		awaitSpare(t.Context(), &up, func() (float64, bool) {
			x := tt.samples[asked]
			if asked++; !x.known {
				up.Add(-1) // meanwhile one ends
			}
			return x.share, x.known
		})
		if asked != tt.asked {
			t.Errorf("%s: asked %d times, want %d", tt.name, asked, tt.asked)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var up atomic.Int32
	up.Store(1)
	awaitSpare(ended, &up, func() (float64, bool) { t.Error("an interrupted run waits"); return 0, true })
}

// What is used is a share, where the kernel says it.
func TestUsed(t *testing.T) {
	share, known := used(20 * time.Millisecond)
	if known && (share < 0 || share > 1) {
		t.Errorf("a share of %v", share)
	}
}

// The next wave is larger where processors were idle, smaller where they were busy, and
// never empty.
func TestSized(t *testing.T) {
	for _, tt := range []struct {
		labs int
		used float64
		want int
	}{{4, 0, 5}, {4, idleWave, 4}, {4, busyWave, 4}, {4, 0.8, 3}, {1, 1, 1}} {
		if got := sized(tt.labs, tt.used); got != tt.want {
			t.Errorf("after %d labs that used %.1f of the processors: %d, want %d", tt.labs, tt.used, got, tt.want)
		}
	}
}
