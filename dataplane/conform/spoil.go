package conform

import (
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// spoil is a way to make a packet odd. It may do nothing to one that has not
// what it changes.
type spoil struct {
	name string
	do   func(g *traffic, b []byte) []byte
}

// l4 is where the transport header is, if the packet is as builder wrote it.
func l4(b []byte) int {
	if b[0]>>4 == 6 {
		return ipv6Header
	}
	return ipv4Header
}

func protoOf(b []byte) uint8 {
	if b[0]>>4 == 6 {
		return b[6]
	}
	return b[9]
}

// four wraps what is for IPv4 headers alone and makes their checksum right again.
func four(do func(g *traffic, b []byte)) func(g *traffic, b []byte) []byte {
	return func(g *traffic, b []byte) []byte {
		if b[0]>>4 == 4 {
			do(g, b)
			sumHeader(b)
		}
		return b
	}
}

// inPlace changes without mending the checksum.
func inPlace(do func(g *traffic, b []byte)) func(g *traffic, b []byte) []byte {
	return func(g *traffic, b []byte) []byte {
		do(g, b)
		return b
	}
}

// transport wraps what changes a transport header.
func transport(proto uint8, do func(g *traffic, l4 []byte)) func(g *traffic, b []byte) []byte {
	return func(g *traffic, b []byte) []byte {
		if protoOf(b) == proto && len(b) >= l4(b)+8 {
			do(g, b[l4(b):])
		}
		return b
	}
}

// headerSpoils are those of any IP header.
var headerSpoils = []spoil{
	{"fragment first", four(func(g *traffic, b []byte) { b[6] |= 0x20 })},
	{"fragment later", four(func(g *traffic, b []byte) { put16(b[6:], uint16(1+g.IntN(0x1fff))) })},
	{"evil bit", four(func(g *traffic, b []byte) { b[6] |= 0x80 })},
	{"DF clear", four(func(g *traffic, b []byte) { b[6] &^= 0x40 })},
	{"TOS", four(func(g *traffic, b []byte) { b[1] = byte(g.Uint32()) })},
	{"id", four(func(g *traffic, b []byte) { put16(b[4:], uint16(g.Uint32())) })},
	{"header length", four(func(g *traffic, b []byte) { b[0] = 0x40 | byte(g.IntN(16)) })},
	{"total length", four(func(g *traffic, b []byte) { put16(b[2:], get16(b[2:])+uint16(g.IntN(40))-20) })},
	{"version", inPlace(func(g *traffic, b []byte) { b[0] = b[0]&0xf | byte(g.IntN(16))<<4 })},
	{"header checksum", inPlace(func(g *traffic, b []byte) {
		if b[0]>>4 == 4 {
			b[10] ^= byte(1 << g.IntN(8))
		}
	})},
	{"checksum 0", four(func(g *traffic, b []byte) { // the id makes it come out as 0 or as all ones
		put16(b[4:], 0)
		sumHeader(b)
		put16(b[4:], get16(b[10:]))
	})},
	{"protocol", inPlace(func(g *traffic, b []byte) {
		at := 9
		if b[0]>>4 == 6 {
			at = 6
		}
		b[at] = one[byte](g.Chance, 0, 1, 2, 6, 17, 41, 43, 44, 47, 50, 58, 59, 60, 255)
		if b[0]>>4 == 4 {
			sumHeader(b)
		}
	})},
	{"payload length", inPlace(func(g *traffic, b []byte) {
		if b[0]>>4 == 6 {
			put16(b[4:], get16(b[4:])+uint16(g.IntN(40))-20)
		}
	})},
	{"flow label", inPlace(func(g *traffic, b []byte) {
		if b[0]>>4 == 6 {
			b[1], b[2], b[3] = byte(g.Uint32()), byte(g.Uint32()), byte(g.Uint32())
		}
	})},
	{"cut off", func(g *traffic, b []byte) []byte { return b[:g.IntN(len(b)+1)] }},
	{"cut short", func(g *traffic, b []byte) []byte { return b[:len(b)-min(len(b), 1+g.IntN(3))] }},
	{"padding", func(g *traffic, b []byte) []byte { return append(slices.Clone(b), make([]byte, 1+g.IntN(8))...) }},
	{"junk", func(g *traffic, b []byte) []byte {
		for range 1 + g.IntN(4) {
			b[g.IntN(len(b))] = byte(g.Uint32())
		}
		return b
	}},
}

// innerSpoils are those of a client's or remote end's packet besides.
var innerSpoils = append([]spoil{
	{"options", func(g *traffic, b []byte) []byte {
		if b[0] != 0x45 {
			return b
		}
		b = slices.Insert(slices.Clone(b), ipv4Header, 1, 1, 1, 0)
		b[0]++
		put16(b[2:], uint16(len(b)))
		sumHeader(b)
		return b
	}},
	{"extension header", func(g *traffic, b []byte) []byte {
		if b[0]>>4 != 6 || len(b) < ipv6Header {
			return b
		}
		kind := one[byte](g.Chance, 0, 43, 44, 60)
		b = slices.Insert(slices.Clone(b), ipv6Header, b[6], 0, 0, 0, 0, 0, 0, 0)
		b[6] = kind
		put16(b[4:], uint16(len(b)-ipv6Header))
		return b
	}},
	{"mapped source", inPlace(func(g *traffic, b []byte) {
		if b[0]>>4 == 6 && len(b) >= ipv6Header {
			copy(b[8:], []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 1, 1})
		}
	})},
	{"mapped destination", inPlace(func(g *traffic, b []byte) {
		if b[0]>>4 == 6 && len(b) >= ipv6Header {
			copy(b[24:], []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 9})
		}
	})},
	{"destination", inPlace(func(g *traffic, b []byte) {
		if b[0]>>4 == 4 || len(b) >= ipv6Header {
			setDst(b, g.edgeAddress(b[0]>>4 != 4))
		}
	})},
	{"source port", transport(pkt.ProtoTCP, func(g *traffic, l4 []byte) { put16(l4, g.port()) })},
	{"destination port", transport(pkt.ProtoTCP, func(g *traffic, l4 []byte) { put16(l4[2:], g.port()) })},
	{"source port", transport(pkt.ProtoUDP, func(g *traffic, l4 []byte) { put16(l4, g.port()) })},
	{"destination port", transport(pkt.ProtoUDP, func(g *traffic, l4 []byte) { put16(l4[2:], g.port()) })},
	{"echo id", transport(pkt.ProtoICMP, func(g *traffic, l4 []byte) { put16(l4[4:], g.port()) })},
	{"echo id", transport(pkt.ProtoICMPv6, func(g *traffic, l4 []byte) { put16(l4[4:], g.port()) })},
	{"ICMP type", transport(pkt.ProtoICMP, func(g *traffic, l4 []byte) { l4[0] = one[byte](g.Chance, 0, 3, 4, 5, 8, 11, 12, 13) })},
	{"ICMP type", transport(pkt.ProtoICMPv6, func(g *traffic, l4 []byte) { l4[0] = one[byte](g.Chance, 1, 2, 3, 4, 127, 128, 129, 133) })},
	{"ICMP code", transport(pkt.ProtoICMP, func(g *traffic, l4 []byte) { l4[1] = 1 })},
	{"ICMP code", transport(pkt.ProtoICMPv6, func(g *traffic, l4 []byte) { l4[1] = 1 })},
	{"UDP length", transport(pkt.ProtoUDP, func(g *traffic, l4 []byte) {
		put16(l4[4:], one(g.Chance, 0, 7, 8, 9, uint16(len(l4)-1), uint16(len(l4)+1)))
	})},
	{"no UDP checksum", transport(pkt.ProtoUDP, func(g *traffic, l4 []byte) { put16(l4[6:], 0) })},
	{"UDP checksum", transport(pkt.ProtoUDP, func(g *traffic, l4 []byte) { put16(l4[6:], one(g.Chance, 1, 0xffff, 0xfffe, uint16(g.Uint32()))) })},
	{"TCP checksum", transport(pkt.ProtoTCP, func(g *traffic, l4 []byte) {
		if len(l4) >= 20 {
			put16(l4[16:], one(g.Chance, 0, 1, 0xffff, 0xfffe, uint16(g.Uint32())))
		}
	})},
	{"TCP header length", transport(pkt.ProtoTCP, func(g *traffic, l4 []byte) {
		if len(l4) >= 20 {
			l4[12] = byte(g.IntN(16)) << 4
		}
	})},
}, headerSpoils...)

