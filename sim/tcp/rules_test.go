package tcp

import (
	"math"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// TestHyStart: slow start ends as in Linux's tcp_cubic.c: when the least of a round's
// first nine samples is an eighth above the least ever, but by 4 ms at least and 16 at
// most, or when acknowledgements not more than 2 ms apart go on for half of the least
// round trip and half a millisecond. It never ends below 16 segments, nor for NewReno;
// and wherever sequence numbers begin.
func TestHyStart(t *testing.T) {
	const mss, rtt = 1000, 80 * time.Millisecond
	for _, tt := range []struct {
		name   string
		a      Algorithm
		window int
		rise   time.Duration
		gap    time.Duration // between acknowledgements
		acks   int
		ends   bool
	}{
		{"no rise", Cubic, 16, 0, 3 * time.Millisecond, 40, false},
		{"an eighth", Cubic, 16, 10 * time.Millisecond, 3 * time.Millisecond, 40, false},
		{"more than an eighth", Cubic, 16, 10*time.Millisecond + 1, 3 * time.Millisecond, 9, true},
		{"eight samples", Cubic, 16, 11 * time.Millisecond, 3 * time.Millisecond, 8, false},
		{"few segments", Cubic, 15, 11 * time.Millisecond, 3 * time.Millisecond, 40, false},
		{"NewReno", NewReno, 16, 11 * time.Millisecond, 3 * time.Millisecond, 40, false},
		{"a train of 42 ms", Cubic, 16, 0, 2 * time.Millisecond, 22, true},
		{"a train of 40 ms", Cubic, 16, 0, 2 * time.Millisecond, 20, false},
	} {
		for _, first := range []uint32{0, 1 << 30, 1<<31 - 1, 1 << 31, 3 << 30, math.MaxUint32} {
			var g congestion
			g.start(tt.a, mss, tt.window, first)
			g.rtt(0, rtt, first+1, first+2) // the least ever, and the end of the first round
			for n := range tt.acks {
				g.rtt(vt.Instant(rtt)+vt.Instant(n)*vt.Instant(tt.gap), rtt+tt.rise, first+3+uint32(n), first+1<<20)
			}
			if g.slow() == tt.ends {
				t.Errorf("%s from %d: slow start goes on: %v, want %v", tt.name, first, g.slow(), !tt.ends)
			}
			if tt.ends && g.ssthresh != g.window {
				t.Errorf("%s from %d: ssthresh %d, want the window, %d", tt.name, first, g.ssthresh, g.window)
			}
		}
	}
}

// TestCubicBeforeLoss: until a loss has told what the path carries, and again after a
// timeout, CUBIC grows by a twentieth each round, as Linux does; after a loss not.
func TestCubicBeforeLoss(t *testing.T) {
	const mss, trip = 1000, 50 * time.Millisecond
	var g congestion
	g.start(Cubic, mss, 400, 0)
	round := func(now vt.Instant) float64 {
		before := g.window
		for range 100 {
			g.acked(now, before/100, trip, g.window)
		}
		return float64(g.window)/float64(before) - 1
	}
	g.leave()
	for n := range 5 {
		if grown := round(vt.Instant(n) * vt.Instant(trip)); grown < 0.045 || grown > 0.055 {
			t.Errorf("round %d before a loss: grows by %.3f, want a twentieth", n, grown)
		}
	}
	g.congested(0, g.window)
	g.recovered()
	round(0)
	if grown := round(vt.Instant(trip)); grown > 0.03 {
		t.Errorf("after a loss: grows by %.3f in a round, want what RFC 9438 says", grown)
	}
	g.timeout(0, g.window, false)
	if g.wMax != 0 || g.found {
		t.Errorf("after a timeout: Wmax %v, HyStart done %v, want neither", g.wMax, g.found)
	}
}

// TestTimeWait: who closes first answers a FIN that comes again for Config.Wait, from
// the last one on, and is closed then; the other is closed at once (RFC 9293 section
// 3.6).
func TestTimeWait(t *testing.T) {
	const wait = 2 * time.Second
	x := transfer(t, impair.Config{Delay: 10 * time.Millisecond}, Cubic, 5000)
	x.config[0].Wait, x.config[1].Wait = wait, wait
	x.run(time.Second)
	first, second := x.server, x.client // the server has nothing more to say
	if first.State() != TimeWait || second.State() != Closed {
		t.Fatalf("states %d and %d, want TIME_WAIT and closed", first.State(), second.State())
	}
	again := vt.Instant(1500 * time.Millisecond)
	first.Receive(again, &Segment{Seq: first.rcvNext - 1, Ack: first.next, Flags: pkt.FIN | pkt.ACK, Scale: -1})
	if s, ok := first.Next(again); !ok || s.Flags != pkt.ACK || s.Ack != first.rcvNext {
		t.Errorf("a FIN that comes again is answered by %+v, %v", s, ok)
	}
	if at := first.NextWake(); at != again.Add(wait) {
		t.Errorf("waits until %v, want %v", at, again.Add(wait))
	}
	if first.Timer(again.Add(wait - 1)); first.State() != TimeWait {
		t.Error("closed too early")
	}
	if first.Timer(again.Add(wait)); first.State() != Closed {
		t.Errorf("state %d when the wait is over", first.State())
	}
}

// TestWindowScale: a SYN says its own scale, and its window is never scaled; later
// windows are, by what the other's SYN said (RFC 7323 section 2.2).
func TestWindowScale(t *testing.T) {
	for _, peer := range []int8{-1, 0, 3, 14} {
		c := Accept(0, Config{}, &Segment{Flags: pkt.SYN, Window: 1000, MSS: 1460, Scale: peer})
		s, ok := c.Next(0)
		if !ok || s.Flags != pkt.SYN|pkt.ACK || s.Scale != scale || s.Window != 0xffff {
			t.Fatalf("peer's %d: %+v, want a SYN-ACK that says %d and a window of 65535", peer, s, scale)
		}
		if c.window != 1000 {
			t.Errorf("peer's %d: a SYN's window is %d", peer, c.window)
		}
		c.Receive(1, &Segment{Seq: 1, Ack: c.next, Flags: pkt.ACK, Window: 1000, Scale: -1})
		if want := uint32(1000) << max(peer, 0); c.window != want {
			t.Errorf("peer's %d: window %d, want %d", peer, c.window, want)
		}
	}
}
