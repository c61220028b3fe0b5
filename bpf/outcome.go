package bpf

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/homeward-lab/homeward/dataplane/drop"
)

// Outcome is what became of a packet at the fast path, the C enum outcome: the
// reasons of package drop, and from Forwarded on what is not a drop of the hub's.
type Outcome uint32

const (
	Forwarded     Outcome = iota + 64 // on-ramp to Internet
	Returned                          // Internet to on-ramp
	HandedOver                        // to another server
	LeftMiss                          // from here on left to the hub: no flow here
	LeftExpired                       // the flow's time is over
	LeftControl                       // SYN, FIN or RST of a flow at home here
	LeftTTL                           // would expire here
	LeftTooBig                        // for the tunnel of the reply
	LeftFragment                      // a part of a datagram
	LeftICMP                          // errors, and echo to the hub itself
	LeftProtocol                      // another protocol, outside or inside
	LeftOdd                           // options, lengths, checksums: the hub judges
	LeftPrivate                       // to a private destination
	LeftRamp                          // on-ramp unknown here, moved, or not GRE over IPv4
	LeftTraced                        // the hub tells what becomes of it
	LeftElsewhere                     // no address of the network, or one that moves
	FaultRoom                         // dropped: the kernel refused to grow or shrink it
	FaultStore                        // dropped: a header could not be written
	outcomeCount
)

var outcomeNames = [...]string{
	"forwarded", "returned", "handed_over", "left_miss", "left_expired", "left_control", "left_ttl", "left_too_big",
	"left_fragment", "left_icmp", "left_protocol", "left_odd", "left_private", "left_ramp", "left_traced", "left_elsewhere",
	"fault_room", "fault_store",
}

// String is the outcome's label; those of drops are the reason's.
func (o Outcome) String() string {
	switch {
	case int(o) < drop.Count:
		return drop.Reason(o).String()
	case o >= Forwarded && o < outcomeCount:
		return outcomeNames[o-Forwarded]
	}
	return fmt.Sprintf("outcome_%d", uint32(o))
}

// ToHub reports whether the packet was left to the hub.
func (o Outcome) ToHub() bool { return o >= LeftMiss && o < FaultRoom }

// Tally is how many packets had each outcome since the program was loaded.
type Tally [outcomeCount]uint64

// Drops are the packets that the fast path itself dropped, by the hub's reasons.
func (t *Tally) Drops() (d [drop.Count]uint64) {
	copy(d[:], t[:])
	return d
}

// Map returns what is not zero, by label.
func (t *Tally) Map() map[string]uint64 {
	m := make(map[string]uint64)
	for i, n := range t {
		if n != 0 {
			m[Outcome(i).String()] = n
		}
	}
	return m
}

// Tally reads the totals over all CPUs.
func (d *Dataplane) Tally() (t Tally, err error) {
	keys, values := make([]uint32, outcomeCount), make([]uint64, int(outcomeCount)*ebpf.MustPossibleCPU())
	var at ebpf.MapBatchCursor
	n, err := d.objects.Outcomes.BatchLookup(&at, keys, values, nil)
	if n != len(keys) {
		return Tally{}, fmt.Errorf("read outcomes: got %d of %d: %w", n, len(keys), err)
	}
	for i, key := range keys {
		for _, n := range values[i*len(values)/len(keys) : (i+1)*len(values)/len(keys)] {
			t[key] += n
		}
	}
	return t, nil
}
