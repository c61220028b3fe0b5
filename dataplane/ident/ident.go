// Package ident holds the small dense numbers by which the dataplane knows
// things. Names live in the configuration; packets and tables carry numbers.
//
// Zero is never a valid id, so that an unset field cannot be mistaken for the
// first object.
package ident

type (
	// Tenant is an account.
	Tenant uint16
	// VNet is a virtual network of a tenant (SEMANTICS 3).
	VNet uint16
	// OnRamp is one connection: a tunnel, an interconnect, a device
	// (SEMANTICS 0, "Connection"). At most MaxOnRamp, because it travels in
	// 24 bits of the hand-over key.
	OnRamp uint32
	// Scope separates identical tuples in the forward key (SEMANTICS 1.5): the
	// on-ramp itself, or its failover group.
	Scope uint32
	// Datacenter is a place with servers.
	Datacenter uint16
	// Server is one edge server, numbered over all datacenters.
	Server uint16
)

// MaxOnRamp is the largest on-ramp number.
const MaxOnRamp OnRamp = 1<<24 - 1
