package tcp

import (
	"time"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// sender is what goes out.
type sender struct {
	// una is the first sequence number not acknowledged, next the first never
	// sent, window what the peer takes beyond una.
	una, next uint32
	window    uint32
	peerScale int8
	// queued are the bytes written and not yet sent, ackedBytes those that arrived.
	queued, ackedBytes int64
	finish, finSent    bool

	board scoreboard
	rack  rack
	recovery

	synAt             vt.Instant // when the SYN was sent
	srtt, rttvar, rto time.Duration
	retransmitted     int
}

// flight is what was sent and not acknowledged.
func (c *Conn) flight() int { return int(c.next - c.una) }

// pipe is what is believed to be under way.
func (c *Conn) pipe() int { return c.board.pipe(c.flight()) }

// now32 is the clock of timestamps, in microseconds.
func (c *Conn) now32() uint32 { return uint32(int64(c.now) / int64(time.Microsecond)) }

// measure takes a round-trip time (RFC 6298 section 2).
func (c *Conn) measure(r time.Duration) {
	r = max(r, time.Microsecond)
	if c.srtt == 0 {
		c.srtt, c.rttvar = r, r/2
	} else {
		// Many samples a round would decay the variance too fast (RFC 7323
		// appendix G): each counts as its share of the flight. The mean follows
		// each, as Linux has it, so that it keeps up with a queue that fills.
		n := max(time.Duration(c.pipe()/(2*c.mss)), 1)
		c.rttvar += (max(c.srtt-r, r-c.srtt) - c.rttvar) / (4 * n)
		c.srtt += (r - c.srtt) / 8
	}
	c.rto = min(c.srtt+max(4*c.rttvar, c.config.MinRTO), maxRTO)
}

// acknowledge takes a segment's acknowledgement.
func (c *Conn) acknowledge(s *Segment) {
	if after(s.Ack, c.next) {
		c.ackNow = true
		return
	}
	if after(c.una, s.Ack) {
		return
	}
	c.window = uint32(s.Window) << c.peerScale
	x := c.arrivals(s)
	if x.advanced > 0 {
		n := int64(x.advanced)
		if c.una == c.config.ISS {
			n-- // the SYN
		}
		if c.finSent && s.Ack == c.next {
			n-- // the FIN
		}
		c.ackedBytes += max(n, 0)
		c.una = s.Ack
	}
	c.recover(&x)
}

// arrivals are what an acknowledgement says.
type arrivals struct {
	// advanced is by how much una moves, delivered what arrived that was not known
	// to have, bytes.
	advanced, delivered int
	// ack is what is acknowledged; twice says that something arrived again (RFC
	// 2883); same, that it says nothing else.
	ack   uint32
	twice bool
	same  bool
	// marked says that the receiver tells of a mark.
	marked bool
}

// arrivals takes what an acknowledgement says into the scoreboard, and the
// round-trip time that it measures.
func (c *Conn) arrivals(s *Segment) arrivals {
	x := arrivals{advanced: int(s.Ack - c.una), ack: s.Ack}
	// Of the segments that were sent once, the first that arrived measures the
	// round trip, the last the path's delay: an acknowledgement may have waited.
	first, latest := vt.Never, vt.Instant(-1)
	top := c.una // behind the last that had arrived before
	if n := len(c.board.blocks); n > 0 {
		top = c.board.blocks[n-1].To
	}
	arrived := func(g *flying) {
		x.delivered += g.len()
		took := c.now.Sub(g.at)
		if g.is&repeated == 0 {
			first, latest = min(first, g.at), max(latest, g.at)
			c.rack.reordered = c.rack.reordered || after(top, g.from)
		} else if took < c.cc.leastRTT {
			return // it answers the sending before
		}
		c.rack.rtt = took
		c.rack.n = later(c.rack.n, g.n)
	}
	c.board.forget(s.Ack, arrived)
	for i, b := range s.SACK[:s.blocks()] {
		if i == 0 && s.reportsTwice() {
			x.twice = true
			continue
		}
		b.From = later(b.From, s.Ack)
		if after(b.To, b.From) && !after(b.To, c.next) {
			c.board.report(b, arrived)
		}
	}
	x.marked = c.marked(s)
	x.same = x.advanced == 0 && x.delivered == 0 && s.Len == 0
	switch {
	case first != vt.Never:
		c.measure(c.now.Sub(first))
		c.cc.rtt(c.now, max(c.now.Sub(latest), time.Microsecond), s.Ack, c.next)
	case x.advanced > 0 && c.una == c.config.ISS:
		c.synAnswered(s)
	case x.advanced > 0 && s.HasTime:
		c.measure(time.Duration(c.now32()-s.Echo) * time.Microsecond)
	}
	return x
}

// synAnswered measures the round trip of the SYN; of one that was sent again, by
// the time that came back.
func (c *Conn) synAnswered(s *Segment) {
	took := c.now.Sub(c.synAt)
	if c.retransmitted > 0 {
		if !s.HasTime {
			return
		}
		took = time.Duration(c.now32()-s.Echo) * time.Microsecond
	}
	c.measure(took)
	c.cc.rtt(c.now, max(took, time.Microsecond), s.Ack, c.next)
}

// resend lets the SYN go again.
func (c *Conn) resend() {
	c.next = c.una
	c.retransmitted++
}

// Next is the next segment to send now; false if there is none.
func (c *Conn) Next(now vt.Instant) (s Segment, ok bool) {
	c.now = now
	s.Scale = -1
	switch {
	case c.aborted:
		c.aborted = false
		s.Seq, s.Ack, s.Flags = c.next, c.rcvNext, pkt.RST|pkt.ACK
		return s, true
	case c.state == Closed:
		return s, false
	case (c.state == SynSent || c.state == SynReceived) && c.next == c.una:
		s.Seq, s.Flags, s.MSS, s.Scale, s.SACKPermitted = c.next, pkt.SYN, uint16(c.config.MSS), scale, true
		c.next++
		c.ask(&s)
		c.synAt = now
		c.retransmit = now.Add(c.rto)
		c.dress(&s)
		return s, true
	case c.state == SynSent || c.state == SynReceived:
		return s, false
	case c.retransmission(&s), c.fresh(&s, false), c.fin(&s):
		c.dress(&s)
		return s, true
	case c.ackNow:
		s.Seq = c.next
		c.dress(&s)
		return s, true
	}
	return s, false
}

// dress writes what every segment has.
func (c *Conn) dress(s *Segment) {
	s.HasTime, s.Time, s.Echo = true, c.now32(), c.recent
	window := int(c.buffer.threshold)
	if s.Flags&pkt.SYN == 0 {
		window = c.offer() >> scale
	}
	s.Window = uint16(min(window, 0xffff))
	if c.state != SynSent {
		c.report(s)
	}
}

// retransmission is a segment to send again: the probe that is due, or what is
// lost, as far as the window allows.
func (c *Conn) retransmission(s *Segment) bool {
	if c.probeDue {
		c.probeDue = false
		return c.probe(s)
	}
	if !c.recovering {
		return false
	}
	g := c.board.missing()
	if g == nil || !c.force && c.pipe()+min(g.len(), c.mss) > c.cc.window {
		return false
	}
	c.force = false
	c.repeat(s, g)
	return true
}

// repeat makes s of a segment under way.
func (c *Conn) repeat(s *Segment, g *flying) {
	n, head := g.len(), g.from == c.una
	s.Seq, s.Len = g.from, n
	if c.finSent && g.to == c.next {
		s.Flags |= pkt.FIN
		s.Len--
	}
	if s.Len > c.mss {
		s.Len, n = c.mss, c.mss
		s.Flags &^= pkt.FIN
	}
	c.board.resend(g, n, c.now)
	c.prrOut += n
	c.retransmitted++
	if head { // RFC 6298 (5.1)
		c.retransmit, c.probing = c.now.Add(c.rto), false
	}
}

// fresh is a segment of new data that the windows allow; of a probe, the peer's.
func (c *Conn) fresh(s *Segment, probe bool) bool {
	if c.queued == 0 || c.finSent || c.state != Established && c.state != CloseWait {
		return false
	}
	n := min(int(min(c.queued, int64(c.mss))), int(c.window)-c.flight())
	under := c.pipe()
	if n <= 0 || !probe && under+n > c.cc.window {
		return false
	}
	s.Seq, s.Len = c.next, n
	c.queued -= int64(n)
	if c.queued == 0 {
		s.Flags |= pkt.PSH
		if c.finish {
			c.close(s)
		}
	}
	c.capable(s)
	c.launch(s)
	c.cc.sent(c.now, under)
	return true
}

// fin is the FIN on its own.
func (c *Conn) fin(s *Segment) bool {
	if !c.finish || c.finSent || c.queued > 0 || c.state != Established && c.state != CloseWait {
		return false
	}
	s.Seq = c.next
	c.close(s)
	c.launch(s)
	return true
}

func (c *Conn) close(s *Segment) {
	s.Flags |= pkt.FIN
	c.finSent = true
	if c.state == Established {
		c.state = FinWait1
	} else {
		c.state = LastAck
	}
}

// launch sends what was never sent.
func (c *Conn) launch(s *Segment) {
	c.next += s.length()
	c.board.add(flying{from: s.Seq, to: c.next, at: c.now})
	c.prrOut += s.Len
	c.arm(c.retransmit == vt.Never)
}
