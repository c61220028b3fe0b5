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
	None Reason = iota
	Malformed
	NotForUs
	UnknownTunnel
	BadTunnel
	ForgedHandover
	HopLimit
	TTLExpired
	Unsupported
	Fragment
	NoOwner
	NoFlow
	Orphan
	NullRouted
	NoRoute
	TableFull
	PortsExhausted
	TooBig
	PolicyDenied
	SpoofedSource
	NoEgress
	ReassemblyFull
	Overlap
	BadContext
	Unattached
	ReverseCollision
	OffRampOnly
	EgressDown
	EgressSilent
	NotECT
	reasons
)

// Count is the number of reasons, None included: the size of a counter array.
const Count = int(reasons)

// words are each reason's metric label, and what it means.
var words = [Count]struct{ label, about string }{
	None:             {"none", "not dropped"},
	Malformed:        {"malformed", "headers do not parse, or lie about their length"},
	NotForUs:         {"not_for_us", "to no address of this server"},
	UnknownTunnel:    {"unknown_tunnel", "GRE from an address that is no on-ramp"},
	BadTunnel:        {"bad_tunnel", "GRE flags, version or protocol that are not spoken (RFC 2784 2.2, RFC 2890)"},
	ForgedHandover:   {"forged_handover", "a hand-over from an address that is no server's"},
	HopLimit:         {"hop_limit", "handed over too often (SEMANTICS 5.2)"},
	TTLExpired:       {"ttl_expired", "the inner packet's TTL ran out"},
	Unsupported:      {"unsupported", "a protocol or packet that servers do not carry"},
	Fragment:         {"fragment", "a fragment that cannot be attributed"},
	NoOwner:          {"no_owner", "to slice 0, or to a slice that no server owns (SU-4)"},
	NoFlow:           {"no_flow", "a reply that nobody asked for, or that came after the idle timer (ARR-14)"},
	Orphan:           {"orphan", "a mid-flow packet whose state is not here (SEMANTICS 1.9)"},
	NullRouted:       {"null_routed", "to a private destination without a route (SEMANTICS 2.3)"},
	NoRoute:          {"no_route", "no route in this virtual network"},
	TableFull:        {"table_full", "the flow table is full; live flows are never evicted"},
	PortsExhausted:   {"ports_exhausted", "no free egress port in the pool"},
	TooBig:           {"too_big", "larger than the tunnel's MTU, and not to be fragmented (RT-14)"},
	PolicyDenied:     {"policy_denied", "a firewall or network policy said no"},
	SpoofedSource:    {"spoofed_source", "the source is an address of the network's own, or one that may not leave its link"},
	NoEgress:         {"no_egress", "the server has no egress address of the packet's family"},
	ReassemblyFull:   {"reassembly_full", "a fragment, and no room to put its datagram together"},
	Overlap:          {"overlap", "a fragment of a datagram whose fragments overlap (RFC 5722)"},
	BadContext:       {"bad_context", "the first datagram of a connected tunnel says nothing valid (OX-1)"},
	Unattached:       {"unattached", "to a device or connector that is attached nowhere"},
	ReverseCollision: {"arr_reverse_collision", "another flow looks the same to the private host (SEMANTICS 1.5)"},
	OffRampOnly:      {"off_ramp_only", "a packet of its own from a private network that only answers"},
	EgressDown:       {"egress_down", "the place that the flow has to leave from is down, and its policy names no other (SEMANTICS 6.2)"},
	EgressSilent:     {"egress_silent", "the server that the flow has to leave from did not answer"},
	NotECT:           {"not_ect", "marked as congested in its tunnel, and its ends understand no marks (RFC 6040 section 4.2)"},
}

// String is the metric label: lower case, words joined by underscores.
func (r Reason) String() string {
	if int(r) < Count {
		return words[r].label
	}
	return fmt.Sprintf("reason_%d", uint8(r))
}

// About says what the reason means, in a few words.
func (r Reason) About() string {
	if int(r) < Count {
		return words[r].about
	}
	return ""
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
	for r, w := range words {
		if w.label == s {
			return Reason(r), true
		}
	}
	return None, false
}
