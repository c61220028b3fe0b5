package tcp

import (
	"time"

	"github.com/homeward-lab/homeward/dataplane/vt"
)

// recovery is how a sender comes back from a loss.
type recovery struct {
	// recovering until all below end is acknowledged; loss says that it is after a
	// timeout.
	recovering, loss bool
	end              uint32
	// slowing: the window is on its way to a smaller one because of a mark, until all
	// below end and more is acknowledged. Nothing is lost.
	slowing bool
	// Pace of the recovery (RFC 6937): what arrived and left since its begin, and
	// the window at that moment.
	prrDelivered, prrOut, prrWindow int
	// force sends the first lost segment whatever the window.
	force bool

	// reorderAt is when what may have been overtaken is taken for lost.
	reorderAt vt.Instant
	// probing: the retransmission timer will send a probe (RFC 8985 section 7);
	// probeDue: it is to be sent now.
	probing, probeDue bool
	// probed: a probe is under way until probeEnd is acknowledged; probeAgain: it
	// was sent before.
	probed, probeAgain bool
	probeEnd           uint32
}

// timeoutSlack is what Linux adds to the timers of RFC 8985, which wait for
// something that may be on its way.
const timeoutSlack = 2 * time.Millisecond

// recover begins, paces and ends a recovery after an acknowledgement, and lets
// the window grow.
func (c *Conn) recover(x *arrivals) {
	c.probeAnswered(x)
	if x.twice {
		c.rack.widen(c.una, c.next)
	}
	if c.recovering && !after(c.end, c.una) {
		if !c.loss {
			c.cc.recovered()
		}
		c.recovering, c.loss = false, false
		c.rack.recovered()
	}
	if c.slowing && after(c.una, c.end) {
		c.cc.recovered()
		c.slowing = false
	}
	before := c.board.gone
	again := c.detect()
	switch {
	case c.board.gone > 0 && (!c.recovering || c.loss && again):
		c.enter()
	case x.marked && !c.recovering && !c.slowing:
		c.reduce()
		c.slowing = true
	}
	switch {
	case c.recovering && !c.loss || c.slowing:
		c.pace(x, c.board.gone > before || again)
	case x.advanced > 0:
		c.cc.acked(c.now, x.delivered, c.srtt, c.pipe()+x.delivered)
	}
	if x.advanced > 0 || x.delivered > 0 && !c.rack.before(c.board.head()) {
		c.arm(true) // not for what was sent since: that would put it off for ever
	}
}

// detect takes for lost what was sent so long before something that has arrived
// that it should have arrived too (RFC 8985 section 6.2), and reports whether
// something was lost again.
func (c *Conn) detect() (again bool) {
	c.reorderAt = vt.Never
	window := c.reorderWindow()
	c.board.judge(func(g *flying) bool {
		if !c.rack.before(g) {
			return false
		}
		if due := g.at.Add(c.rack.rtt + window); due > c.now {
			c.reorderAt = min(c.reorderAt, due.Add(timeoutSlack))
			return false
		}
		again = again || g.is&resent != 0
		return true
	})
	return again
}

// reorderWindow is how much later a segment may arrive than those sent after it:
// none where three have and order never was another (RFC 8985 section 6.2, step
// 4).
func (c *Conn) reorderWindow() time.Duration {
	if !c.rack.reordered && (c.recovering || c.board.arrived >= dupThresh*c.mss) {
		return 0
	}
	return min(c.cc.leastRTT/4*time.Duration(1+c.rack.steps), c.srtt)
}

// enter begins a recovery: the window shrinks once for all that is lost in it, and
// not if it is doing so.
func (c *Conn) enter() {
	if !c.slowing {
		c.reduce()
	}
	c.recovering, c.loss, c.slowing = true, false, false
}

// reduce begins to make the window smaller, once for all that is under way.
func (c *Conn) reduce() {
	c.end = c.next
	c.prrDelivered, c.prrOut, c.prrWindow = 0, 0, c.cc.window
	c.probed, c.reduced = false, c.ecn
	c.cc.congested(c.now, c.flight()-c.board.arrived)
}

