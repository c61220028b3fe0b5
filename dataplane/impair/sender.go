package impair

import (
	"math/bits"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// sender is a transmitter with its queue. It holds no packet: that the queue is
// first in, first out makes when a packet leaves known as it arrives.
type sender struct {
	// idle is when everything accepted so far has left.
	idle vt.Instant

	// Of a trace: the next opportunity and what is left of it. start is when
	// its first millisecond begins.
	start vt.Instant
	next  int64
	left  unit.Bytes
}

// send takes a packet at now and says when its last bit leaves, or that the
// queue was full.
func (s *sender) send(c *Config, now vt.Instant, size unit.Bytes) (leaves vt.Instant, ok bool) {
	switch {
	case c.Trace != nil:
		return s.trace(c, now, size)
	case c.Rate <= 0:
		s.idle = max(s.idle, now)
		return s.idle, true
	}
	if s.idle > now {
		limit := c.Queue
		if limit == 0 {
			limit = DefaultQueue(c.Rate)
		}
		if backlog(c.Rate, s.idle.Sub(now))+size > limit {
			return 0, false
		}
	}
	s.idle = max(s.idle, now).Add(c.Rate.TxTime(size))
	return s.idle, true
}

// backlog is how many bytes a rate sends in d, rounded up.
func backlog(r unit.BitRate, d time.Duration) unit.Bytes {
	const perByte = 8 * uint64(time.Second)
	hi, lo := bits.Mul64(uint64(r), uint64(d))
	lo, carry := bits.Add64(lo, perByte-1, 0)
	hi += carry
	if hi >= perByte { // beyond any queue
		return 1 << 62
	}
	q, _ := bits.Div64(hi, lo, perByte)
	return unit.Bytes(min(q, 1<<62))
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
