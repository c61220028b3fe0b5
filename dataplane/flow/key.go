// Package flow is the flow table: forward and reverse keys, TCP states, timers
// on a wheel, and the bound (SEMANTICS 1.5, 1.9).
//
// It knows what a flow is and how long it lives; it does not know why one was
// allowed or where it goes. It allocates only when it grows. Its law, checked
// against a map in the tests: a flow is found by both of its keys from Insert
// until Remove, and by nothing else.
package flow

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// Key identifies a flow from one side (SEMANTICS 1.5). It has no pointers and
// no padding, so that the same 48 bytes can be a key in eBPF; addresses are in
// their 16-byte form, IPv4 mapped.
//
// Forward: what the client sends, with tenant, scope and vnet. Reverse: Src and
// SrcPort are the egress side, Dst and DstPort the remote end; scope and vnet
// are zero, because the other side knows none. So is the tenant, unless the
// egress side is the client's own address, which other tenants use too. An ICMP
// echo id stands in SrcPort.
type Key struct {
	Src, Dst         [16]byte
	Scope            ident.Scope
	Tenant           ident.Tenant
	VNet             ident.VNet
	SrcPort, DstPort uint16
	Proto            uint8
	// Side tells forward keys from reverse keys.
	Side Side
	// Zero fills the key to 48 bytes and stays 0.
	Zero uint16
}

// Side is the side a key describes a flow from.
type Side uint8

const (
	Forward Side = iota
	Reverse
)

// ForwardKey is the key of a packet from the client side.
func ForwardKey(tenant ident.Tenant, scope ident.Scope, vnet ident.VNet, m *pkt.Meta) (k Key) {
	k.SetForward(tenant, scope, vnet, m)
	return k
}

// SetForward makes k the ForwardKey of m. It writes field by field and in place:
// copying a key right after it was made stalls the processor, which cannot load
// in one what was stored in parts.
func (k *Key) SetForward(tenant ident.Tenant, scope ident.Scope, vnet ident.VNet, m *pkt.Meta) {
	putAddr(&k.Src, m.Src)
	putAddr(&k.Dst, m.Dst)
	k.Scope, k.Tenant, k.VNet = scope, tenant, vnet
	k.SrcPort, k.DstPort, k.Proto, k.Side, k.Zero = m.SrcPort, m.DstPort, m.Proto, Forward, 0
}

// ReverseKey is the key under which a reply from remote to egress finds its
// flow.
func ReverseKey(proto uint8, egress netip.AddrPort, remote netip.AddrPort) Key {
	return Key{
		Src: egress.Addr().As16(), Dst: remote.Addr().As16(),
		SrcPort: egress.Port(), DstPort: remote.Port(), Proto: proto, Side: Reverse,
	}
}

// Answer is the reverse key of a flow with forward key k that left as egress.
func (k *Key) Answer(egress netip.AddrPort) Key {
	a := ReverseKey(k.Proto, egress, k.Destination())
	if a.Src == k.Src {
		a.Tenant = k.Tenant
	}
	return a
}

// Mirror is the reverse key under which the packet with forward key k is the
// reply of a flow: a tenant's own, or one that left from a source of the network
// (tenant 0).
func (k *Key) Mirror(tenant ident.Tenant) Key {
	return Key{Src: k.Dst, Dst: k.Src, SrcPort: k.DstPort, DstPort: k.SrcPort, Proto: k.Proto, Tenant: tenant, Side: Reverse}
}

// SetReply makes k the reverse key of the reply m.
func (k *Key) SetReply(m *pkt.Meta) {
	putAddr(&k.Src, m.Dst)
	putAddr(&k.Dst, m.Src)
	k.Scope, k.Tenant, k.VNet = 0, 0, 0
	k.SrcPort, k.DstPort, k.Proto, k.Side, k.Zero = m.DstPort, m.SrcPort, m.Proto, Reverse, 0
}

// putAddr is addr.As16 in place.
func putAddr(b *[16]byte, addr netip.Addr) {
	if !addr.Is4() {
		*b = addr.As16()
		return
	}
	a := addr.As4()
	binary.BigEndian.PutUint64(b[:8], 0)
	binary.BigEndian.PutUint64(b[8:], 0xffff<<32|uint64(binary.BigEndian.Uint32(a[:])))
}

// Source is the key's source as the standard library knows it.
func (k *Key) Source() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(k.Src).Unmap(), k.SrcPort)
}

// Destination is the key's destination.
func (k *Key) Destination() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(k.Dst).Unmap(), k.DstPort)
}

// Primes of the mix: odd, with their bits well spread (those of XXH64).
const (
	prime1 = 0x9e3779b185ebca87
	prime2 = 0xc2b2ae3d27d4eb4f
	prime3 = 0x165667b19e3779f9
)

// Hash mixes the key under seed, equally on every machine. Two lanes of
// multiply and rotate keep it short, and it uses nothing that eBPF C lacks (no
// 128-bit multiply). It is keyed, not cryptographic: who does not know the seed
// cannot aim at a bucket.
func Hash(seed uint64, k *Key) uint64 {
	a, b := seed^prime1, seed+prime2
	a = round(a, binary.LittleEndian.Uint64(k.Src[:8]))
	b = round(b, binary.LittleEndian.Uint64(k.Src[8:]))
	a = round(a, binary.LittleEndian.Uint64(k.Dst[:8]))
	b = round(b, binary.LittleEndian.Uint64(k.Dst[8:]))
	a = round(a, uint64(k.Scope)|uint64(k.Tenant)<<32|uint64(k.VNet)<<48)
	b = round(b, uint64(k.SrcPort)|uint64(k.DstPort)<<16|uint64(k.Proto)<<32|uint64(k.Side)<<40)
	return Mix(a ^ bits.RotateLeft64(b, 27))
}

func round(acc, word uint64) uint64 {
	return bits.RotateLeft64(acc^word*prime2, 31) * prime1
}

// Mix is a bijection that lets every bit of h touch every bit of the result.
func Mix(h uint64) uint64 {
	h = (h ^ h>>33) * prime2
	h = (h ^ h>>29) * prime3
	return h ^ h>>32
}

// Combine mixes two numbers under seed, for hashes of small things.
func Combine(seed, a, b uint64) uint64 {
	return Mix(round(round(seed^prime1, a), b))
}
