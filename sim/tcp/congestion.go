package tcp

import (
	"math"
	"time"

	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Algorithm of congestion control.
type Algorithm uint8

const (
	// Cubic is RFC 9438 with HyStart, as Linux has them. The zero value.
	Cubic Algorithm = iota
	// NewReno is RFC 5681 and RFC 6582.
	NewReno
)

// Constants of RFC 9438 sections 4.1 and 4.6, and of Linux's HyStart.
const (
	cubicC    = 0.4
	cubicBeta = 0.7
	// renoAlpha keeps pace with Reno where CUBIC alone would be slower.
	renoAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)

	// firstGrowth is how much is acknowledged for one more, at most, while no loss has
	// told what the path carries: Linux grows by a twentieth each round then.
	firstGrowth = 20

	hystartWindow  = 16 // segments
	hystartSamples = 8
	hystartTrain   = 2 * time.Millisecond
	hystartLeast   = 4 * time.Millisecond
	hystartMost    = 16 * time.Millisecond
	hystartBurst   = time.Millisecond // four superpackets, at any rate below 2 Gbit/s
)

// congestion is the window of a sender, bytes.
type congestion struct {
	algorithm Algorithm
	mss       int
	window    int
	ssthresh  int
	credit    float64 // growth below one byte

	// CUBIC: the window before the last reduction and the time to reach it again,
	// in segments and seconds.
	wMax, k, origin, reno float64
	epoch                 vt.Instant // vt.Never: none begun

	// HyStart: this round's end, its first samples, and the train of
	// acknowledgements.
	leastRTT, roundRTT  time.Duration
	roundEnd            uint32
	samples             int
	roundStart, lastAck vt.Instant
	found               bool
}

// start begins, with everything before the sequence number first acknowledged.
func (g *congestion) start(a Algorithm, mss, initial int, first uint32) {
	*g = congestion{algorithm: a, mss: mss, window: initial * mss, ssthresh: math.MaxInt32, epoch: vt.Never, roundEnd: first}
}

// resize goes on with smaller segments: the window stays as many of them, as Linux
// counts it.
func (g *congestion) resize(mss int) {
	if g.mss == 0 {
		return
	}
	smaller := func(n int) int { return int(int64(n) * int64(mss) / int64(g.mss)) }
	if g.ssthresh < math.MaxInt32 {
		g.ssthresh = smaller(g.ssthresh)
	}
	g.window, g.mss = smaller(g.window), mss
}

// slow reports whether the window grows by what arrives.
func (g *congestion) slow() bool { return g.window < g.ssthresh }

// acked lets the window grow by n bytes acknowledged, where flight was used of it:
// a window that is not used does not grow (RFC 7661 in spirit, as Linux does).
func (g *congestion) acked(now vt.Instant, n int, srtt time.Duration, flight int) {
	if g.slow() {
		if flight*2 < g.window {
			return
		}
		grow := min(n, g.ssthresh-g.window)
		g.window += grow
		if n -= grow; n == 0 {
			return
		}
	}
	if flight+g.mss < g.window {
		return
	}
	if g.algorithm == NewReno {
		g.add(float64(g.mss) * float64(n) / float64(g.window))
		return
	}
	g.cubic(now, n, srtt)
}

func (g *congestion) add(bytes float64) {
	g.credit += bytes
	whole := int(g.credit)
	g.window += whole
	g.credit -= float64(whole)
}

// cubic is RFC 9438 sections 4.2 to 4.5.
func (g *congestion) cubic(now vt.Instant, n int, srtt time.Duration) {
	segments := float64(g.window) / float64(g.mss)
	if g.epoch == vt.Never {
		g.epoch, g.reno = now, segments
		if segments < g.wMax {
			g.k, g.origin = math.Cbrt((g.wMax-segments)/cubicC), g.wMax
		} else {
			g.k, g.origin = 0, segments
		}
	}
	t := (now.Sub(g.epoch) + srtt).Seconds()
	x := t - g.k
	// The conversion keeps processors from rounding once where others round twice.
	target := g.origin + float64(cubicC*x*x*x)
	target = min(max(target, segments), 1.5*segments)
	alpha := renoAlpha
	if g.reno >= g.wMax {
		alpha = 1
	}
	g.reno += alpha * float64(n) / float64(g.window)
	step := (target - segments) / segments * float64(n)
	if g.wMax == 0 {
		step = max(step, float64(n)/firstGrowth)
	}
	if g.reno > segments+step/float64(g.mss) && g.reno > target {
		step = max(step, (g.reno-segments)*float64(g.mss))
	}
	g.add(step)
}

// congested shrinks the window for a loss.
func (g *congestion) congested(now vt.Instant, flight int) {
	g.found = true
	if g.algorithm == NewReno {
		g.ssthresh = max(flight/2, 2*g.mss)
		return
	}
	segments := float64(g.window) / float64(g.mss)
	g.wMax = segments
	if segments < g.origin { // fast convergence
		g.wMax = segments * (1 + cubicBeta) / 2
	}
	g.ssthresh = max(int(float64(g.window)*cubicBeta), 2*g.mss)
	g.epoch = vt.Never
}

// recovered ends a recovery.
func (g *congestion) recovered() {
	if g.ssthresh < math.MaxInt32 {
		g.window = max(g.ssthresh, 2*g.mss)
	}
}

// timeout takes everything for lost; again says that it had been before.
func (g *congestion) timeout(now vt.Instant, flight int, again bool) {
	if !again {
		g.congested(now, flight)
	}
	g.window = g.mss
	g.wMax, g.origin, g.found = 0, 0, false // Linux begins anew
}

// sent notes that a segment leaves while under bytes are under way: a pause is
// no time in which the window would have grown.
func (g *congestion) sent(now vt.Instant, under int) {
	if under == 0 && g.epoch != vt.Never && g.algorithm == Cubic {
		g.epoch = vt.Never
	}
}

// rtt takes a sample: HyStart leaves slow start when delay rises or a train of
// acknowledgements is as long as half a round.
func (g *congestion) rtt(now vt.Instant, r time.Duration, una, next uint32) {
	if g.leastRTT == 0 || r < g.leastRTT {
		g.leastRTT = r
	}
	if g.algorithm != Cubic || g.found || !g.slow() {
		return
	}
	if after(una, g.roundEnd) {
		g.roundEnd, g.samples, g.roundRTT = next, 0, math.MaxInt64
		g.roundStart, g.lastAck = now, now
	}
	if g.window < hystartWindow*g.mss {
		return
	}
	if now.Sub(g.lastAck) <= hystartTrain {
		g.lastAck = now
		if now.Sub(g.roundStart) > (g.leastRTT+hystartBurst)/2 {
			g.leave()
			return
		}
	}
	g.roundRTT = min(g.roundRTT, r)
	if g.samples < hystartSamples {
		g.samples++
	} else if g.roundRTT > g.leastRTT+min(max(g.leastRTT/8, hystartLeast), hystartMost) {
		g.leave()
	}
}

func (g *congestion) leave() {
	g.found = true
	g.ssthresh = g.window
}
