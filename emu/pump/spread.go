package pump

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/homeward-lab/homeward/dataplane/impair"
)

// times is a distribution of durations that takes them without allocating.
type times struct {
	h *hdrhistogram.Histogram
	n int64 // that were added, each once
}

// precise is how many distributions may have three digits: memory.
const precise = 64

// longest time that is told apart: a delay and a jitter.
const longest = 2 * impair.MaxDelay

// newTimes is one of so many.
func newTimes(of int) times {
	digits := 3
	if of > precise {
		digits = 2
	}
	return times{h: hdrhistogram.New(int64(100*time.Nanosecond), int64(longest), digits)}
}

func (t *times) add(d time.Duration) { t.stand(d, 1) }

// stand adds one that stands for so many.
func (t *times) stand(d time.Duration, of int64) {
	t.n++
	// Within bounds it cannot fail.
	_ = t.h.RecordValues(int64(min(max(d, 0), longest)), of)
}

func (t *times) spread() Spread {
	if t.n == 0 {
		return Spread{}
	}
	at := func(percent float64) time.Duration { return time.Duration(t.h.ValueAtPercentile(percent)) }
	return Spread{N: t.n, P50: at(50), P99: at(99), Max: time.Duration(t.h.Max())}
}
