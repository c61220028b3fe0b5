package tcp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// path carries segments between two ends, by the model of links.
type path struct {
	lines [2]*impair.Line
	// flight to each end, in order of arrival.
	flight [2][]arrival
	// lose drops the segments that it names, by direction and number.
	lose func(dir, n int, s *Segment) bool
	// late is how much later than others a segment arrives.
	late func(dir, n int) time.Duration
	n    [2]int
	// mark marks the segments that it names, if they can be.
	mark func(dir int, s *Segment) bool
}

type arrival struct {
	at vt.Instant
	s  Segment
}

func newPath(t *testing.T, c impair.Config) *path {
	t.Helper()
	p := &path{}
	for i := range p.lines {
		l, err := impair.New(c, impair.NewStream(7, "a-b", impair.Direction(i)), 0)
		if err != nil {
			t.Fatal(err)
		}
		p.lines[i] = l
	}
	return p
}

func (p *path) send(now vt.Instant, dir int, s Segment) {
	p.n[dir]++
	if p.lose != nil && p.lose(dir, p.n[dir], &s) {
		return
	}
	f := p.lines[dir].Send(now, 40+s.OptionLen()+s.Len)
	if f.End != impair.Passed {
		return
	}
	if (f.Congested || p.mark != nil && p.mark(dir, &s)) && s.ECN != pkt.NotECT {
		s.ECN = pkt.CE
	}
	if p.late != nil {
		f.At = f.At.Add(p.late(dir, p.n[dir]))
	}
	at := len(p.flight[dir])
	for at > 0 && p.flight[dir][at-1].at > f.At {
		at--
	}
	p.flight[dir] = append(p.flight[dir], arrival{})
	copy(p.flight[dir][at+1:], p.flight[dir][at:])
	p.flight[dir][at] = arrival{f.At, s}
	if f.Twice {
		p.flight[dir] = append(p.flight[dir], arrival{f.At, s})
	}
}

// pair is a client that asks and a server that answers.
type pair struct {
	t              *testing.T
	p              *path
	now            vt.Instant
	client, server *Conn
	config         [2]Config
	request        int64
	response       int64
	answered       bool
	done           vt.Instant // the client has it all
	trace          func(now vt.Instant, dir int, s *Segment)
}

func (x *pair) flush() {
	for i, c := range []*Conn{x.client, x.server} {
		for c != nil {
			s, ok := c.Next(x.now)
			if !ok {
				break
			}
			if x.trace != nil {
				x.trace(x.now, i, &s)
			}
			x.p.send(x.now, i, s)
		}
	}
}

// run goes on until both ends are closed or end.
func (x *pair) run(end time.Duration) {
	x.client = Open(0, x.config[0])
	x.client.Write(x.request)
	for {
		x.apps()
		x.flush()
		next := x.client.NextWake()
		if x.server != nil {
			next = min(next, x.server.NextWake())
		}
		for _, f := range x.p.flight {
			if len(f) > 0 {
				next = min(next, f[0].at)
			}
		}
		if next > vt.Instant(end) {
			return
		}
		if next < x.now {
			x.t.Fatalf("time goes back from %v to %v", x.now, next)
		}
		x.now = next
		x.step()
	}
}

func (x *pair) step() {
	for dir := range x.p.flight {
		for f := &x.p.flight[dir]; len(*f) > 0 && (*f)[0].at <= x.now; *f = (*f)[1:] {
			s := &(*f)[0].s
			switch {
			case dir == 1:
				x.client.Receive(x.now, s)
			case x.server == nil && s.Flags&(pkt.SYN|pkt.ACK) == pkt.SYN:
				x.server = Accept(x.now, x.config[1], s)
			case x.server != nil:
				x.server.Receive(x.now, s)
			}
			x.apps()
			x.flush()
		}
	}
	for _, c := range []*Conn{x.client, x.server} {
		if c != nil && c.NextWake() <= x.now {
			c.Timer(x.now)
		}
	}
}

func (x *pair) apps() {
	if x.server != nil && !x.answered && x.server.Received() >= x.request {
		x.answered = true
		x.server.Write(x.response)
		x.server.Finish()
	}
	if x.client.Received() == x.response && x.response > 0 && x.done == 0 {
		x.done = x.now
		x.client.Finish()
	}
}

