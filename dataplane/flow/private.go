package flow

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Private reports whether an address of a key is one that no router of the
// Internet knows: RFC 1918, RFC 6598, RFC 4193, and what the network keeps for
// itself of IPv6 (SEMANTICS 2.3).
func Private(addr *[16]byte) bool {
	hi, lo := binary.BigEndian.Uint64(addr[:8]), binary.BigEndian.Uint64(addr[8:])
	if hi != 0 {
		const own = 0x260647000cf1 // 2606:4700:cf1::/48
		return hi>>57 == 0xfc>>1 || hi>>16 == own
	}
	if lo>>32 != 0xffff {
		return false
	}
	four := uint32(lo)
	return four>>24 == 10 || four>>20 == 172<<4|1 || four>>16 == 192<<8|168 || four>>22 == 100<<2|1
}

// PrivatePrefix reports whether all addresses of a prefix are private.
func PrivatePrefix(p netip.Prefix) bool {
	for _, text := range [...]string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "2606:4700:cf1::/48"} {
		if r := netip.MustParsePrefix(text); p.IsValid() && r.Bits() <= p.Bits() && r.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// Ends hashes tenant, protocol and the two ends of a key under seed, without
// saying which end is which: a packet and its reply have the same, whichever
// on-ramps they came by.
func Ends(seed uint64, k *Key) uint64 {
	src := end(seed, &k.Src, k.SrcPort)
	dst := end(seed, &k.Dst, k.DstPort)
	return Mix(round(seed^(src+dst), uint64(k.Tenant)<<8|uint64(k.Proto)))
}

func end(seed uint64, addr *[16]byte, port uint16) uint64 {
	a := round(seed^prime1, binary.LittleEndian.Uint64(addr[:8]))
	b := round(seed+prime2, binary.LittleEndian.Uint64(addr[8:])^uint64(port)<<16)
	return Mix(a ^ bits.RotateLeft64(b, 27))
}
