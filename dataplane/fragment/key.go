package fragment

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// Key says which datagram a fragment belongs to (RFC 791 section 3.2, RFC 8200
// section 4.5), among those of one tenant, scope and virtual network. From the
// Internet these three are zero. It has no pointers; addresses are in their
// 16-byte form, IPv4 mapped.
type Key struct {
	Src, Dst [16]byte
	// ID is the identification: 16 bits for IPv4, 32 for IPv6.
	ID     uint32
	Scope  ident.Scope
	Tenant ident.Tenant
	VNet   ident.VNet
	// Proto is IPv4's. For IPv6 it is 44, the fragment header itself: only the
	// first fragment knows the protocol (RFC 8200 section 4.5).
	Proto uint8
	// Version is 4 or 6.
	Version uint8
}

// KeyOf reads the key of the fragment in packet, from its IP header on; ok is
// false if Add would call it Malformed, TooLong or Tiny.
func KeyOf(tenant ident.Tenant, scope ident.Scope, vnet ident.VNet, packet []byte) (k Key, ok bool) {
	var f fragment
	if f.parse(packet) != Incomplete {
		return Key{}, false
	}
	k = Key{ID: f.id, Scope: scope, Tenant: tenant, VNet: vnet, Proto: f.proto, Version: f.version}
	if f.version == 4 {
		k.Src = netip.AddrFrom4([4]byte(packet[12:])).As16()
		k.Dst = netip.AddrFrom4([4]byte(packet[16:])).As16()
	} else {
		k.Src, k.Dst, k.Proto = [16]byte(packet[8:]), [16]byte(packet[24:]), protoFragment
	}
	return k, true
}

// Hash is the flow hash of the key without ports and without the
// identification: all fragments of a pair of addresses and a protocol have one
// home, and a program in the kernel finds it as it does a flow's.
func (k *Key) Hash(seed uint64) uint64 {
	fk := flow.Key{Src: k.Src, Dst: k.Dst, Scope: k.Scope, Tenant: k.Tenant, VNet: k.VNet, Proto: k.Proto}
	return flow.Hash(seed, &fk)
}