func transfer(t *testing.T, c impair.Config, a Algorithm, response int64) *pair {
	t.Helper()
	x := &pair{t: t, p: newPath(t, c), request: 1000, response: response}
	x.config[0].Congestion, x.config[1].Congestion = a, a
	return x
}

// TestTransfer: every byte arrives, once, whatever the path does, and both ends
// close.
func TestTransfer(t *testing.T) {
	ms := time.Millisecond
	for name, c := range map[string]impair.Config{
		"plain":           {},
		"delay":           {Delay: 20 * ms},
		"narrow":          {Delay: 20 * ms, Rate: 10_000_000, Queue: 64 << 10},
		"narrow, shallow": {Delay: 20 * ms, Rate: 10_000_000, Queue: 8 << 10},
		"lossy":           {Delay: 5 * ms, Loss: 0.02},
		"very lossy":      {Delay: 5 * ms, Loss: 0.2},
		"bursts":          {Delay: 5 * ms, Loss: 0.02, LossBurst: 10},
		"reordering":      {Delay: 5 * ms, Reorder: 0.1},
		"duplicates":      {Delay: 5 * ms, Duplicate: 0.1, Loss: 0.01},
		"jitter":          {Delay: 20 * ms, Jitter: 10 * ms, Loss: 0.01},
	} {
		for _, a := range []Algorithm{Cubic, NewReno} {
			for _, size := range []int64{1, 1448, 100_000, 2_000_000} {
				t.Run(fmt.Sprint(name, a, size), func(t *testing.T) {
					x := transfer(t, c, a, size)
					x.run(20 * time.Minute)
					if x.client.Received() != size || x.server.Received() != 1000 || x.server.Acked() != size {
						t.Fatalf("client got %d of %d, server %d, acknowledged %d; client %d server %d, %v", x.client.Received(), size, x.server.Received(), x.server.Acked(), x.client.State(), x.server.State(), x.now)
					}
					if x.client.State() != Closed || x.server.State() != Closed || x.client.WasReset() || x.server.WasReset() {
						t.Errorf("states %d and %d", x.client.State(), x.server.State())
					}
				})
			}
		}
	}
}

// TestRate: a transfer takes what the narrowest link and the round trips make of
// it, not more than a tenth over.
func TestRate(t *testing.T) {
	for _, tt := range []struct {
		rate  unit.BitRate
		delay time.Duration
		queue unit.Bytes
		size  int64
	}{
		{10_000_000, 20 * time.Millisecond, 100 << 10, 10_000_000},
		{100_000_000, 5 * time.Millisecond, 200 << 10, 50_000_000},
		{10_000_000, 20 * time.Millisecond, 30 << 10, 10_000_000},
	} {
		for _, a := range []Algorithm{Cubic, NewReno} {
			x := transfer(t, impair.Config{Rate: tt.rate, Delay: tt.delay, Queue: tt.queue}, a, tt.size)
			x.run(time.Hour)
			segments := (tt.size + 1447) / 1448
			least := time.Duration(float64(tt.size+segments*52) * 8 / float64(tt.rate) * 1e9)
			got := time.Duration(x.done)
			if got < least || got > least*115/100+6*tt.delay {
				t.Errorf("%v, %v, queue %v, algorithm %d: %v, want %v and a little; %d sent again", tt.rate, tt.delay, tt.queue, a, got, least, x.server.retransmitted)
			}
		}
	}
}

// TestFastRetransmit: one lost segment is sent again once, a round trip later,
// and no timeout.
func TestFastRetransmit(t *testing.T) {
	x := transfer(t, impair.Config{Delay: 50 * time.Millisecond}, NewReno, 100_000)
	x.p.lose = func(dir, n int, s *Segment) bool { return dir == 1 && n == 20 }
	x.run(time.Minute)
	clean := transfer(t, impair.Config{Delay: 50 * time.Millisecond}, NewReno, 100_000)
	clean.run(time.Minute)
	if x.server.retransmitted != 1 || x.done-clean.done > vt.Instant(250*time.Millisecond) {
		t.Errorf("%d sent again, done %v later", x.server.retransmitted, x.done-clean.done)
	}
}

