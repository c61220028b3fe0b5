package tcp

import (
	"slices"
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
	sack      bool
	// queued are the bytes written and not yet sent, ackedBytes those that arrived.
	queued, ackedBytes int64
	finish, finSent    bool

	// sacked are the peer's blocks beyond una, in order; highRxt is behind what
	// was sent again in this recovery; lostBelow is where a timeout took all for
	// lost.
	sacked    []Block
	highRxt   uint32
	lostBelow uint32
	// recovering until recover is acknowledged; loss says that it is after a
	// timeout.
	recovering, loss bool
	recover          uint32
	dups             int
	// Pace of the recovery (RFC 6937): what arrived and left since its begin, and
	// the flight at that moment.
	prrDelivered, prrOut, prrFlight int
	// force sends the first lost segment whatever the window.
	force bool

	srtt, rttvar, rto time.Duration
	again             int
}

// now32 is the clock of timestamps, in microseconds.
func (c *Conn) now32() uint32 { return uint32(int64(c.now) / int64(time.Microsecond)) }

// sample takes a round-trip time from an acknowledgement (RFC 6298, RFC 7323).
func (c *Conn) sample(s *Segment) {
	if !s.HasTime || s.Echo == 0 && c.now >= vt.Instant(time.Millisecond) {
		return
	}
	r := max(time.Duration(c.now32()-s.Echo)*time.Microsecond, time.Microsecond)
	if c.srtt == 0 {
		c.srtt, c.rttvar = r, r/2
	} else {
		// Many samples a round would decay the variance too fast (RFC 7323
		// appendix G): each counts as its share of the flight.
		n := max(time.Duration(c.flight()/(2*c.mss)), 1)
		c.rttvar += (max(c.srtt-r, r-c.srtt) - c.rttvar) / (4 * n)
		c.srtt += (r - c.srtt) / (8 * n)
	}
	c.rto = min(max(c.srtt+max(4*c.rttvar, time.Millisecond), c.config.MinRTO), maxRTO)
	c.cc.rtt(c.now, r, c.una, c.next)
}

// flight is what was sent and neither acknowledged nor reported as arrived.
func (c *Conn) flight() int { return int(c.next-c.una) - c.sackedBytes() }

func (c *Conn) sackedBytes() (n int) {
	for _, b := range c.sacked {
		n += b.len()
	}
	return n
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
	before := c.sackedBytes()
	c.scoreboard(s)
	advanced := int(s.Ack - c.una)
	if advanced > 0 {
		c.forward(s.Ack)
		c.sample(s)
	}
	// What is reported moves on to be acknowledged: it was delivered once.
	delivered := advanced + c.sackedBytes() - before
	switch {
	case advanced == 0 && s.Len == 0 && c.next != c.una && s.Flags&pkt.FIN == 0:
		c.dups++
	case advanced > 0:
		c.dups = 0
	}
	c.recovery(advanced, delivered)
}

// forward moves una.
func (c *Conn) forward(ack uint32) {
	n := int64(ack - c.una)
	if c.una == c.config.ISS {
		n-- // the SYN
	}
	if c.finSent && ack == c.next {
		n-- // the FIN
	}
	c.ackedBytes += max(n, 0)
	c.una = ack
	c.highRxt = later(c.highRxt, ack)
	i := 0
	for i < len(c.sacked) && !after(c.sacked[i].To, ack) {
		i++
	}
	c.sacked = slices.Delete(c.sacked, 0, i)
	if len(c.sacked) > 0 && after(ack, c.sacked[0].From) {
		c.sacked[0].From = ack
	}
	if c.una == c.next {
		c.retransmit = vt.Never
	} else {
		c.retransmit = c.now.Add(c.rto)
	}
}

// scoreboard adds a segment's SACK blocks.
func (c *Conn) scoreboard(s *Segment) {
	for _, b := range s.SACK[:s.blocks()] {
		b.From = later(b.From, later(c.una, s.Ack))
		if !after(b.To, b.From) || after(b.To, c.next) {
			continue
		}
		i := 0
		for i < len(c.sacked) && after(b.From, c.sacked[i].To) {
			i++
		}
		j := i
		for j < len(c.sacked) && !after(c.sacked[j].From, b.To) {
			if after(b.From, c.sacked[j].From) {
				b.From = c.sacked[j].From
			}
			b.To = later(b.To, c.sacked[j].To)
			j++
		}
		c.sacked = slices.Replace(c.sacked, i, j, b)
	}
}

// lost reports whether what is at seq is taken for lost, where above bytes
// beyond it have arrived (RFC 6675 section 4, IsLost).
func (c *Conn) lost(seq uint32, above int) bool {
	return after(c.lostBelow, seq) || above > (dupThresh-1)*c.mss
}

// holes calls f for what is between una and next and not reported, in order,
// with how many bytes beyond it are.
func (c *Conn) holes(f func(hole Block, above int) bool) {
	above, at := c.sackedBytes(), c.una
	for _, b := range c.sacked {
		if b.From != at && !f(Block{at, b.From}, above) {
			return
		}
		above -= b.len()
		at = b.To
	}
	if at != c.next {
		f(Block{at, c.next}, 0)
	}
}

// pipe is what is believed to be under way (RFC 6675 section 4, SetPipe).
func (c *Conn) pipe() (n int) {
	c.holes(func(h Block, above int) bool {
		switch {
		case !c.lost(h.From, above):
			n += h.len()
		case after(c.lostBelow, h.From) && after(h.To, c.lostBelow) && above <= (dupThresh-1)*c.mss:
			n += int(h.To - c.lostBelow) // sent since the timeout
		}
		if to := h.To; after(c.highRxt, h.From) && c.lost(h.From, above) {
			if after(to, c.highRxt) {
				to = c.highRxt
			}
			n += int(to - h.From)
		}
		return true
	})
	return n
}

