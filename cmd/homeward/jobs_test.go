package main

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

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