// TestDetection: what is lost is noticed by what was sent after it (RFC 8985), also
// if it is lost again, and the end of a transfer by a probe: none waits for a
// timeout, and nothing is sent again that was not lost.
func TestDetection(t *testing.T) {
	const trip = 100 * time.Millisecond
	for _, tt := range []struct {
		name string
		// lost are the positions in the answer, each with how often it is lost.
		lost  map[uint32]int
		again int
		later time.Duration // at most
	}{
		{"twice", map[uint32]int{20 * 1448: 2}, 2, 4 * trip},
		{"four times", map[uint32]int{20 * 1448: 4}, 4, 7 * trip},
		{"a run of them", map[uint32]int{20 * 1448: 1, 21 * 1448: 1, 22 * 1448: 2, 40 * 1448: 1}, 5, 6 * trip},
		{"the last", map[uint32]int{69 * 1448: 1}, 1, 5 * trip},                                   // its acknowledgement may be delayed,
		{"the last three", map[uint32]int{67 * 1448: 1, 68 * 1448: 1, 69 * 1448: 1}, 3, 6 * trip}, // one, and with its acknowledgement the next (RFC 6937)
	} {
		run := func(lost map[uint32]int) *pair {
			x := transfer(t, impair.Config{Delay: trip / 2, Rate: 10_000_000}, NewReno, 70*1448)
			seen := map[uint32]int{}
			x.p.lose = func(dir, _ int, s *Segment) bool {
				if dir == 0 || s.Len == 0 {
					return false
				}
				seen[s.Seq-1]++
				return seen[s.Seq-1] <= lost[s.Seq-1]
			}
			x.run(time.Minute)
			return x
		}
		x, clean := run(tt.lost), run(nil)
		if later := time.Duration(x.done - clean.done); clean.server.retransmitted != 0 || x.server.retransmitted != tt.again || x.done == 0 || later > tt.later {
			t.Errorf("%s: %d sent again, done %v later; want %d, at most %v", tt.name, x.server.retransmitted, later, tt.again, tt.later)
		}
	}
}

// TestReordering: what is overtaken is not lost, once a connection knows that its
// path does so.
func TestReordering(t *testing.T) {
	x := transfer(t, impair.Config{Delay: 20 * time.Millisecond, Rate: 20_000_000}, Cubic, 2_000_000)
	x.p.late = func(dir, n int) time.Duration { return time.Duration(dir*(n%20)/19) * 5 * time.Millisecond }
	x.run(time.Minute)
	if n := x.server.retransmitted; n > 20 || !x.server.rack.reordered {
		t.Errorf("%d of 1400 segments sent again, reordering seen: %v", n, x.server.rack.reordered)
	}
}

// TestScoreboard: the counts of the scoreboard are those of its segments, whatever
// comes.
func TestScoreboard(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 8))
		x := transfer(t, impair.Config{Delay: 5 * time.Millisecond, Jitter: 3 * time.Millisecond, Loss: 0.05, Reorder: 0.05, Duplicate: 0.05}, Cubic, 150_000)
		x.trace = func(now vt.Instant, dir int, _ *Segment) {
			c := []*Conn{x.client, x.server}[dir]
			if r.IntN(50) == 0 {
				c.Shrink(now, 600+r.IntN(800))
			}
			var want scoreboard
			b := &c.board
			for i, at := b.first, c.una; i < len(b.segs); i++ {
				if b.segs[i].from != at {
					t.Fatalf("seed %d: a gap before %d", seed, b.segs[i].from)
				}
				at = b.segs[i].to
				want.count(&b.segs[i])
			}
			if b.arrived != want.arrived || b.gone != want.gone || b.back != want.back || c.pipe() < 0 {
				t.Fatalf("seed %d: counts %d, %d, %d, want %d, %d, %d", seed, b.arrived, b.gone, b.back, want.arrived, want.gone, want.back)
			}
		}
		x.run(time.Hour)
		if x.client.Received() != x.response || x.client.State() != Closed || x.server.State() != Closed {
			t.Fatalf("seed %d: %d of %d bytes, states %d and %d", seed, x.client.Received(), x.response, x.client.State(), x.server.State())
		}
	}
}

