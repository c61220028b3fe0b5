// Package tcp is one end of a TCP connection, sans-IO: segments and time go in,
// segments come out. Payload is a number of bytes; headers are what a caller
// makes of a Segment.
//
// It has what decides how long a transfer takes: the handshake, window scale,
// timestamps, SACK with the loss recovery of RFC 6675 and the pace of RFC 6937,
// NewReno (RFC 6582) and CUBIC (RFC 9438, with HyStart as Linux has it), RTO by
// RFC 6298, delayed acknowledgements, and the way to the end through TIME_WAIT
// (RFC 9293), explicit congestion notification (RFC 3168), and a receive window that
// opens as Linux's does. It has no urgent data and no zero window: who receives reads
// at once.
package tcp

import (
	"time"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Segment is a TCP segment without its ports.
type Segment struct {
	Seq, Ack uint32
	Flags    uint8 // pkt.SYN, …
	Window   uint16
	Len      int // of payload, bytes
	// ECN is what the packet's IP header says of congestion.
	ECN pkt.ECN
	// MSS and Scale are options of a SYN; 0 and -1 are none.
	MSS   uint16
	Scale int8
	// SACKPermitted is an option of a SYN.
	SACKPermitted bool
	// HasTime says that Time and Echo are there (RFC 7323). They count
	// microseconds.
	HasTime    bool
	Time, Echo uint32
	// SACK are the blocks that are not zero, the latest first (RFC 2018).
	SACK [maxBlocks]Block
}

// maxBlocks fit beside timestamps.
const maxBlocks = 3

// Block is a range of sequence numbers, To not in it.
type Block struct{ From, To uint32 }

func (b Block) len() int { return int(b.To - b.From) }

// OptionLen is the length of the segment's options in its header, a multiple of 4.
func (s *Segment) OptionLen() int {
	n := 0
	if s.Flags&pkt.SYN != 0 {
		if s.MSS != 0 {
			n += 4
		}
		if s.Scale >= 0 {
			n += 3
		}
		if s.SACKPermitted {
			n += 2
		}
	}
	if s.HasTime {
		n += 10
	}
	if blocks := s.blocks(); blocks > 0 {
		n += 2 + 8*blocks
	}
	return (n + 3) &^ 3
}

func (s *Segment) blocks() int {
	n := 0
	for n < maxBlocks && s.SACK[n] != (Block{}) {
		n++
	}
	return n
}

// reportsTwice says that the first block arrived again: it is acknowledged, or a
// part of the second (RFC 2883 section 4).
func (s *Segment) reportsTwice() bool {
	first, second := s.SACK[0], s.SACK[1]
	return !after(first.To, s.Ack) || second != (Block{}) && !after(second.From, first.From) && !after(first.To, second.To)
}

// length is how much of the sequence space the segment takes.
func (s *Segment) length() uint32 {
	n := uint32(s.Len)
	if s.Flags&pkt.SYN != 0 {
		n++
	}
	if s.Flags&pkt.FIN != 0 {
		n++
	}
	return n
}

// State of a connection, RFC 9293 section 3.3.2.
type State uint8

const (
	Closed State = iota
	SynSent
	SynReceived
	Established
	FinWait1
	FinWait2
	CloseWait
	Closing
	LastAck
	TimeWait
)

// Config of one end. Zero fields mean the default.
type Config struct {
	// MSS is the largest payload that the path takes, TCP's options included; 1460.
	MSS int
	// Buffer is the memory for what was received, bytes; 6 MiB, to which Linux lets
	// it grow by default.
	Buffer int
	// Window is all of the payload that Buffer has room for, offered from the first
	// segment on; 0 opens it as Linux does.
	Window int
	// Congestion is the algorithm; Cubic.
	Congestion Algorithm
	// InitialWindow in segments; 10 (RFC 6928).
	InitialWindow int
	// MinRTO is the least retransmission timeout; 200 ms, as Linux has it, where
	// RFC 6298 says 1 s.
	MinRTO time.Duration
	// DelayedAck is how long an acknowledgement may wait; 40 ms.
	DelayedAck time.Duration
	// Wait is TIME_WAIT; 60 s.
	Wait time.Duration
	// ISS is the initial sequence number.
	ISS uint32
	// ECN is what becomes of explicit congestion notification; AcceptECN.
	ECN ECN
}

const (
	initialRTO = time.Second
	maxRTO     = 120 * time.Second
	scale      = 7
	// tcpHeader is without options, timestamps what they take.
	timestamps = 12
	// quickAcks are sent at once at the beginning of a connection, as Linux does:
	// the sender's window opens by acknowledgements.
	quickAcks = 16
	dupThresh = 3
)

func (c Config) withDefaults() Config {
	or := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	long := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	or(&c.MSS, 1460)
	or(&c.InitialWindow, 10)
	or(&c.Buffer, 6<<20)
	long(&c.MinRTO, 200*time.Millisecond)
	long(&c.DelayedAck, 40*time.Millisecond)
	long(&c.Wait, time.Minute)
	return c
}

// Conn is one end of a connection. Open or Accept makes one.
type Conn struct {
	config Config
	state  State
	reset  bool
	// aborted: a reset is still to be sent.
	aborted bool
	mss     int // payload of a full segment

	sender
	receiver
	echo
	buffer buffer
	cc     congestion

	// retransmit, ackAt and waitUntil are the timers; vt.Never is off.
	retransmit, ackAt, waitUntil vt.Instant
	now                          vt.Instant
}

// after reports whether sequence number a is later than b (RFC 9293 section 3.4).
func after(a, b uint32) bool { return int32(a-b) > 0 }

// later is the later of two sequence numbers.
func later(a, b uint32) uint32 {
	if after(a, b) {
		return a
	}
	return b
}

func newConn(now vt.Instant, c Config) *Conn {
	c = c.withDefaults()
	x := &Conn{config: c, mss: c.MSS - timestamps, retransmit: vt.Never, ackAt: vt.Never, waitUntil: vt.Never, now: now}
	x.una, x.next, x.reorderAt = c.ISS, c.ISS, vt.Never
	x.rto, x.quick = initialRTO, quickAcks
	x.openBuffer()
	return x
}

// Open begins a connection: the first segment is a SYN.
func Open(now vt.Instant, c Config) *Conn {
	x := newConn(now, c)
	x.state = SynSent
	return x
}

// Accept begins a connection with the SYN that asked for it.
func Accept(now vt.Instant, c Config, syn *Segment) *Conn {
	x := newConn(now, c)
	x.state = SynReceived
	x.ecn = x.config.ECN != RefuseECN && syn.Flags&(pkt.ECE|pkt.CWR) == pkt.ECE|pkt.CWR
	x.learn(syn)
	return x
}

// learn takes what a peer's SYN says.
func (c *Conn) learn(syn *Segment) {
	c.rcvNext = syn.Seq + 1
	c.buffer.edge = c.rcvNext
	if syn.MSS != 0 {
		c.mss = min(c.mss, int(syn.MSS)-timestamps)
	}
	c.peerScale = max(syn.Scale, 0)
	c.window = uint32(syn.Window) // of a SYN never scaled
	c.recent = syn.Time
	c.ackNow = true
	c.cc.start(c.config.Congestion, c.mss, c.config.InitialWindow, c.config.ISS)
}

// Shrink makes segments smaller, because the path takes no more than mss: what is
// under way is sent again in smaller ones (RFC 1191 section 6.4).
func (c *Conn) Shrink(now vt.Instant, mss int) {
	if mss -= timestamps; mss >= c.mss || mss < 64 || c.state == Closed {
		return
	}
	c.now = now
	c.Limit(mss + timestamps)
	b := &c.board
	for i := b.first; i < len(b.segs); i++ {
		if b.segs[i].len() > mss {
			b.lose(&b.segs[i])
		}
	}
	if b.gone > 0 && !c.recovering { // of nobody's having too much to carry
		c.recovering, c.loss, c.slowing, c.end = true, true, false, c.next
	}
}

// Limit makes segments smaller from now on, because another connection to the same
// address was told that the path takes no more than mss (RFC 1191 section 6.2). What
// is under way may yet arrive.
func (c *Conn) Limit(mss int) {
	if mss -= timestamps; mss < c.mss && mss >= 64 {
		c.cc.resize(mss)
		c.mss = mss
	}
}

// State is the connection's.
func (c *Conn) State() State { return c.state }

// WasReset reports whether the peer reset the connection.
func (c *Conn) WasReset() bool { return c.reset }

// Write adds n bytes to what is to be sent.
func (c *Conn) Write(n int64) { c.queued += n }

// Finish closes this end when everything written is sent.
func (c *Conn) Finish() { c.finish = true }

// Abort ends the connection at once, without a goodbye: the next segment is a
// reset, if the peer can know of the connection (RFC 9293 section 3.10.5).
func (c *Conn) Abort() {
	c.aborted = c.state != Closed && c.state != SynSent && c.state != TimeWait
	c.state = Closed
	c.stopTimers()
}

// Received is how many bytes came, in order.
func (c *Conn) Received() int64 { return c.received }

// Acked is how many bytes the peer has acknowledged.
func (c *Conn) Acked() int64 { return c.ackedBytes }

// PeerFinished reports whether the peer has closed its end.
func (c *Conn) PeerFinished() bool { return c.peerFin }

// RTT is the smoothed round-trip time; 0 before it was measured.
func (c *Conn) RTT() time.Duration { return c.srtt }

// NextWake is when Timer has something to do.
func (c *Conn) NextWake() vt.Instant { return min(c.retransmit, c.reorderAt, c.ackAt, c.waitUntil) }

// Timer does what is due.
func (c *Conn) Timer(now vt.Instant) {
	c.now = now
	if c.ackAt <= now {
		c.ackAt, c.ackNow = vt.Never, true
	}
	if c.waitUntil <= now {
		c.waitUntil, c.state = vt.Never, Closed
	}
	if c.reorderAt <= now {
		c.overtaken()
	}
	switch {
	case c.retransmit > now:
	case c.probing:
		c.probing, c.retransmit = false, c.first()
		c.probeDue = !c.recovering
	default:
		c.expire()
	}
}

func (c *Conn) stopTimers() {
	c.retransmit, c.reorderAt, c.ackAt, c.waitUntil = vt.Never, vt.Never, vt.Never, vt.Never
}

// Receive takes a segment.
func (c *Conn) Receive(now vt.Instant, s *Segment) {
	c.now = now
	switch {
	case c.state == Closed:
		return
	case s.Flags&pkt.RST != 0:
		c.takeReset(s)
		return
	case c.state == SynSent:
		c.handshake(s)
		return
	case s.Flags&pkt.SYN != 0:
		c.ackNow = true // an old SYN, or its answer got lost
		if c.state == SynReceived {
			c.resend()
		}
		return
	case c.state == TimeWait:
		c.ackNow = true
		if s.Flags&pkt.FIN != 0 {
			c.waitUntil = now.Add(c.config.Wait)
		}
		return
	}
	if s.Flags&pkt.ACK != 0 {
		c.acknowledge(s)
	}
	c.take(s)
	c.advance()
}

// takeReset ends the connection if the reset is one that the peer can have sent
// (RFC 9293 section 3.10.7.3 and 3.10.7.4).
func (c *Conn) takeReset(s *Segment) {
	if c.state == SynSent {
		if s.Flags&pkt.ACK == 0 || s.Ack != c.next {
			return
		}
	} else if after(c.rcvNext, s.Seq) || after(s.Seq, c.buffer.edge) {
		return
	}
	c.state, c.reset = Closed, true
	c.stopTimers()
}

// handshake takes the answer to a SYN.
func (c *Conn) handshake(s *Segment) {
	if s.Flags&(pkt.SYN|pkt.ACK) != pkt.SYN|pkt.ACK || s.Ack != c.next {
		return
	}
	c.ecn = c.ecn && s.Flags&(pkt.ECE|pkt.CWR) == pkt.ECE
	c.learn(s)
	c.una = s.Ack
	c.synAnswered(s)
	c.state, c.retransmit = Established, vt.Never
}

// advance moves the state after a segment (RFC 9293 section 3.10.7.4).
func (c *Conn) advance() {
	finAcked := c.finSent && c.una == c.next
	switch c.state {
	case SynReceived:
		if after(c.una, c.config.ISS) {
			c.state, c.retransmit = Established, vt.Never
			c.advance()
		}
	case Established:
		if c.peerFin {
			c.state = CloseWait
		}
	case FinWait1:
		switch {
		case finAcked && c.peerFin:
			c.linger()
		case finAcked:
			c.state = FinWait2
		case c.peerFin:
			c.state = Closing
		}
	case FinWait2:
		if c.peerFin {
			c.linger()
		}
	case Closing:
		if finAcked {
			c.linger()
		}
	case LastAck:
		if finAcked {
			c.state = Closed
			c.retransmit, c.ackAt = vt.Never, vt.Never
		}
	}
}

func (c *Conn) linger() {
	c.stopTimers()
	c.state = TimeWait
	c.waitUntil = c.now.Add(c.config.Wait)
}
