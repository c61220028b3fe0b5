package pump_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Capacity that follows a trace: 1500 bytes each 10 ms for a burst of packets,
// of which eleven share one opportunity.
func TestLiveTrace(t *testing.T) {
	trace, err := impair.ReadTrace(strings.NewReader("10\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := twoHosts(spec.Impairment{Trace: spec.Trace{File: "steady", Times: trace}, Queue: 1 << 20})
	l := up(t, p)
	s := l.listen(t)
	const n = 220 // of 128 bytes: 18.8 opportunities
	began := time.Now()
	s.send(t, n, 0)
	got := s.receive(t)
	took := time.Since(began) - quiet
	if len(got) != n || !slices.IsSorted(got) {
		t.Errorf("%d of %d packets, in order %v", len(got), n, slices.IsSorted(got))
	}
	// The first opportunity is up to 10 ms away.
	if took < 175*time.Millisecond || took > 260*time.Millisecond {
		t.Errorf("%d packets took %v, want about 180ms", n, took)
	}
}

// Jitter as the meter sees it has the width that was asked for.
func TestLiveJitter(t *testing.T) {
	l := up(t, twoHosts(spec.Impairment{Delay: spec.Delay{Fixed: 10 * ms}, Jitter: 4 * ms}))
	s := l.listen(t)
	const n = 150
	s.send(t, n, 10*time.Millisecond) // apart: none has to wait for the one before
	s.receive(t)
	c, measured := l.counts(t, impair.AB)
	near(t, "the median", measured.P50, c.Asked.P50)
	near(t, "the 99th percentile", measured.P99, c.Asked.P99)
	// Uniform over 6 to 14 ms: the median of 150 has a standard deviation of 0.3 ms.
	if off := c.Asked.P50 - 10*time.Millisecond; off.Abs() > time.Millisecond || c.Asked.P99 < 13500*time.Microsecond || c.Asked.Max > 14100*time.Microsecond {
		t.Errorf("asked %+v, want 6 to 14 ms", c.Asked)
	}
	if measured.N != n {
		t.Errorf("%d of %d measured", measured.N, n)
	}
}
