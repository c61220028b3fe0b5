package probe

import (
	"net/netip"
	"time"

	"github.com/homeward-lab/homeward/emu/netns"
)

// egressRing holds 32,768 packets between two looks.
const egressRing = 8 << 20

// EgressConfig says what to check.
type EgressConfig struct {
	// Interface to watch. Incoming is set where it is the edge router's end of
	// a server's link, which sees everything; at the server's own end packets
	// that bypass its queues are invisible.
	Interface string
	Incoming  bool
	// Prefixes of the egress addresses: packets from elsewhere are not looked at.
	Prefixes []netip.Prefix
	// Owned says whether the sender may use a source port (or echo id) of an
	// address toward a destination at a time.
	Owned func(from netip.AddrPort, to netip.Addr, at time.Time) bool
}

// EgressCount is what an egress tap counted. A superpacket is one packet.
type EgressCount struct {
	Checked int64
	// Outside is how many had a port outside the sender's slices, First the
	// first of them.
	Outside int64
	First   netip.AddrPort
	// Dropped packets were not checked.
	Dropped int64
}

// Egress checks a server's packets on the wire.
type Egress struct {
	pump  *pump
	owned func(netip.AddrPort, netip.Addr, time.Time) bool
	count EgressCount
}

// StartEgress taps an interface of the namespace.
func StartEgress(ns *netns.NS, c EgressConfig) (*Egress, error) {
	f, err := egressFilter(c.Incoming, c.Prefixes)
	if err != nil {
		return nil, err
	}
	r, err := openRing(ns, c.Interface, f, egressRing)
	if err != nil {
		return nil, err
	}
	e := &Egress{owned: c.Owned}
	e.pump = startPump(r, e.see)
	return e, nil
}

// Count is the count up to now; it can be called at any time, also after Close.
func (e *Egress) Count() (c EgressCount) {
	e.pump.locked(func() {
		c = e.count
		c.Dropped = e.pump.drops
	})
	return c
}

// Err is Tap.Err.
func (e *Egress) Err() error { return e.pump.err() }

// Close ends the tap; the count stays. It is idempotent.
func (e *Egress) Close() error { return e.pump.close() }

func (e *Egress) see(f frame) {
	p, ok := parse(f.data)
	if !ok {
		return
	}
	from := netip.AddrPortFrom(p.src, p.sport())
	e.count.Checked++
	if e.owned(from, p.dst, f.at) {
		return
	}
	if e.count.Outside++; e.count.Outside == 1 {
		e.count.First = from
	}
}
