package tcp

import (
	"math"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// The estimators are those of RFC 6298 section 2, sample by sample: RTTVAR before
// SRTT, weights 1/4 and 1/8, and RTO = SRTT + 4 RTTVAR, within its bounds.
func TestEstimatorsTrace(t *testing.T) {
	for _, bound := range []time.Duration{time.Microsecond, 200 * time.Millisecond} {
		c := newConn(0, Config{MinRTO: bound})
		var srtt, rttvar float64
		for i, r := range []float64{100, 100, 100, 150, 90, 90, 500, 100, 3, 3, 3, 3, 3, 70_000, 70_000, 100} { // ms
			if i == 0 {
				srtt, rttvar = r, r/2
			} else {
				rttvar = 0.75*rttvar + 0.25*math.Abs(srtt-r)
				srtt = 0.875*srtt + 0.125*r
			}
			rto := min(srtt+max(4*rttvar, ms(bound)), 120e3)
			c.measure(time.Duration(r * 1e6))
			for name, x := range map[string][2]float64{"SRTT": {ms(c.srtt), srtt}, "RTTVAR": {ms(c.rttvar), rttvar}, "RTO": {ms(c.rto), rto}} {
				if math.Abs(x[0]-x[1]) > 0.001 {
					t.Errorf("at least %v, sample %d of %v ms: %s %.4f ms, want %.4f", bound, i+1, r, name, x[0], x[1])
				}
			}
		}
	}
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// opened is a connection that was accepted after a round trip, at that instant.
func opened(trip time.Duration) (*Conn, vt.Instant) {
	now := vt.Instant(0)
	c := Open(now, Config{})
	syn, _ := c.Next(now)
	now = now.Add(trip)
	c.Receive(now, &Segment{Flags: pkt.SYN | pkt.ACK, Ack: 1, Window: 0xffff, Scale: 7, SACKPermitted: true, HasTime: true, Time: 1, Echo: syn.Time, MSS: 1460})
	c.Next(now)
	return c, now
}

// A segment that nothing answers is sent again after RTO, twice that, and so on,
// up to 120 s (RFC 6298 section 5, rules 5.1, 5.4 to 5.6; 2.5); one answer sets
// the timeout to what is measured (5.3), and with nothing under way there is none
// (5.2).
func TestTimeoutTrace(t *testing.T) {
	const trip = 80 * time.Millisecond
	c, now := opened(trip)
	rto := c.rto
	if want := trip + 200*time.Millisecond; rto != want || c.NextWake() != vt.Never {
		t.Fatalf("RTO %v with nothing under way, to go off at %v; want %v, and never", rto, c.NextWake(), want)
	}
	c.Write(100)
	first, ok := c.Next(now)
	if !ok || first.Len != 100 {
		t.Fatalf("%+v, want 100 bytes", first)
	}
	var at []time.Duration // since the first time
	began := now
	for len(at) < 14 {
		now = c.NextWake()
		c.Timer(now)
		for s, ok := c.Next(now); ok; s, ok = c.Next(now) {
			if s.Seq != first.Seq || s.Len != first.Len {
				t.Fatalf("%+v is sent, want the first again", s)
			}
			at = append(at, now.Sub(began))
		}
	}
	// The first is a probe, at the latest when the timeout would be; the timeout
	// counts from it (RFC 8985 sections 7.2 and 7.3).
	if at[0] > rto {
		t.Errorf("a probe after %v, want it before the timeout, %v", at[0], rto)
	}
	want := rto
	for i := 1; i < len(at); i++ {
		if gap := at[i] - at[i-1]; gap != want {
			t.Errorf("timeout %d after %v, want %v", i, gap, want)
		}
		want = min(2*want, 120*time.Second)
	}
	if want != 120*time.Second {
		t.Errorf("timeouts grow to %v, want 120 s", want)
	}
	c.Write(100)
	now = now.Add(trip)
	c.Receive(now, &Segment{Flags: pkt.ACK, Seq: 1, Ack: first.Seq + 100, Window: 0x7fff, Scale: -1, HasTime: true, Time: 2, Echo: uint32((now - vt.Instant(trip)) / 1000)})
	if s, ok := c.Next(now); !ok || s.Seq != first.Seq+100 {
		t.Fatalf("%+v after the answer, want the next 100 bytes", s)
	}
	c.Receive(now.Add(trip), &Segment{Flags: pkt.ACK, Seq: 1, Ack: first.Seq + 200, Window: 0x7fff, Scale: -1, HasTime: true, Time: 3, Echo: uint32(now / 1000)})
	if c.rto > 2*rto || c.NextWake() != vt.Never {
		t.Errorf("RTO %v after an answer, to go off at %v; want about %v, and never", c.rto, c.NextWake(), rto)
	}
}

// After a probe the timeout counts from the probe, however long the first segment
// under way has been waiting (RFC 8985 section 7.3).
func TestTimeoutAfterProbe(t *testing.T) {
	const trip = 80 * time.Millisecond
	c, now := opened(trip)
	var sent []vt.Instant
	send := func() {
		for s, ok := c.Next(now); ok; s, ok = c.Next(now) {
			sent = append(sent, now)
			if n := len(sent); n == 3 && s.Seq != 101 || n == 4 && s.Seq != 1 {
				t.Errorf("segment %d is %d, want the last again as a probe, then the first after the timeout", n, s.Seq)
			}
		}
	}
	for range 2 {
		c.Write(100)
		send()
		now = now.Add(10 * time.Millisecond)
	}
	for len(sent) < 4 {
		now = c.NextWake()
		c.Timer(now)
		send()
	}
	if probe, timeout := sent[2].Sub(sent[1]), sent[3].Sub(sent[2]); probe != 2*trip+timeoutSlack || timeout != trip+200*time.Millisecond {
		t.Errorf("a probe after %v, the timeout %v later; want %v and %v", probe, timeout, 2*trip+timeoutSlack, trip+200*time.Millisecond)
	}
}

// What CUBIC computes at a loss is RFC 9438: the window falls to 0.7 of what it
// was (section 4.6), K is the cube root of (Wmax - cwnd) / C (equation 2), and of
// a window that has not come back to its old maximum the new one is
// cwnd (1 + 0.7) / 2 (section 4.7). At K the window is Wmax again; it grows least
// there.
func TestCubicFormulas(t *testing.T) {
	if want := 3 * (1 - 0.7) / (1 + 0.7); math.Abs(renoAlpha-want) > 1e-12 {
		t.Errorf("alpha %v, want %v (section 4.3)", renoAlpha, want)
	}
	for _, segments := range []float64{50, 200, 1000, 5000} {
		var g congestion
		const mss = 1000
		g.start(Cubic, mss, 10, 0)
		g.window = int(segments) * mss
		g.congested(0, g.window)
		g.recovered()
		if g.wMax != segments || g.window != int(0.7*segments+0.5)*mss {
			t.Errorf("a loss at %v segments: Wmax %v, window %d; want %v and 0.7 of it", segments, g.wMax, g.window/mss, segments)
		}
		const trip = 300 * time.Millisecond
		g.acked(0, 1, trip, g.window)
		k := math.Cbrt(segments * 0.3 / 0.4)
		if math.Abs(g.k-k) > 1e-3*k {
			t.Errorf("a loss at %v segments: K %v s, want %v", segments, g.k, k)
		}
		var grown []float64 // in each trip
		for now := vt.Instant(0); now.Sub(0).Seconds() < 2*k; now = now.Add(trip) {
			before := g.window
			for range 100 { // acknowledgements of a round
				g.acked(now, g.window/100, trip, g.window)
			}
			grown = append(grown, float64(g.window-before)/mss)
			if at := (now.Sub(0) + trip).Seconds(); math.Abs(at-k) < trip.Seconds()/2 && math.Abs(float64(g.window)/mss-segments) > 0.02*segments {
				t.Errorf("at K the window is %d segments, want %v", g.window/mss, segments)
			}
		}
		middle, n := grown[len(grown)/2], len(grown)
		if segments >= 200 && (middle > grown[1] || middle > grown[n-1]) {
			t.Errorf("%v segments: growth of %v in the first round, %v at K, %v in the last; want it least at K", segments, grown[1], middle, grown[n-1])
		}
		g.window = int(0.8*segments) * mss
		now := float64(g.window) / mss
		g.congested(0, g.window)
		if want := now * 1.7 / 2; math.Abs(g.wMax-want) > 1e-9*want {
			t.Errorf("a loss at %v of %v segments: Wmax %v, want %v", now, segments, g.wMax, want)
		}
	}
}

// Beyond the window of the last loss CUBIC begins where it is, with K of zero (RFC 9438
// section 4.8), and however late acknowledgements come, in one round it grows by half at
// most (section 4.2).
func TestCubicBounds(t *testing.T) {
	const mss, segments, trip = 1000, 100, 50 * time.Millisecond
	for _, tt := range []struct {
		name string
		wMax float64
		late time.Duration
		want int // segments after a round whose acknowledgements come so late
	}{
		{"below the last loss, at once", 200, 0, 102}, // 200 - 0.4 · (K - 0.05)³, K the root of 250
		{"below the last loss, a minute later", 200, time.Minute, 150},
		{"beyond the last loss, at once", 90, 0, 101},
		{"beyond the last loss, 5 s later", 90, 5 * time.Second, 150},
		{"beyond the last loss, 4 s later", 90, 4*time.Second - trip, 125}, // 0.4 · 4³ = 25.6
	} {
		var g congestion
		g.start(Cubic, mss, 10, 0)
		g.window, g.ssthresh, g.wMax = segments*mss, segments*mss, tt.wMax
		g.acked(0, 1, trip, g.window) // an epoch begins
		if beyond := tt.wMax <= segments; beyond && (g.k != 0 || g.origin != segments) || !beyond && (g.k == 0 || g.origin != tt.wMax) {
			t.Errorf("%s: K %v from %v segments", tt.name, g.k, g.origin)
		}
		g.acked(vt.Instant(tt.late), segments*mss, trip, g.window)
		if got := g.window / mss; got < tt.want-1 || got > tt.want {
			t.Errorf("%s: %d segments, want %d", tt.name, got, tt.want)
		}
	}
}
