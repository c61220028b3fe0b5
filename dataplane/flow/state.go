package flow

import (
	"time"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// State is where a flow is in its life; it chooses the timeout (SEMANTICS 1.9).
type State uint8

const (
	// Free is no flow.
	Free State = iota
	// HalfOpen: a TCP connect attempt. Its timer is not refreshed.
	HalfOpen
	// Established: the handshake was seen to the end.
	Established
	// Closing: one side sent FIN.
	Closing
	// Reset: a RST was seen. It may have been meant for another flow, so the
	// flow lives on a shorter timer (SEMANTICS 1.9, RFC 7857 section 2.1).
	Reset
	// resetForward and resetReverse: traffic of one side was seen after the
	// RST; traffic of the other takes the flow back to Established.
	resetForward
	resetReverse
	// Held: both sides have closed. The session is over; the port is held
	// (SEMANTICS 5.5).
	Held
	// UDP, DNS (UDP to port 53) and ICMP have one timer each, refreshed by the
	// client's packets (SEMANTICS 8).
	UDP
	DNS
	ICMP
	states
)

// Timeouts are the lifetimes by state.
type Timeouts [states]time.Duration

// NewTimeouts spreads the timers that people set over the states.
func NewTimeouts(connect, established, transitory, udp, dns, icmp, hold time.Duration) Timeouts {
	return Timeouts{
		HalfOpen: connect, Established: established, Closing: transitory,
		Reset: transitory, resetForward: transitory, resetReverse: transitory,
		Held: hold, UDP: udp, DNS: dns, ICMP: icmp,
	}
}

const dnsPort = 53

func initial(k *Key) State {
	switch {
	case k.Proto == pkt.ProtoTCP:
		return HalfOpen
	case k.Proto == pkt.ProtoUDP && k.DstPort == dnsPort:
		return DNS
	case k.Proto == pkt.ProtoUDP:
		return UDP
	}
	return ICMP
}

type flags uint8

const (
	clientFIN    flags = 1 << iota // the client's FIN was seen
	originFIN                      // the origin's FIN was seen
	clientDone                     // and acknowledged
	originDone                     //
	originKnown                    // the SYN-ACK was seen: the origin's stream is known
	originFirst                    // the origin closed first
	originReset                    // the last RST came from the origin
	everAnswered                   // a reply was returned
)

// stream follows what one end sends: acked is the next sequence number that
// the other has not acknowledged, end the next it has not seen.
type stream struct{ acked, end uint32 }

// maxWindow is the most that TCP can have in flight (RFC 7323 section 2.3):
// sequence numbers beyond it are junk.
const maxWindow = 1 << 30

// after reports whether sequence number a is later than b (RFC 9293 section 3.4).
func after(a, b uint32) bool { return int32(a-b) > 0 }

// extend notes that the end sent up to seq, unless that is junk.
func (s *stream) extend(seq uint32) {
	if after(seq, s.end) && seq-s.acked <= maxWindow {
		s.end = seq
	}
}

// State is the flow's state.
func (f *Flow) State() State {
	switch f.state {
	case resetForward, resetReverse:
		return Reset
	}
	return f.state
}

// Over reports whether the flow's session has ended and only its port is held.
func (f *Flow) Over() bool { return f.state == Held }

// Reusable reports whether a new SYN starts a new session rather than belonging
// to the one that was: it is over, reset, or both ends have sent FIN.
func (f *Flow) Reusable() bool {
	return f.state == Held || f.State() == Reset || f.flags&(clientFIN|originFIN) == clientFIN|originFIN
}

// Answered reports whether a reply was returned in this session.
func (f *Flow) Answered() bool { return f.flags&everAnswered != 0 }

// Closed reports which end sent FIN first, if any did.
func (f *Flow) Closed() (byOrigin, ok bool) {
	return f.flags&originFirst != 0, f.flags&(clientFIN|originFIN) != 0
}

// WasReset reports which end sent the last RST, if the flow is in that state.
func (f *Flow) WasReset() (byOrigin, ok bool) { return f.flags&originReset != 0, f.State() == Reset }

// Connected reports whether the origin accepted the connection.
func (f *Flow) Connected() bool { return f.flags&originKnown != 0 }

// Idle is when the flow was last touched.
func (t *Table) Idle(f *Flow) vt.Instant { return f.Deadline - vt.Instant(t.timeouts[f.state]) }

// enter changes the state and sets the timer. Only a timer that became shorter
// moves on the wheel; a longer one is found out when it fires.
func (t *Table) enter(now vt.Instant, i Index, f *Flow, s State) {
	f.state = s
	old := f.Deadline
	f.Deadline = now.Add(t.timeouts[s])
	if f.Deadline < old {
		t.wheel.arm(i, f.Deadline)
	}
}

// touch restarts the timer of a flow that lives by traffic; a connect attempt
// does not. Time never moves backwards in a deadline, so the wheel need not know.
func (t *Table) touch(now vt.Instant, f *Flow) {
	if f.state != HalfOpen {
		f.Deadline = max(f.Deadline, now.Add(t.timeouts[f.state]))
	}
}

// Outbound notes the client's packet m, which is sent on. It reports whether
// the session ended with it.
func (t *Table) Outbound(now vt.Instant, i Index, f *Flow, m *pkt.Meta) (ended bool) {
	if m.Kind != pkt.TCP {
		f.Sent += uint64(m.PayloadLen)
		t.touch(now, f)
		return false
	}
	switch {
	case m.Flags&pkt.RST != 0:
		t.reset(now, i, f, 0)
		return false
	case m.Flags&pkt.SYN != 0:
		if f.state == HalfOpen && f.flags&originKnown == 0 {
			f.client = stream{m.Seq + 1, m.Seq + m.SeqLen()}
		}
		return false
	}
	t.segment(f, m, &f.client, clientFIN)
	if m.Flags&pkt.ACK != 0 && f.flags&originKnown != 0 {
		f.Received += f.acknowledge(&f.origin, m.Ack, originFIN, originDone)
		if f.state == HalfOpen && !after(f.origin.acked, m.Ack) {
			t.enter(now, i, f, Established)
		}
	}
	return t.advance(now, i, f, resetForward, resetReverse)
}

// Inbound notes the origin's packet m, which is returned to the client.
func (t *Table) Inbound(now vt.Instant, i Index, f *Flow, m *pkt.Meta) (ended bool) {
	f.flags |= everAnswered
	if m.Kind != pkt.TCP {
		f.Received += uint64(m.PayloadLen) // no touch: the outside must not keep a mapping alive
		return false
	}
	switch {
	case m.Flags&pkt.RST != 0:
		t.reset(now, i, f, originReset)
		return false
	case m.Flags&pkt.SYN != 0:
		if f.state == HalfOpen && m.Flags&pkt.ACK != 0 && !after(f.client.acked, m.Ack) && !after(m.Ack, f.client.end) {
			f.origin = stream{m.Seq + 1, m.Seq + m.SeqLen()}
			f.flags |= originKnown
			f.Sent += f.acknowledge(&f.client, m.Ack, clientFIN, clientDone)
		}
		return false
	}
	if f.flags&originKnown != 0 {
		t.segment(f, m, &f.origin, originFIN)
	}
	if m.Flags&pkt.ACK != 0 {
		f.Sent += f.acknowledge(&f.client, m.Ack, clientFIN, clientDone)
	}
	return t.advance(now, i, f, resetReverse, resetForward)
}

// segment follows the payload and FIN of a segment from the end that s is. One
// without either says nothing: where it stands behind what was seen, that was lost
// on the way here and comes again, and may have been a FIN.
func (t *Table) segment(f *Flow, m *pkt.Meta, s *stream, fin flags) {
	if f.flags&fin != 0 {
		return // nothing comes after a FIN
	}
	end := m.Seq + uint32(m.PayloadLen)
	if m.PayloadLen > 0 || m.Flags&pkt.FIN != 0 {
		s.extend(end)
	}
	if m.Flags&pkt.FIN == 0 || end != s.end {
		return
	}
	if f.flags&(clientFIN|originFIN) == 0 && fin == originFIN {
		f.flags |= originFirst
	}
	f.flags |= fin
	s.end++
}

// acknowledge moves what the receiver of s has confirmed to ack and returns the
// payload in between: a retransmission counts once, SYN and FIN not at all.
func (f *Flow) acknowledge(s *stream, ack uint32, fin, done flags) uint64 {
	if !after(ack, s.acked) || after(ack, s.end) {
		return 0
	}
	n := uint64(ack - s.acked)
	s.acked = ack
	if f.flags&fin != 0 && ack == s.end {
		f.flags |= done
		n--
	}
	return n
}

// reset notes a RST: it shortens the timer, and never ends the flow at once.
func (t *Table) reset(now vt.Instant, i Index, f *Flow, by flags) {
	if f.state == Held {
		return
	}
	f.flags = f.flags&^originReset | by
	t.enter(now, i, f, Reset)
}

// advance moves the state after a segment without SYN or RST. seen is the state
// after a RST once this side has spoken again, other once the other side has.
func (t *Table) advance(now vt.Instant, i Index, f *Flow, seen, other State) (ended bool) {
	const bothDone = clientDone | originDone
	switch {
	case f.state == Held:
		return false
	case f.flags&bothDone == bothDone:
		t.enter(now, i, f, Held)
		return true
	case f.state == Reset:
		f.state = seen
	case f.state == other && f.flags&originKnown != 0:
		t.enter(now, i, f, Established)
	}
	if f.state == Established && f.flags&(clientFIN|originFIN) != 0 {
		t.enter(now, i, f, Closing)
	}
	t.touch(now, f)
	return false
}
