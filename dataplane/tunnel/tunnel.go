// Package tunnel holds the codecs of on-ramps and hand-overs: what each adds
// in front of a packet, and what that leaves for the packet itself.
package tunnel

import "slices"

// Kind is the kind of an on-ramp.
type Kind string

const (
	GRE          Kind = "gre"
	Interconnect Kind = "interconnect"
	Device       Kind = "device"
	Connector    Kind = "connector"
	IPsec        Kind = "ipsec"
)

// extend returns b with n zero bytes more, in b's memory if there is room.
func extend(b []byte, n int) []byte {
	b = slices.Grow(b, n)[:len(b)+n]
	clear(b[len(b)-n:])
	return b
}
