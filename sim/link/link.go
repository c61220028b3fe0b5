// Package link carries packets in virtual time: one direction of a link, with
// everything that the lab's wires do (dataplane/impair).
//
// Only a wire's next arrival is an event; the packets behind it wait here. Its
// law: packets come out as impair.Line says, in the order of their times, and
// those of one time in the order in which they went in.
package link

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/packet"
)

// Wire is one direction of a link. Use New.
type Wire struct {
	engine *engine.Engine
	pool   *packet.Pool
	line   *impair.Line  // nil for a plain wire
	hop    time.Duration // what line leaves out: Hop while nothing is asked of it
	// most that a packet takes of a plain wire that is not always equally fast, drawn
	// by seed for the idled-th one; 0 where each takes Hop.
	most   time.Duration
	seed   uint64
	idled  uint64
	timer  engine.Timer
	mtu    int
	flight flight
	// down: nothing goes in, as of a cut cable.
	down    bool
	dropped uint64
	stream  impair.Stream
	// times are how long packets took on an impaired wire. The last same ones,
	// which all took so long, are not in it yet: most take what the one before did.
	times *hdrhistogram.Histogram
	took  int64
	same  int64
}

// Hop is what a packet takes through a wire of which nothing is asked, and the
// machine behind it: about what a lab's veth and kernel take. What is asked of a
// wire is exact. Without it, all of an exchange would happen at one instant, and
// flows that begin together would come one after the other.
const Hop = 10 * time.Microsecond

// longest time that is told apart: a delay and a jitter.
const longest = int64(2 * impair.MaxDelay)

// New is a wire that does what c says with the chance of s. timer goes off when a
// packet comes out: call Receive then.
func New(e *engine.Engine, pool *packet.Pool, timer engine.Timer, c impair.Config, s impair.Stream) (*Wire, error) {
	w := &Wire{engine: e, pool: pool, timer: timer, stream: s, mtu: packet.Size}
	if c.Plain() {
		return w, nil
	}
	return w, w.Set(c)
}

// Slow has each packet take another time where nothing is asked of the wire, between
// Hop and most, as on a machine that has other things to do; none overtakes.
func (w *Wire) Slow(most time.Duration, seed uint64) { w.most, w.seed = most, seed }

// idle is what the next packet takes where nothing is asked.
func (w *Wire) idle() time.Duration {
	if w.most == 0 {
		return Hop
	}
	n := w.idled
	w.idled++
	x := impair.Philox([4]uint32{uint32(n), uint32(n >> 32), uint32(w.seed), uint32(w.seed >> 32)}, w.stream)
	took := Hop + time.Duration(uint64(x[0])*uint64(w.most-Hop)>>32)
	return max(took, w.flight.last.Sub(w.engine.Now()))
}

// MTU is the largest packet that the wire is meant for: whoever sends looks.
func (w *Wire) MTU() int { return w.mtu }

// SetMTU changes it; it begins as packet.Size.
func (w *Wire) SetMTU(mtu int) { w.mtu = mtu }

// Set changes what the wire does to packets that come from now on.
func (w *Wire) Set(c impair.Config) (err error) {
	if w.line == nil {
		w.times = hdrhistogram.New(int64(100*time.Nanosecond), longest, 2)
		w.line, err = impair.New(c, w.stream, w.engine.Now())
	} else {
		err = w.line.Set(w.engine.Now(), c)
	}
	if err != nil {
		return err
	}
	if w.hop = 0; c.Plain() {
		w.hop = Hop
	}
	return nil
}

// Times are how many packets passed an impaired wire, and how long they took at
// the quantile q, 0 to 1.
func (w *Wire) Times(q float64) (n int64, took time.Duration) {
	if w.times == nil {
		return 0, 0
	}
	w.record(w.took)
	return w.times.TotalCount(), time.Duration(w.times.ValueAtQuantile(100 * q))
}

// record puts into times what is not there yet. The next packets take so long.
//
//go:noinline
func (w *Wire) record(took int64) {
	_ = w.times.RecordValues(min(w.took, longest), w.same) // within bounds it cannot fail
	w.took, w.same = took, 0
}

// Line is what the wire does; nil for a plain one.
func (w *Wire) Line() *impair.Line { return w.line }

// SetDown cuts the wire, or mends it. What is under way still arrives.
func (w *Wire) SetDown(down bool) { w.down = down }

//go:noinline
func (w *Wire) lose(h packet.Handle) {
	w.dropped++
	w.pool.Free(h)
}

// Dropped is how many packets the wire lost, for whatever reason.
func (w *Wire) Dropped() uint64 { return w.dropped }

// Flying is how many packets are under way.
func (w *Wire) Flying() int { return w.flight.len() }

// Send puts a packet on the wire, which is the wire's from then on.
func (w *Wire) Send(h packet.Handle) {
	now := w.engine.Now()
	switch {
	case w.down:
		w.lose(h)
		return
	case w.line == nil:
		w.push(now.Add(w.idle()), h)
		return
	case !w.line.Steady():
		w.chance(now, h)
		return
	}
	at, passed := w.line.Steadily(now, w.pool.Len(h))
	if !passed {
		w.lose(h)
		return
	}
	if w.hop != 0 {
		at = at.Add(w.hop)
	}
	if took := int64(at.Sub(now)); took != w.took {
		w.record(took)
	}
	w.same++
	if !w.flight.follow(at, h) {
		w.push(at, h)
	}
}

// chance is Send on a line that does more than delay.
func (w *Wire) chance(now vt.Instant, h packet.Handle) {
	fate := w.line.Send(now, w.pool.Len(h))
	if fate.End != impair.Passed {
		w.lose(h)
		return
	}
	if fate.Congested && pkt.Mark(w.pool.Head(h)) {
		w.line.Marked()
	}
	if fate.Flip >= 0 {
		w.pool.Data(h)[fate.Flip/8] ^= 0x80 >> (fate.Flip % 8)
	}
	if took := int64(fate.At.Sub(now)); took != w.took {
		w.record(took)
	}
	w.same++
	w.push(fate.At, h)
	if fate.Twice {
		w.push(fate.At, w.pool.Copy(h))
	}
}

func (w *Wire) push(at vt.Instant, h packet.Handle) {
	if w.flight.push(at, h) {
		w.engine.Arm(w.timer, at)
	}
}

// Receive is the packet that comes out now, when the timer has gone off; more
// says that another does too. It is the caller's.
func (w *Wire) Receive() (h packet.Handle, more bool) {
	f := &w.flight
	var next *arrival
	if f.several() { // nearly always
		h = f.slot(f.head).h
		f.head++
		next = f.slot(f.head)
	} else if h, next = f.pop(); next == nil {
		return h, false
	}
	if next.at <= w.engine.Now() {
		return h, true
	}
	w.pool.Touch(next.h)
	w.engine.Arm(w.timer, next.at)
	return h, false
}
