package pump_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/emu/late"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/topologies/plan"
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
	s.send(t, n, 0)
	got, err := s.arrivals(func() bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	in := slices.IsSortedFunc(got, func(a, b arrival) int { return cmp.Compare(a.n, b.n) })
	if len(got) != n || !in {
		t.Fatalf("%d of %d packets, in order %v", len(got), n, in)
	}
	// The first opportunity is up to 10 ms away; who sends is as slow as it is, and
	// the pump says by how much it was late.
	c, _ := l.counts(t, impair.AB)
	took, sending := got[n-1].at.Sub(s.left[0]), s.sent[n-1].Sub(s.left[0])
	if most := 200*time.Millisecond + sending + latest(c, 1); took < 175*time.Millisecond || took > most {
		t.Errorf("%d packets took %v, want about 180ms and at most %v", n, took, most)
	}
}

// latest is by how much the pump was late with the n-th latest packet, by its own word:
// before it gave the packet to the kernel, or when that was done.
func latest(c pump.Count, n int) time.Duration {
	all := c.Moments.Moments
	slices.SortFunc(all, func(a, b late.Moment) int { return cmp.Compare(b.For, a.For) })
	d := c.Late.P99
	if n == 1 {
		d = c.Late.Max
	}
	if len(all) >= n {
		d = max(d, time.Duration(all[n-1].For))
	}
	return d
}

// Jitter is what the model draws for each packet: none comes before its time, and half
// of them little later, by the kernel's time of arrival. As the meter sees it, it has the
// width that was asked for: of no share of packets the longest time is less than asked,
// nor, but for what the pump itself was late with, much more.
func TestLiveJitter(t *testing.T) {
	p := twoHosts(spec.Impairment{Delay: spec.Delay{Fixed: 10 * ms}, Jitter: 4 * ms})
	l := up(t, p)
	s := l.listen(t)
	const n = 150
	s.send(t, n, 10*time.Millisecond) // apart: none has to wait for the one before
	got, err := s.arrivals(func() bool { return false })
	if err != nil || len(got) != n {
		t.Fatalf("%d of %d packets, %v", len(got), n, err)
	}
	s.asDrawn(t, p, got)
	c, measured := l.counts(t, impair.AB)
	near(t, "the median", measured.P50, c.Asked.P50)
	// That of 150 is the second of them.
	if least, most := c.Asked.P99-c.Asked.P99/500, c.Asked.Max+c.Asked.Max/10+latest(c, 2); measured.P99 < least || measured.P99 > most {
		t.Errorf("the 99th percentile is %v, want %v to %v", measured.P99, least, most)
	}
	// Uniform over 6 to 14 ms: the median of 150 has a standard deviation of 0.3 ms.
	if off := c.Asked.P50 - 10*time.Millisecond; off.Abs() > time.Millisecond || c.Asked.P99 < 13500*time.Microsecond || c.Asked.Max > 14100*time.Microsecond {
		t.Errorf("asked %+v, want 6 to 14 ms", c.Asked)
	}
	if measured.N != n {
		t.Errorf("%d of %d measured", measured.N, n)
	}
}

// asDrawn fails unless each datagram took what the model of the plan's link draws for
// it, at least, and half of them little more.
func (s *stream) asDrawn(t *testing.T, p *plan.Plan, got []arrival) {
	t.Helper()
	const exact, little = 100 * time.Microsecond, 1500 * time.Microsecond // of clocks; as near's
	model, err := impair.New(p.Links[0].Impair(impair.AB), impair.NewStream(p.Seed, linkID, impair.AB), 0)
	if err != nil {
		t.Fatal(err)
	}
	var longer []time.Duration
	for i, a := range got {
		now := vt.Instant(s.left[i].Sub(s.left[0]))
		asked, took := model.Send(now, datagram+28).At.Sub(now), a.at.Sub(s.left[i])
		if took < asked-exact {
			t.Fatalf("packet %d took %v, want %v", i, took, asked)
		}
		longer = append(longer, took-asked)
	}
	slices.Sort(longer)
	if half := longer[len(longer)/2]; half > little {
		t.Errorf("half of the packets took %v longer than was drawn for them, want no more than %v", half, little)
	}
}