// pace sets the window so that what leaves follows what arrives (RFC 6937, with
// its slow start where nothing more gets lost).
func (c *Conn) pace(x *arrivals, lost bool) {
	if x.delivered <= 0 {
		return
	}
	c.prrDelivered += x.delivered
	pipe, send := c.pipe(), 0
	if room := c.cc.ssthresh - pipe; room < 0 {
		send = int((int64(c.prrDelivered)*int64(c.cc.ssthresh)+int64(c.prrWindow)-1)/int64(c.prrWindow)) - c.prrOut
	} else {
		send = max(c.prrDelivered-c.prrOut, x.delivered)
		if x.advanced > 0 && !lost {
			send += c.mss
		}
		send = min(room, send)
	}
	if c.prrOut == 0 {
		send = max(send, c.mss) // the first goes at once
	}
	c.cc.window = pipe + max(send, 0)
}

// overtaken takes for lost what was waited for until now.
func (c *Conn) overtaken() {
	again := c.detect()
	if c.board.gone == 0 {
		return
	}
	if !c.recovering || c.loss && again {
		c.enter()
		c.pace(&arrivals{delivered: c.mss}, true)
	}
	c.arm(false)
}

// expire is the retransmission timeout (RFC 6298 section 5): all is lost but what
// was sent too late to have been answered.
func (c *Conn) expire() {
	c.rto = min(2*c.rto, maxRTO)
	c.retransmit, c.reorderAt = c.now.Add(c.rto), vt.Never
	if c.state == SynSent || c.state == SynReceived {
		c.resend()
		return
	}
	c.cc.timeout(c.now, c.flight()-c.board.arrived, c.loss || c.slowing)
	c.slowing, c.reduced = false, c.ecn
	b := &c.board
	for i := b.first; i < len(b.segs); i++ {
		if g := &b.segs[i]; i == b.first || g.at.Add(c.rack.rtt) <= c.now {
			b.lose(g)
		}
	}
	c.cc.window = c.pipe() + c.mss
	c.recovering, c.loss, c.end = true, true, c.next
	c.probed, c.force = false, true
}

// arm sets the retransmission timer: anew, or for new data under way. It is for a
// probe first where one may be sent (RFC 8985 section 7.2).
func (c *Conn) arm(anew bool) {
	b := &c.board
	switch {
	case b.first == len(b.segs):
		c.retransmit, c.probing = vt.Never, false
		return
	case anew:
		c.retransmit = c.now.Add(c.rto)
	case c.probing:
		c.retransmit = c.first()
	default:
		return
	}
	c.probing = false
	if c.recovering || b.arrived > 0 || c.srtt == 0 || c.probed {
		return
	}
	wait := 2*c.srtt + timeoutSlack
	if b.first == len(b.segs)-1 {
		wait = 2*c.srtt + c.config.MinRTO // its acknowledgement may be delayed
	}
	if at := c.now.Add(wait); at < c.retransmit {
		c.retransmit = at
	}
	c.probing = true
}

// first is when the timeout of the first segment under way is, which has been
// waiting for its acknowledgement.
func (c *Conn) first() vt.Instant {
	return max(c.board.head().at.Add(c.rto), c.now.Add(time.Millisecond))
}

// probe is a segment that asks for an acknowledgement: new data, or the last that
// was sent (RFC 8985 section 7.3).
func (c *Conn) probe(s *Segment) bool {
	b := &c.board
	if b.first == len(b.segs) {
		return false
	}
	if c.probeAgain = !c.fresh(s, true); c.probeAgain {
		c.repeat(s, &b.segs[len(b.segs)-1])
	}
	c.probed, c.probeEnd = true, c.next
	c.retransmit, c.probing = c.now.Add(c.rto), false // from now on, as Linux does
	return true
}

// probeAnswered looks at what became of a probe: if it repaired a loss, the
// window shrinks as for any (RFC 8985 section 7.4).
func (c *Conn) probeAnswered(x *arrivals) {
	switch {
	case !c.probed || after(c.probeEnd, x.ack):
	case !c.probeAgain || x.twice || x.same:
		c.probed = false
	case after(x.ack, c.probeEnd):
		c.probed, c.reduced = false, c.ecn
		c.cc.congested(c.now, c.flight()-c.board.arrived)
		c.cc.recovered()
	}
}
