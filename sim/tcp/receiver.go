package tcp

import (
	"slices"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// receiver is what comes in.
type receiver struct {
	rcvNext  uint32
	received int64
	peerFin  bool
	// early are blocks beyond rcvNext, in order; newest is the block that the
	// latest segment was put into.
	early  []Block
	newest Block
	// finAt is where the peer's FIN is, once finSeen.
	finAt   uint32
	finSeen bool
	// ackNow: an acknowledgement is due; pending are the segments that none was
	// sent for; quick acknowledgements are left.
	ackNow  bool
	pending int
	quick   int
	// twice is what came again, to be reported once (RFC 2883).
	twice Block
	// recent is the time to echo (RFC 7323 section 4).
	recent uint32
	// lastAck is the last acknowledgement sent.
	lastAck uint32
}

// take takes a segment's payload and FIN.
func (c *Conn) take(s *Segment) {
	if s.length() == 0 {
		return
	}
	c.heed(s)
	from, to := s.Seq, s.Seq+uint32(s.Len)
	if s.Flags&pkt.FIN != 0 {
		c.finSeen, c.finAt = true, to
	}
	if s.HasTime && !after(from, c.lastAck) {
		c.recent = s.Time
	}
	switch {
	case after(from, c.rcvNext): // a hole before it
		c.hold(Block{from, from + s.length()}) // a FIN is reported too
		c.opens(s)
		c.ackNow = true
	case !after(to, c.rcvNext) && s.Len > 0:
		c.ackNow, c.twice = true, Block{from, to} // all of it is here already
	default:
		filled := len(c.early) > 0
		if after(to, c.rcvNext) {
			c.received += int64(to - c.rcvNext)
			c.rcvNext = to
		}
		c.join()
		c.opens(s)
		c.pending++
		if filled || c.quick > 0 || c.pending >= 2 {
			c.ackNow = true
		} else if c.ackAt == vt.Never {
			c.ackAt = c.now.Add(c.config.DelayedAck)
		}
	}
	if c.finSeen && c.rcvNext == c.finAt && !c.peerFin {
		c.rcvNext++
		c.peerFin, c.ackNow = true, true
	}
}

// hold keeps a block that came early, merged with its neighbours.
func (c *Conn) hold(b Block) {
	i := 0
	for i < len(c.early) && after(b.From, c.early[i].To) {
		i++
	}
	if i < len(c.early) && !after(c.early[i].From, b.From) && !after(b.To, c.early[i].To) {
		c.twice = b
	}
	j := i
	for j < len(c.early) && !after(c.early[j].From, b.To) {
		if after(b.From, c.early[j].From) {
			b.From = c.early[j].From
		}
		b.To = later(b.To, c.early[j].To)
		j++
	}
	c.early = slices.Replace(c.early, i, j, b)
	c.newest = b
}

// join takes the early blocks that are next.
func (c *Conn) join() {
	n := 0
	for n < len(c.early) && !after(c.early[n].From, c.rcvNext) {
		to := c.early[n].To
		if c.finSeen && after(to, c.finAt) {
			to = c.finAt
		}
		if after(to, c.rcvNext) {
			c.received += int64(to - c.rcvNext)
			c.rcvNext = to
		}
		n++
	}
	c.early = slices.Delete(c.early, 0, n)
}

// report writes the acknowledgement into a segment.
func (c *Conn) report(s *Segment) {
	s.Flags |= pkt.ACK
	if c.echoing && s.Flags&pkt.SYN == 0 {
		s.Flags |= pkt.ECE
	}
	s.Ack, c.lastAck = c.rcvNext, c.rcvNext
	if c.quick > 0 && c.pending > 0 {
		c.quick--
	}
	c.ackNow, c.ackAt, c.pending = false, vt.Never, 0
	n := 0
	if c.twice != (Block{}) {
		s.SACK[0], n, c.twice = c.twice, 1, Block{}
	}
	if len(c.early) == 0 {
		return
	}
	if i := slices.Index(c.early, c.newest); i >= 0 {
		s.SACK[n] = c.newest
		n++
	}
	for i := len(c.early) - 1; i >= 0 && n < maxBlocks; i-- {
		if c.early[i] != c.newest {
			s.SACK[n] = c.early[i]
			n++
		}
	}
}
