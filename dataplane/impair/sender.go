package impair

import (
	"math"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// sender is a transmitter with its queue. It holds no packet: that the queue is
// first in, first out makes when a packet leaves known as it arrives.
type sender struct {
	// idle is when everything accepted so far has left.
	idle vt.Instant

	// Of a rate: how long a packet of this size takes, and how long the longest
	// queue is that takes another. Packets of one size come one after the other.
	size     unit.Bytes
	tx, wait time.Duration

	// Of a trace: the next opportunity and what is left of it. start is when
	// its first millisecond begins.
	start vt.Instant
	next  int64
	left  unit.Bytes
}

// send takes a packet at now and says when its last bit leaves, or that the
// queue was full.
func (s *sender) send(c *Config, now vt.Instant, size unit.Bytes) (leaves vt.Instant, ok bool) {
	if c.Trace != nil {
		return s.trace(c, now, size)
	}
	if size != s.size {
		s.fit(c, size)
	}
	return s.rate(now)
}

// rate is send without a trace, of a packet of the size that the sender is fit
// for.
func (s *sender) rate(now vt.Instant) (leaves vt.Instant, ok bool) {
	begins := max(s.idle, now)
	if begins.Sub(now) > s.wait {
		return 0, false
	}
	s.idle = begins.Add(s.tx)
	return s.idle, true
}

// begins is when the transmission of a packet would begin that arrives now.
func (s *sender) begins(c *Config, now vt.Instant) vt.Instant {
	if c.Trace == nil {
		return max(s.idle, now)
	}
	first := c.Trace.first(vt.Instant(now.Sub(s.start)))
	return max(now, s.start.Add(time.Duration(c.Trace.at(max(s.next, first)))))
}

// unfit forgets what fit computed: the rate or the queue is another.
func (s *sender) unfit() { s.size = -1 }

// fit computes what a rate, or none, does to packets of a size. That the bytes waiting,
// rounded up, and the packet are within the queue is that what waits is sent in
// the time of the rest of the queue, rounded down.
func (s *sender) fit(c *Config, size unit.Bytes) {
	limit := c.Queue
	if limit == 0 {
		limit = DefaultQueue(c.Rate)
	}
	s.size, s.tx, s.wait = size, c.Rate.TxTime(size), c.Rate.TxTime(limit-size)
	if c.Rate == 0 {
		s.wait = math.MaxInt64
	}
}

// trace is send on capacity that follows a trace.
func (s *sender) trace(c *Config, now vt.Instant, size unit.Bytes) (vt.Instant, bool) {
	t := c.Trace
	first := t.first(vt.Instant(now.Sub(s.start)))
	if s.next < first { // what nothing waited for
		s.next, s.left = first, TraceBytes
	}
	if s.left == 0 {
		s.left = TraceBytes
	}
	if waiting := unit.Bytes(s.next-first)*TraceBytes + TraceBytes - s.left; waiting > 0 {
		limit := c.Queue
		if limit == 0 {
			limit = DefaultQueue(t.Rate())
		}
		if waiting+size > limit {
			return 0, false
		}
	}
	at := s.next
	for rest := size; rest > 0; {
		used := min(rest, s.left)
		rest, s.left, at = rest-used, s.left-used, s.next
		if s.left == 0 {
			s.next, s.left = s.next+1, TraceBytes
		}
	}
	s.idle = max(now, s.start.Add(time.Duration(t.at(at))))
	return s.idle, true
}
