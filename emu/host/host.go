// Package host is the traffic of a lab: origins that answer and sign what they
// saw, and clients that start each planned flow at its instant and verify that
// the answer is their own.
//
// Hosts are the kernel's TCP/IP: this package only opens sockets inside their
// namespaces. It is not a load generator that shapes traffic, and it does not
// judge where a lost reply went: that is emu/probe, which sees wires.
//
// Its law: a flow is ok only if every payload byte was checked at both ends
// and the answer carries a signature over this flow's own nonce.
package host

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"time"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Key signs what origins saw: one per run, so that an answer from another run,
// or from something that is no origin, does not verify.
type Key [32]byte

// NewKey draws a key.
func NewKey() Key {
	var k Key
	rand.Read(k[:]) // never fails (crypto/rand)
	return k
}

// Outcome is what a client knows of one flow when it is over.
type Outcome struct {
	// Result is never record.Misdelivered: a client cannot see that.
	Result record.Result
	// Reason is a phrase for people; empty when ok.
	Reason string
	// Up and Down are L4 payload bytes delivered: written and acknowledged (or
	// verified by the origin), and read. HTTP headers count; for UDP and ICMP
	// only what an intact answer proves counts, and the 8 bytes of the header
	// of UDP or of ICMP echo do not.
	Up, Down int64
	// RTT is connection set-up, or the first answered echo; 0 if neither was.
	RTT time.Duration
	// Stall is the longest time in which no payload was delivered, from the start
	// of payload to its end, or until the client gave up; of datagrams that is the
	// longest time between answers.
	Stall time.Duration
	// Start is when the first packet was sent, or should have been; End when the last
	// of the answer arrived, or else when the result was known.
	Start, End time.Time
	// Found is how long after Start its client knew where the server is, where it had to
	// ask for that: RTT begins then.
	Found time.Duration
	// Late is how much later than planned the flow started.
	Late time.Duration
	// Send is how long the kernel took to take the first packet, within RTT; 0 if less than
	// late.Least.
	Send time.Duration
	// Egress is the client's address as the origin saw it, under a valid
	// signature; invalid if unknown (ICMP is the kernel's, and not signed).
	Egress netip.AddrPort
	// Flow is the flow as its client was told where it goes; nil if it never got to
	// that.
	Flow *plan.Flow
}

// Config is how to run flows.
type Config struct {
	// Namespace gives the namespace of a node; nil means there is none.
	Namespace func(node string) *netns.NS
	// Key is the run's, the same as the origins'.
	Key Key
	// Base is the start of traffic: Flow.Start counts from it. Half a second
	// in the future leaves time to open the first sockets.
	Base time.Time
	// Breaks are when the TCP connections that a client has then are broken off by
	// itself, by client, from Base and in order of time: its tunnel begins anew,
	// and with it everything that went through (SEMANTICS 3.2).
	Breaks map[string][]time.Duration
	// Done, if not nil, is called once per flow when its outcome is known, from
	// any goroutine; i is its index in flows.
	Done func(i int, o Outcome)
	// Late, if not nil, hears of clients that come late.
	Late Late
	// MaxLive flows at a time; 0 means what a third of the file descriptor
	// limit allows, 8192 at most. A flow beyond starts late, and says so.
	MaxLive int
}

// Late hears that a program on a node was done at with what it might have been done with
// d earlier: read what had arrived, or sent what was due. It is called from any goroutine,
// also for what is not worth a word.
type Late func(node string, at time.Time, d time.Duration)

// due says that what a node might have done at t it is done with now.
func (l Late) due(node string, t time.Time) {
	if l != nil {
		now := time.Now()
		l(node, now, max(now.Sub(t), 0))
	}
}

// Seen is what an origin saw of one request or datagram.
type Seen struct {
	Node    string
	Proto   plan.Proto
	Traffic string // empty for udp, where the nonce alone tells
	N       int
	Nonce   uint64
	Seq     uint32 // of the datagram within the flow
	Peer    netip.AddrPort
	At      time.Time
	// Took is how long after its arrival a datagram was answered; 0 is unknown.
	Took time.Duration
	// Request is how many payload bytes arrived; Intact says that they were
	// the pattern of Nonce.
	Request int64
	Intact  bool
}

// Options of an origin.
type Options struct {
	Key Key
	// Observe, if not nil, is called for each request, from any goroutine.
	Observe func(Seen)
	// Late, if not nil, hears of connections that are read late. How late datagrams are
	// answered Seen tells.
	Late Late
}

// UnsupportedError says that a plan holds what this package cannot do.
type UnsupportedError struct{ What string }

// Error names what was wanted.
func (e *UnsupportedError) Error() string { return fmt.Sprintf("hosts do not speak %s", e.What) }
