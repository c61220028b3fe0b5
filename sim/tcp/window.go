package tcp

import "github.com/homeward-lab/homeward/dataplane/vt"

// buffer is a receive buffer that grows as Linux has it: the window that a receiver
// offers opens by two segments with each that comes, up to what its buffer holds of
// payload, and the buffer follows twice what the program takes in a round trip
// (net/ipv4/tcp_input.c of Linux 6.18: tcp_init_buffer_space, tcp_grow_window,
// tcp_rcv_space_adjust, tcp_rcvbuf_grow; "dynamic right-sizing").
//
// It is what bounds a sender that has a long way before it has room, and it has a
// receiver acknowledge each segment while the window opens.
type buffer struct {
	// size is of the memory, share which part of it is payload, of shareOf; limit is
	// what the window may open to, threshold what it has opened to.
	size, share, limit, threshold int32
	// space is what the program took in the last round trip of which it took more
	// than before; it has begun at since, with from.
	space int32
	from  uint32
	since vt.Instant
	// rtt is the round trip as the receiver sees it, in eighths of a microsecond;
	// echo the time that it last came from.
	rtt, echo uint32
	// edge is the last sequence number that was offered: none is taken back.
	edge uint32
}

const (
	// bufferSize and bufferMost are net.ipv4.tcp_rmem's default and maximum.
	bufferSize, bufferMost = 128 << 10, 6 << 20
	// A segment with its packet takes segmentMemory bytes, as measured of packets
	// of 1500 bytes; until there was one, half of a buffer is for payload.
	segmentMemory = 2330
	shareOf       = 256
	// firstWindow is the most that a SYN offers, in whole segments.
	firstWindow = 0xffff
)

func (b *buffer) payload(memory int32) int32 { return int32(int64(memory) * int64(b.share) / shareOf) }

// openBuffer begins a connection's buffer (tcp_init_buffer_space).
func (c *Conn) openBuffer() {
	b := &c.buffer
	b.share = shareOf / 2
	if b.size = bufferSize; c.config.Window != 0 {
		b.size, b.share = int32(c.config.Window), shareOf
		b.limit, b.threshold = b.size, b.size
		return
	}
	b.limit = b.payload(b.size)
	b.threshold = min(b.limit, int32(firstWindow-firstWindow%c.config.MSS))
	b.space = min(b.threshold, int32(c.config.InitialWindow*c.mss))
}

// fixed says that a program has set the buffer's size.
func (c *Conn) fixed() bool { return c.config.Window != 0 }

// begin says that the peer's first byte is next.
func (b *buffer) begin(now vt.Instant, next uint32) {
	b.from, b.since, b.edge = next, now, next
}

// opens opens the window for a segment that came, and the buffer for what the program
// has taken by now, which is all that is in order.
func (c *Conn) opens(s *Segment) {
	if c.fixed() {
		return
	}
	b := &c.buffer
	if s.Len == c.mss && b.share == shareOf/2 {
		b.share = int32(shareOf * s.Len / segmentMemory)
		b.limit = b.payload(b.size)
	}
	if room := b.limit - b.threshold; room > 0 && s.Len >= leastData {
		b.threshold += min(room, int32(2*(c.config.MSS-timestamps)))
		c.quick |= 1
	}
	if len(c.early) > 0 {
		b.grow(b.space, c.held())
	}
	if s.HasTime && s.Len >= c.mss && s.Echo != b.echo {
		b.echo = s.Echo
		b.measure(c.now32() - s.Echo)
	}
	if took := int64(c.now.Sub(b.since)) / 1000; b.rtt == 0 || took < int64(b.rtt>>3) {
		return
	}
	if copied := int32(c.rcvNext - b.from); copied > b.space {
		b.grow(copied, c.held())
	}
	b.from, b.since = c.rcvNext, c.now
}

// leastData is what a segment has that is worth a greater window, bytes.
const leastData = 128

// measure takes a round trip in microseconds: a shorter one at once.
func (b *buffer) measure(took uint32) {
	if b.rtt == 0 || took<<3 < b.rtt {
		b.rtt = took << 3
		return
	}
	b.rtt += took - b.rtt>>3
}

// grow has the buffer hold twice what the program takes, and what it takes more than
// before twice again, as a sender in slow start doubles, and early bytes beyond a hole.
func (b *buffer) grow(copied, early int32) {
	window := 2 * int64(copied)
	window += 2 * window * int64(copied-b.space) / int64(b.space)
	b.space = copied
	size := min((window+int64(early))*shareOf/int64(b.share), bufferMost)
	if size > int64(b.size) {
		b.size = int32(size)
		b.limit = b.payload(b.size)
	}
}

// held is how far beyond a hole the latest byte is that waits for it.
func (c *Conn) held() int32 {
	if n := len(c.early); n > 0 {
		return int32(c.early[n-1].To - c.rcvNext)
	}
	return 0
}

// offer is the window to say, bytes: what is free, and never less than what was
// offered before (RFC 9293 section 3.8.6.2.1).
func (c *Conn) offer() int {
	b := &c.buffer
	free := b.limit
	for i := range c.early {
		free -= int32(c.early[i].len())
	}
	window := max(min(free, b.threshold), int32(b.edge-c.rcvNext), 0)
	window = (window + 1<<scale - 1) &^ (1<<scale - 1)
	b.edge = c.rcvNext + uint32(window)
	return int(window)
}
