package bpf

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// Ethernet types.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
)

// etherType is that of an IP packet.
func etherType(packet []byte) uint16 {
	if packet[0]>>4 == 6 {
		return etherIPv6
	}
	return etherIPv4
}

// ipv6Packet is a packet of l4 behind extension headers.
func ipv6Packet(r *rand.Rand, proto uint8, src, dst netip.Addr, l4 []byte) []byte {
	proto, chain := extensions(r, proto)
	b := make([]byte, 40, 40+len(chain)+len(l4))
	binary.BigEndian.PutUint32(b, 0x60000000|r.Uint32N(1<<28))
	binary.BigEndian.PutUint16(b[4:], uint16(len(chain)+len(l4)))
	b[6], b[7] = proto, uint8(1+r.IntN(255))
	s, d := src.As16(), dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	return append(append(b, chain...), l4...)
}

// extensions are none, mostly, or a chain as senders and fuzzers write it, in
// front of proto: all that are stepped over, in any place and number, fragment
// headers, and lengths that lie.
func extensions(r *rand.Rand, proto uint8) (first uint8, chain []byte) {
	if r.IntN(3) > 0 {
		return proto, nil
	}
	kinds := []uint8{0, 43, 60, 60, 60, 44}
	first = proto
	count := 1 + r.IntN(3)
	if r.IntN(4) == 0 {
		count = 7 + r.IntN(4)
	}
	for i := range count {
		kind := kinds[r.IntN(len(kinds))]
		if count > 3 {
			kind = 60
		}
		if i == count-1 && r.IntN(3) == 0 {
			kind = 0
		}
		units := r.IntN(3)
		if r.IntN(30) == 0 {
			units = r.IntN(256) // beyond the packet
		}
		head := random(r, min(units, 3)*8+8)
		head[0], head[1] = first, uint8(units)
		if head[3] = uint8(r.IntN(3) / 2); kind == 44 {
			head = head[:8]
		}
		first, chain = kind, append(head, chain...)
	}
	return first, chain
}

// packet6 is some packet of a branch host over IPv6.
func packet6(r *rand.Rand) []byte {
	src := netip.AddrFrom16([16]byte{0xfd, 0, 0, 1, 15: byte(r.Uint32())})
	far := [16]byte(random(r, 16))
	far[0] = 0x20
	dst := netip.AddrFrom16(far)
	switch r.IntN(5) {
	case 0:
		return ipv6Packet(r, pkt.ProtoUDP, src, dst, random(r, 8+r.IntN(1300)))
	case 1:
		return ipv6Packet(r, pkt.ProtoICMPv6, src, dst, random(r, 8+r.IntN(60)))
	}
	return ipv6Packet(r, pkt.ProtoTCP, src, dst, tcpSegment(r, src, dst))
}