// recovery begins, paces and ends a recovery, and lets the window grow.
func (c *Conn) recovery(advanced, delivered int) {
	if c.recovering && !after(c.recover, c.una) {
		c.recovering, c.loss = false, false
		c.cc.recovered()
	}
	if !c.recovering && c.next != c.una {
		lost := false
		c.holes(func(h Block, above int) bool {
			lost = c.sack && above > (dupThresh-1)*c.mss
			return false
		})
		if lost || !c.sack && c.dups >= dupThresh {
			c.enter()
			c.force = true
		}
	}
	switch {
	case c.recovering && !c.loss:
		c.pace(delivered, advanced)
	case advanced > 0:
		c.cc.acked(c.now, advanced, c.srtt, c.flight()+advanced)
	}
}

// enter begins a recovery: the window shrinks once for all that is lost in it.
func (c *Conn) enter() {
	c.recovering, c.loss, c.recover = true, false, c.next
	c.highRxt = c.una
	c.prrDelivered, c.prrOut, c.prrFlight = 0, 0, max(c.flight(), c.mss)
	c.cc.congested(c.now, c.flight())
}

// pace sets the window so that what leaves follows what arrives (RFC 6937).
// Without SACK each duplicate stands for a segment that arrived, and a partial
// acknowledgement says what is lost next (RFC 6582).
func (c *Conn) pace(delivered, advanced int) {
	if !c.sack {
		if advanced > 0 {
			c.force = true
			c.highRxt = c.una
			return
		}
		delivered = c.mss
	}
	c.prrDelivered += delivered
	pipe, send := c.pipe(), 0
	if !c.sack {
		pipe = max(c.flight()-c.dups*c.mss, 0)
	}
	if pipe > c.cc.ssthresh {
		send = (c.prrDelivered*c.cc.ssthresh+c.prrFlight-1)/c.prrFlight - c.prrOut
	} else {
		limit := max(c.prrDelivered-c.prrOut, delivered) + c.mss
		send = min(c.cc.ssthresh-pipe, limit)
	}
	c.cc.window = max(pipe+max(send, 0), c.mss)
}

// expire is the retransmission timeout (RFC 6298 section 5).
func (c *Conn) expire() {
	c.rto = min(2*c.rto, maxRTO)
	c.retransmit = c.now.Add(c.rto)
	if c.state == SynSent || c.state == SynReceived {
		c.resend()
		return
	}
	c.cc.timeout(c.now, c.flight(), c.loss)
	c.recovering, c.loss, c.recover = true, true, c.next
	c.lostBelow, c.highRxt, c.dups = c.next, c.una, 0
	c.force = true
}

// resend lets the SYN go again.
func (c *Conn) resend() {
	c.next = c.una
	c.again++
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
		c.retransmit = now.Add(c.rto)
		c.dress(&s)
		return s, true
	case c.state == SynSent || c.state == SynReceived:
		return s, false
	case c.retransmission(&s), c.fresh(&s), c.fin(&s):
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
	window := c.config.Window
	if s.Flags&pkt.SYN == 0 {
		window >>= scale
	}
	s.Window = uint16(min(window, 0xffff))
	if c.state != SynSent {
		c.report(s)
	}
	if s.Len > 0 || s.Flags&pkt.FIN != 0 {
		c.prrOut += s.Len
		if c.retransmit == vt.Never {
			c.retransmit = c.now.Add(c.rto)
		}
	}
}

// retransmission is a lost segment to send again.
func (c *Conn) retransmission(s *Segment) bool {
	if !c.recovering || c.una == c.next {
		return false
	}
	if !c.force && c.pipe()+c.mss > c.cc.window && !(c.loss && c.pipe() == 0) {
		return false
	}
	found := false
	c.holes(func(h Block, above int) bool {
		from := later(h.From, c.highRxt)
		if !after(h.To, from) {
			return true
		}
		if !c.lost(from, above) && !c.force {
			return false
		}
		s.Seq = from
		n := min(int(h.To-from), c.mss)
		if c.finSent && from+uint32(n) == c.next {
			s.Flags |= pkt.FIN
			n--
		}
		s.Len, found = n, true
		c.highRxt = from + s.length()
		return false
	})
	if found {
		c.force = false
		c.again++
		c.retransmit = c.now.Add(c.rto)
	}
	return found
}

// fresh is a segment of new data that the windows allow.
func (c *Conn) fresh(s *Segment) bool {
	if c.queued == 0 || c.finSent || c.state != Established && c.state != CloseWait {
		return false
	}
	room := int(c.window) - int(c.next-c.una)
	n := min(int(min(c.queued, int64(c.mss))), room)
	under := c.flight()
	if c.recovering {
		under = c.pipe()
		if !c.sack {
			under = max(c.flight()-c.dups*c.mss, 0)
		}
	} else if !c.sack && c.dups > 0 {
		under -= min(c.dups, 2) * c.mss // limited transmit (RFC 3042)
	}
	if n <= 0 || under+n > c.cc.window {
		return false
	}
	s.Seq, s.Len = c.next, n
	c.next += uint32(n)
	c.queued -= int64(n)
	if c.queued == 0 {
		s.Flags |= pkt.PSH
		if c.finish {
			c.close(s)
		}
	}
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
	return true
}

func (c *Conn) close(s *Segment) {
	s.Flags |= pkt.FIN
	c.finSent = true
	c.next++
	if c.state == Established {
		c.state = FinWait1
	} else {
		c.state = LastAck
	}
}