// TestRTO: the timeouts of a lost SYN double from one second (RFC 6298), and the
// timeout of data follows the round-trip time.
func TestRTO(t *testing.T) {
	x := transfer(t, impair.Config{Delay: 10 * time.Millisecond}, Cubic, 1000)
	var at []time.Duration
	x.trace = func(now vt.Instant, dir int, s *Segment) {
		if dir == 0 && s.Flags&pkt.SYN != 0 {
			at = append(at, time.Duration(now))
		}
	}
	x.p.lose = func(dir, n int, s *Segment) bool { return dir == 0 && n <= 3 }
	x.run(time.Minute)
	if want := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}; fmt.Sprint(at) != fmt.Sprint(want) || x.done == 0 {
		t.Errorf("SYNs at %v, want %v; done %v", at, want, x.done)
	}

	// RFC 6298 section 2: R = 100 ms gives SRTT 100, RTTVAR 50, RTO 300.
	c := newConn(0, Config{})
	c.measure(100 * time.Millisecond)
	if c.srtt != 100*time.Millisecond || c.rto != 300*time.Millisecond {
		t.Errorf("srtt %v, rto %v", c.srtt, c.rto)
	}
	// A second, of 200 ms: RTTVAR 3/4·50+1/4·100 = 62.5, SRTT 112.5, RTO 362.5.
	c.measure(200 * time.Millisecond)
	if c.rto != 362500*time.Microsecond {
		t.Errorf("srtt %v, rttvar %v, rto %v, want 362.5 ms", c.srtt, c.rttvar, c.rto)
	}
}

// TestCubicWindow: the window of CUBIC after a loss is that of RFC 9438 section
// 4.2, W(t) = C (t − K)³ + Wmax with K the cube root of Wmax (1 − β) / C; where
// Reno would be faster it is Reno's (section 4.3).
func TestCubicWindow(t *testing.T) {
	for _, tt := range []struct {
		segments int
		rtt      time.Duration
		want     func(s float64) float64 // s after the loss
	}{
		{1000, 200 * time.Millisecond, func(s float64) float64 {
			k := math.Cbrt(1000 * 0.3 / 0.4)
			return 0.4*math.Pow(s+0.2-k, 3) + 1000
		}},
		// 0.529 segments a round until Wmax, which is 70 of the 100 away, then one.
		{100, 10 * time.Millisecond, func(s float64) float64 {
			if at := 30 / 0.5294 * 0.01; s > at {
				return 100 + (s-at)/0.01
			}
			return 70 + 0.5294*s/0.01
		}},
	} {
		var g congestion
		g.start(Cubic, 1000, 10, 0)
		g.window = tt.segments * 1000
		g.congested(0, g.window)
		g.recovered()
		if g.window != tt.segments*700 {
			t.Fatalf("window %d after a loss at %d segments, want 0.7 of it", g.window/1000, tt.segments)
		}
		part := int(tt.rtt / (100 * time.Microsecond))
		for now := vt.Instant(0); now < vt.Instant(12*time.Second); now += vt.Instant(100 * time.Microsecond) {
			if now%vt.Instant(time.Second) == 0 && now > 0 && (tt.segments > 100 || now < vt.Instant(2*time.Second)) {
				if got, want := float64(g.window)/1000, tt.want(now.Sub(0).Seconds()); got < want*0.97 || got > want*1.03 {
					t.Errorf("%d segments: after %v the window is %.1f, want %.1f", tt.segments, now, got, want)
				}
			}
			g.acked(now, g.window/part, tt.rtt, g.window)
		}
	}
}

// TestRefused: a SYN that is reset is refused, and a wild reset is not believed.
func TestRefused(t *testing.T) {
	c := Open(0, Config{ISS: 100})
	c.Next(0)
	c.Receive(1, &Segment{Flags: pkt.RST | pkt.ACK, Ack: 7, Scale: -1})
	if c.WasReset() {
		t.Error("a reset of another connection is believed")
	}
	c.Receive(1, &Segment{Flags: pkt.RST | pkt.ACK, Ack: 101, Scale: -1})
	if !c.WasReset() || c.State() != Closed {
		t.Error("a reset is not believed")
	}
}

// TestRandomLoss: over many patterns of loss every transfer comes to its end.
func TestRandomLoss(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		x := transfer(t, impair.Config{Delay: time.Duration(r.IntN(30)) * time.Millisecond}, Algorithm(seed%2), int64(r.IntN(200_000)+1))
		p := r.Float64() * 0.3
		x.p.lose = func(int, int, *Segment) bool { return r.Float64() < p }
		x.run(2 * time.Hour)
		if x.client.Received() != x.response || x.client.State() != Closed || x.server.State() != Closed {
			t.Fatalf("seed %d, loss %.2f: got %d of %d, states %d and %d", seed, p, x.client.Received(), x.response, x.client.State(), x.server.State())
		}
	}
}
