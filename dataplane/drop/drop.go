// Package drop names every reason for which a packet is not sent on.
//
// One enum is at once the metric label, the trace text, the eBPF counter index
// and the report row. Numbers are stable: append, never renumber.
package drop

import "fmt"

// Reason says why a packet went no further. Zero is "not dropped"; a drop
// without a reason is a bug.
type Reason uint8

const (
	None             Reason = iota
	Malformed               // headers do not parse, or lie about their length
	NotForUs                // no address of this server
	UnknownTunnel           // GRE from an address that is no on-ramp
	BadTunnel               // GRE flags, version or protocol we do not speak (RFC 2784 2.2, RFC 2890)
	ForgedHandover          // hand-over from an address that is no server of ours
	HopLimit                // handed over too often (SEMANTICS 5.2)
	TTLExpired              // the inner packet's TTL ran out
	Unsupported             // a protocol or packet this hub does not carry
	Fragment                // a fragment that cannot be attributed
	NoOwner                 // slice 0, or a slice no server owns (SU-4)
	NoFlow                  // a reply nobody asked for, or one that came after the idle timer (ARR-14)
	Orphan                  // a mid-flow packet whose state is not here (SEMANTICS 1.9)
	NullRouted              // private destination, no route (SEMANTICS 2.3)
	NoRoute                 // no route in this virtual network
	TableFull               // the flow table is at its bound; live flows are never evicted
	PortsExhausted          // no free egress port in the pool (EGRESS_PORT_ALLOCATION_ERROR)
	TooBig                  // larger than the tunnel's MTU with DF set (RT-14)
	PolicyDenied            // a firewall or network policy said no
	SpoofedSource           // source address is one of the network's own, or one that may not leave its link
	NoEgress                // the server has no egress address of the packet's family
	ReassemblyFull          // a fragment, and no room to put its datagram together
	Overlap                 // a fragment of a datagram whose fragments overlap (RFC 5722)
	BadContext              // the first datagram of a connected tunnel says nothing valid (OX-1)
	Unattached              // the device or connector is attached nowhere
	ReverseCollision        // another flow has the same addresses and ports toward the same private host (SEMANTICS 1.5)
	OffRampOnly             // a packet of its own from a private network that only answers
	EgressDown              // the place that the flow has to leave from is down, and its policy names no other (SEMANTICS 6.2)
	EgressSilent            // the server that the flow has to leave from did not answer
	reasons
)

// Count is the number of reasons, None included: the size of a counter array.
const Count = int(reasons)

var names = [Count]string{
	None:             "none",
	Malformed:        "malformed",
	NotForUs:         "not_for_us",
	UnknownTunnel:    "unknown_tunnel",
	BadTunnel:        "bad_tunnel",
	ForgedHandover:   "forged_handover",
	HopLimit:         "hop_limit",
	TTLExpired:       "ttl_expired",
	Unsupported:      "unsupported",
	Fragment:         "fragment",
	NoOwner:          "no_owner",
	NoFlow:           "no_flow",
	Orphan:           "orphan",
	NullRouted:       "null_routed",
	NoRoute:          "no_route",
	TableFull:        "table_full",
	PortsExhausted:   "ports_exhausted",
	TooBig:           "too_big",
	PolicyDenied:     "policy_denied",
	SpoofedSource:    "spoofed_source",
	NoEgress:         "no_egress",
	ReassemblyFull:   "reassembly_full",
	Overlap:          "overlap",
	BadContext:       "bad_context",
	Unattached:       "unattached",
	ReverseCollision: "arr_reverse_collision",
	OffRampOnly:      "off_ramp_only",
	EgressDown:       "egress_down",
	EgressSilent:     "egress_silent",
}

// String is the metric label: lower case, words joined by underscores.
func (r Reason) String() string {
	if int(r) < Count {
		return names[r]
	}
	return fmt.Sprintf("reason_%d", uint8(r))
}

// Reasons lists every reason but None, in order.
func Reasons() []Reason {
	all := make([]Reason, 0, Count-1)
	for r := None + 1; r < reasons; r++ {
		all = append(all, r)
	}
	return all
}

// Parse is the inverse of String.
func Parse(s string) (Reason, bool) {
	for r, name := range names {
		if name == s {
			return Reason(r), true
		}
	}
	return None, false
}
