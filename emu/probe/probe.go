// Package probe sees what hosts cannot: packets that reached somebody else.
//
// A tap on each client host recognises whose reply is on its wire, by the
// acknowledged sequence number of a SYN-ACK or by the nonce in a payload; Judge
// puts the taps of all hosts together. An egress tap checks on the wire that
// every packet leaves with a port of its sender's slice (SEMANTICS SU-3).
//
// It is passive: it sends, changes and holds back nothing, and it does not
// record packets (emu/capture does).
//
// Its law: what was not seen is never taken for absent. A tap that lost a
// packet says so, and then the truth about an unanswered flow is unknown.
package probe

import (
	"net/netip"
	"time"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// Observation is one distinct sighting on a host's wire; repetitions (a
// retransmitted SYN, the packets of a UDP flow) are counted, not kept.
type Observation struct {
	Proto plan.Proto
	// Out says that the packet left the host.
	Out bool
	// Answer is a SYN-ACK, an origin's datagram or an echo reply; otherwise it
	// is a SYN, a request or an echo request.
	Answer bool
	// Src and Dst of the packet. For icmp the asker's port is the echo id, the
	// other's is 0.
	Src, Dst netip.AddrPort
	// Mark is the nonce of the payload; for TCP the asker's initial sequence
	// number (of a SYN-ACK: what it acknowledges, less one).
	Mark uint64
	// Count of packets, and when the first was seen, by the kernel's clock.
	Count int
	At    time.Time
}

// Report is all that a tap saw.
type Report struct {
	Observations []Observation
	// Dropped packets were not looked at: the ring was full, or more distinct
	// things were seen than a tap keeps.
	Dropped int64
}
