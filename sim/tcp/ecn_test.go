package tcp

import (
	"fmt"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// wan is 10 Mbit/s and 40 ms there and back, with room for all that ever waits.
var wan = impair.Config{Delay: 20 * time.Millisecond, Rate: 10 * unit.Mbit, Queue: 16 << 20}

// noting keeps all segments that are sent.
func noting(x *pair) *[2][]Segment {
	var all [2][]Segment
	x.trace = func(_ vt.Instant, dir int, s *Segment) { all[dir] = append(all[dir], *s) }
	return &all
}

// It is used if one asks and the other accepts (RFC 3168 section 6.1.1), and then
// new data alone can be marked: no SYN, no bare acknowledgement, nothing that is
// sent again (6.1.4, 6.1.5).
func TestNegotiation(t *testing.T) {
	names := [...]string{"accepts", "requests", "refuses"}
	for client, c := range names {
		for server, s := range names {
			t.Run(c+"_"+s, func(t *testing.T) {
				x := transfer(t, impair.Config{Delay: 5 * time.Millisecond, Loss: 0.02}, Cubic, 500_000)
				x.config[0].ECN, x.config[1].ECN = ECN(client), ECN(server)
				all := noting(x)
				x.run(time.Minute)
				asks, agreed := ECN(client) == RequestECN, ECN(client) == RequestECN && ECN(server) != RefuseECN
				syn, answer := all[0][0].Flags, all[1][0].Flags
				if got := syn & (pkt.ECE | pkt.CWR); (got == pkt.ECE|pkt.CWR) != asks || got != 0 && !asks {
					t.Errorf("the SYN has flags %08b", syn)
				}
				if got := answer & (pkt.ECE | pkt.CWR); (got == pkt.ECE) != agreed || got != 0 && !agreed {
					t.Errorf("its answer has flags %08b", answer)
				}
				capable, top := 0, uint32(0)
				for dir := range all {
					top = 0
					for _, s := range all[dir] {
						fresh := s.Len > 0 && s.Flags&pkt.SYN == 0 && !after(top, s.Seq)
						top = later(top, s.Seq+s.length())
						if s.ECN != pkt.NotECT {
							capable++
						}
						if (s.ECN == pkt.ECT0) != (fresh && agreed) || s.ECN != pkt.ECT0 && s.ECN != pkt.NotECT {
							t.Fatalf("%+v: ECN %d of new data %v", s, s.ECN, fresh)
						}
					}
				}
				if x.client.Received() != 500_000 || (capable > 0) != agreed {
					t.Errorf("got %d, %d segments can be marked", x.client.Received(), capable)
				}
			})
		}
	}
}

// A SYN that got lost asks no more when it is sent again (RFC 3168 section
// 6.1.1.1): it may have been lost for asking.
func TestAsksOnce(t *testing.T) {
	x := transfer(t, wan, Cubic, 10_000)
	x.config[0].ECN = RequestECN
	x.p.lose = func(dir, n int, _ *Segment) bool { return dir == 0 && n == 1 }
	all := noting(x)
	x.run(time.Minute)
	if again := all[0][1]; again.Flags != pkt.SYN || x.client.ecn || x.server.ecn || x.client.Received() != 10_000 {
		t.Errorf("sent again with flags %08b; agreed %v and %v; got %d", again.Flags, x.client.ecn, x.server.ecn, x.client.Received())
	}
}

// All marks of one window shrink it once, as a loss would: to seven tenths by CUBIC
// (RFC 9438 section 4.6), to half by NewReno (RFC 3168 section 6.1.2). The receiver
// tells until it hears of it (6.1.3), which is with the next new data.
func TestOneReductionForAWindow(t *testing.T) {
	for a, beta := range map[Algorithm]float64{Cubic: 0.7, NewReno: 0.5} {
		t.Run(fmt.Sprint(a), func(t *testing.T) {
			x := transfer(t, wan, a, 3_000_000)
			x.config[0].ECN = RequestECN
			marked := 0
			var first uint32
			x.p.mark = func(dir int, s *Segment) bool {
				if dir != 1 || x.server.ackedBytes < 400_000 || marked > 0 && after(s.Seq, first+20_000) {
					return false
				}
				if marked++; marked == 1 {
					first = s.Seq
				}
				return true
			}
			before, reductions, cwr, ece := 0, 0, 0, 0
			x.trace = func(_ vt.Instant, dir int, s *Segment) {
				switch {
				case dir == 1 && s.Flags&pkt.CWR != 0:
					cwr++
					if got := float64(x.server.cc.ssthresh) / float64(before); got < beta-0.02 || got > beta+0.02 {
						t.Errorf("the window of %d becomes %d: %.2f, want %.1f", before, x.server.cc.ssthresh, got, beta)
					}
					reductions++
				case dir == 1 && !x.server.slowing:
					before = x.server.cc.window
				case s.Flags&(pkt.ECE|pkt.SYN) == pkt.ECE:
					ece++
				}
			}
			x.run(time.Minute)
			if marked < 5 || reductions != 1 || cwr != 1 || ece < 5 {
				t.Errorf("%d marks, %d acknowledgements tell of them, %d reductions, told of %d times", marked, ece, reductions, cwr)
			}
			if x.client.echoing || x.server.retransmitted > 0 || x.client.Received() != 3_000_000 {
				t.Errorf("still telling %v, %d sent again, got %d", x.client.echoing, x.server.retransmitted, x.client.Received())
			}
		})
	}
}

// A sender that makes its window beta of what it was keeps the line busy if the queue
// of the threshold holds the rest: beta·(RTT + K) is an RTT, and K = RTT·(1-beta)/beta.
// Then nothing is slower for marks, nothing is lost, and nothing waits much longer than
// K; without marks everything does. CUBIC wants more than that: slow start ends by
// several reductions, and it comes back slowly.
func TestMarksKeepTheQueueShort(t *testing.T) {
	const trip = 40 * time.Millisecond
	for a, share := range map[Algorithm]float64{Cubic: 1.75 * (1 - cubicBeta) / cubicBeta, NewReno: 1} {
		t.Run(fmt.Sprint(a), func(t *testing.T) {
			c := wan
			c.CEThreshold = time.Duration(float64(trip) * share).Round(time.Microsecond)
			const size = 10_000_000
			took := func(ask ECN) (took time.Duration, worst time.Duration, again int) {
				x := transfer(t, c, a, size)
				x.config[0].ECN = ask
				sent := map[uint32]vt.Instant{}
				x.trace = func(now vt.Instant, dir int, s *Segment) {
					switch {
					case dir == 1 && s.Len > 0:
						sent[s.Seq+uint32(s.Len)] = now
					case dir == 0 && now > vt.Instant(3*time.Second):
						if at, ok := sent[s.Ack]; ok {
							worst = max(worst, now.Sub(at)-c.Delay)
						}
					}
				}
				x.run(10 * time.Minute)
				return time.Duration(x.done), worst, x.server.retransmitted
			}
			fast, short, again := took(RequestECN)
			without, long, _ := took(AcceptECN)
			t.Logf("%v with marks and at most %v in the queue; %v and %v without", fast, short, without, long)
			if fast > without*101/100 || again != 0 {
				t.Errorf("%v with marks and %v without; %d sent again", fast, without, again)
			}
			if short > c.CEThreshold+15*time.Millisecond || long < 2*c.CEThreshold {
				t.Errorf("at most %v in the queue with marks, %v without; the threshold is %v", short, long, c.CEThreshold)
			}
		})
	}
}
