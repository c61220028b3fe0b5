package tcp

// buffer is a receive buffer as a Linux has it whose net.ipv4.tcp_rmem says one size,
// as a program may as well: the window that a receiver offers begins at what the buffer
// is sure to hold, half of it, and opens by two segments with each that comes, up to
// what it turns out to hold of payload (net/ipv4 of Linux 6.18:
// tcp_select_initial_window, tcp_init_buffer_space, tcp_grow_window). While it opens
// each segment is acknowledged.
//
// A buffer that grows ("dynamic right-sizing", what tcp_rmem says by default) hangs on
// how soon after a segment a program reads it, which no plan says: labs have none.
type buffer struct {
	// size is of the memory, share which part of it is payload, of shareOf; limit is
	// what the window may open to, threshold what it has opened to.
	size, share, limit, threshold int32
	// edge is the last sequence number that was offered: none is taken back.
	edge uint32
}

const (
	// A segment with its packet takes segmentMemory bytes: what the kernel has for
	// packets of 1500 bytes that a program sent (2048 and the sk_buff). Until there
	// was one, half of a buffer is for payload.
	//
	// It is another where a kernel made a packet longer on its way and found no room
	// before it: it moves to 4096 bytes, and with 4352 the window does not open at
	// all. That is so in a lab whose servers are eBPF, for a tunnel without a key whose
	// packet is handed over, which needs a key. Virtual time has the Go hub's.
	segmentMemory = 2304
	shareOf       = 256
	// leastData is what a segment has that is worth a greater window, bytes.
	leastData = 128
)

func (b *buffer) payload(memory int32) int32 { return int32(int64(memory) * int64(b.share) / shareOf) }

// openBuffer begins a connection's buffer (tcp_init_buffer_space).
func (c *Conn) openBuffer() {
	b := &c.buffer
	if c.fixed() {
		b.size, b.share = int32(c.config.Window), shareOf
		b.limit, b.threshold = b.size, b.size
		return
	}
	b.size, b.share = int32(c.config.Buffer), shareOf/2
	b.limit = b.payload(b.size)
	b.threshold = b.limit - b.limit%int32(c.config.MSS)
}

// fixed says that all of the window is offered at once.
func (c *Conn) fixed() bool { return c.config.Window != 0 }

// opens opens the window for a segment that came.
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