// outerSpoils are those of a tunnel's header besides.
var outerSpoils = append([]spoil{
	{"GRE flags", transport(pkt.ProtoGRE, func(g *traffic, l4 []byte) { l4[0] ^= byte(1 << g.IntN(8)) })},
	{"GRE version", transport(pkt.ProtoGRE, func(g *traffic, l4 []byte) { l4[1] ^= byte(1 << g.IntN(8)) })},
	{"GRE protocol", transport(pkt.ProtoGRE, func(g *traffic, l4 []byte) {
		put16(l4[2:], one[uint16](g.Chance, 0x0800, 0x86dd, 0x0806, 0x6558, 0))
	})},
	{"GRE key", transport(pkt.ProtoGRE, func(g *traffic, l4 []byte) { l4[4+g.IntN(4)] ^= byte(1 << g.IntN(8)) })},
	{"source", inPlace(func(g *traffic, b []byte) {
		if protoOf(b) == pkt.ProtoGRE && b[0]>>4 == 4 {
			copy(b[12:], []byte{198, 18, 0, byte(g.IntN(14))})
			if g.once(2) { // servers of both datacenters, and addresses of other uses
				copy(b[12:], one(g.Chance, []byte{172, 31, byte(1 + g.IntN(2)), byte(g.IntN(5))}, []byte{198, 51, 101, 1}, []byte{192, 0, 2, 1}))
			}
			sumHeader(b)
		}
	})},
	{"destination", inPlace(func(g *traffic, b []byte) {
		if protoOf(b) == pkt.ProtoGRE && b[0]>>4 == 4 {
			copy(b[16:], one(g.Chance, []byte{192, 0, 2, 1}, []byte{192, 0, 2, 2}, []byte{172, 31, 1, 1}, []byte{172, 31, 1, 2}, []byte{198, 51, 101, 1}, []byte{9, 9, 9, 9}))
			sumHeader(b)
		}
	})},
}, headerSpoils...)

func (g *traffic) spoilInner(c *packetCase, inner []byte) []byte {
	s := innerSpoils[g.IntN(len(innerSpoils))]
	c.names = append(c.names, s.name)
	if b := s.do(g, inner); len(b) > 0 {
		return b
	}
	return inner[:1]
}

func (g *traffic) spoilOuter(c *packetCase) {
	if len(c.packet) < ipv6Header {
		return // too spoiled already
	}
	s := outerSpoils[g.IntN(len(outerSpoils))]
	c.names = append(c.names, "outer "+s.name)
	c.packet = s.do(g, c.packet)
}

func setDst(b []byte, addr netip.Addr) {
	if addr.Is4() {
		copy(b[16:], addr.AsSlice())
		sumHeader(b)
		return
	}
	copy(b[24:], addr.AsSlice())
}
