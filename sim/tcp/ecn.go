package tcp

import "github.com/homeward-lab/homeward/dataplane/pkt"

// Explicit congestion notification (RFC 3168 section 6.1), as Linux has it: asked
// for by a SYN, ECT(0) on new data alone, one reduction of the window for all marks
// of a window, by what the congestion control does for a loss (RFC 8511's smaller
// one is not Linux's), and the pace of a recovery on the way there.

// ECN is what a host does about it, as net.ipv4.tcp_ecn says.
type ECN uint8

const (
	// AcceptECN has a connection use it if the peer asks. The zero value.
	AcceptECN ECN = iota
	// RequestECN asks for it, and accepts.
	RequestECN
	// RefuseECN does neither.
	RefuseECN
)

// echo is the part of a connection that is about marks.
type echo struct {
	// ecn: both ends agreed on it.
	ecn bool
	// echoing marks to the sender until it says that it reacted; seen: it sends
	// packets that can be marked.
	echoing, seen bool
	// reduced: the window was made smaller, and the receiver is to be told.
	reduced bool
}

// ask writes the question or its answer into a SYN. One that is sent again asks no
// more: it may have been dropped for asking (section 6.1.1.1).
func (c *Conn) ask(s *Segment) {
	if c.state == SynReceived {
		if c.ecn {
			s.Flags |= pkt.ECE
		}
		return
	}
	c.ecn = c.config.ECN == RequestECN && c.retransmitted == 0
	if c.ecn {
		s.Flags |= pkt.ECE | pkt.CWR
	}
}

// capable marks new data as of ends that understand marks, and tells of a
// reduction.
func (c *Conn) capable(s *Segment) {
	if !c.ecn || s.Len == 0 {
		return
	}
	s.ECN = pkt.ECT0
	if c.reduced {
		s.Flags |= pkt.CWR
		c.reduced = false
	}
}

// quickMarked acknowledgements are sent at once after a mark: the sender's window
// may be very small.
const quickMarked = 2

// heed takes what a segment with something in it says of congestion. Data that is
// not ECN-capable on a connection that was is most likely sent again: a loss.
func (c *Conn) heed(s *Segment) {
	if !c.ecn {
		return
	}
	if s.Flags&pkt.CWR != 0 {
		c.echoing, c.ackNow = false, true
	}
	switch {
	case s.Len == 0:
	case s.ECN == pkt.NotECT:
		if c.seen {
			c.quick = max(c.quick, quickMarked)
		}
	case s.ECN == pkt.CE && !c.echoing:
		c.quick = max(c.quick, quickMarked)
		c.echoing, c.seen = true, true
	default:
		c.seen = true
	}
}

// marked says whether an acknowledgement tells of a mark.
func (c *Conn) marked(s *Segment) bool { return c.ecn && s.Flags&(pkt.ECE|pkt.SYN) == pkt.ECE }
