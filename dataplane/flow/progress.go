package flow

import (
	"time"

	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Progress is what packets do to a flow whose state does not change: for who
// carries them without the table, and tells it later (Absorb).
type Progress struct {
	// Deadline is when the flow ends unless something touches it.
	Deadline vt.Instant
	// Sent and Received are payload bytes delivered, as in Flow.
	Sent, Received uint64
	// ClientAcked and ClientEnd follow what the client sends over TCP: the next
	// sequence number that was not acknowledged, and the next not seen.
	// OriginAcked and OriginEnd are the origin's.
	ClientAcked, ClientEnd, OriginAcked, OriginEnd uint32
}

// Progress is the flow's own.
func (f *Flow) Progress() Progress {
	return Progress{
		Deadline: f.Deadline, Sent: f.Sent, Received: f.Received,
		ClientAcked: f.client.acked, ClientEnd: f.client.end,
		OriginAcked: f.origin.acked, OriginEnd: f.origin.end,
	}
}

// Steady reports whether all that a flow's next packets can do to it is Progress,
// as long as they are no SYN, FIN or RST: it was answered, and its state stays.
// DNS is left out, whose flows are over before it would be worth it.
func (f *Flow) Steady() bool {
	switch f.state {
	case Established, UDP, ICMP:
		return f.Answered()
	}
	return false
}

// Timeout is how long a flow lives without traffic in its present state.
func (t *Table) Timeout(f *Flow) time.Duration { return t.timeouts[f.state] }

// Absorb brings a steady flow to where the packets that went by elsewhere left
// it. A deadline only moves away; of a flow that is not steady any more only the
// counts are taken.
func (t *Table) Absorb(f *Flow, p Progress) {
	f.Sent, f.Received = p.Sent, p.Received
	f.client, f.origin = stream{p.ClientAcked, p.ClientEnd}, stream{p.OriginAcked, p.OriginEnd}
	if f.Steady() {
		f.Deadline = max(f.Deadline, p.Deadline)
	}
}
