package pkt

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Offsets within headers.
const (
	length6                  = 4
	nextHeader6              = 6
	ttlOffset4, ttlOffset6   = 8, 7
	sumOffset4               = 10
	srcOffset4, srcOffset6   = 12, 8
	dstOffset4, dstOffset6   = 16, 24
	srcPortOffset            = 0
	dstPortOffset            = 2
	tcpSumOffset             = header.TCPChecksumOffset
	udpSumOffset             = 6
	icmpSumOffset            = 2
	icmpIDOffset             = 4
	mssKind, mssLen          = 2, 4
	optionEnd, optionPadding = 0, 1
)

// delta is the change of an Internet checksum's sum when old becomes new: RFC
// 1624 equation 3, the part in brackets. Deltas of a few words add up in 32 bits
// and are folded when they are applied.
func delta(old, new uint16) uint32 { return uint32(^old) + uint32(new) }

// fold adds d to the ones' complement sum.
func fold(sum uint16, d uint32) uint16 {
	d += uint32(sum)
	d = d>>16 + d&0xffff
	return uint16(d>>16 + d)
}

// apply changes the complete checksum at b by d: the field holds the complement
// of the sum.
func apply(b []byte, d uint32) {
	binary.BigEndian.PutUint16(b, ^fold(^binary.BigEndian.Uint16(b), d))
}

// applyPartial changes a checksum that was left to the hardware: the field holds
// the pseudo header's sum itself.
func applyPartial(b []byte, d uint32) {
	binary.BigEndian.PutUint16(b, fold(binary.BigEndian.Uint16(b), d))
}

// swapAddr writes addr at b and returns the delta; b and addr are of one family.
func swapAddr(b []byte, addr netip.Addr) uint32 {
	if addr.Is4() {
		a := addr.As4()
		old, new := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(a[:])
		binary.BigEndian.PutUint32(b, new)
		return ^old>>16 + ^old&0xffff + new>>16 + new&0xffff
	}
	a := addr.As16()
	old, new := number6(b), number6(a[:])
	binary.BigEndian.PutUint64(b, new.Hi)
	binary.BigEndian.PutUint64(b[8:], new.Lo)
	// Words of 32 bits add up like those of 16, see HeaderSound.
	return squeeze(halves(^old.Hi) + halves(^old.Lo) + halves(new.Hi) + halves(new.Lo))
}

// halves is the sum of both halves of v.
func halves(v uint64) uint64 { return v>>32 + v&0xffffffff }

// squeeze makes a sum of a few words of 32 bits a delta.
func squeeze(sum uint64) uint32 {
	sum = halves(sum)
	return uint32(sum>>16 + sum&0xffff)
}

// swap16 writes v at b and returns the delta.
func swap16(b []byte, v uint16) uint32 {
	d := delta(binary.BigEndian.Uint16(b), v)
	binary.BigEndian.PutUint16(b, v)
	return d
}

// SetSrc rewrites source address and port in place and keeps m and every
// checksum true. For an echo request the port is the id; for other ICMP it is
// ignored. addr must be of the packet's family.
func (m *Meta) SetSrc(b []byte, addr netip.Addr, port uint16, off Offload) {
	at := srcOffset4
	if m.Version == 6 {
		at = srcOffset6
	}
	d := swapAddr(b[at:], addr)
	m.Src = addr
	id := m.Kind == EchoRequest
	m.translate(b, d, srcPortOffset, port, id, off)
	if id || m.Kind == TCP || m.Kind == UDP {
		m.SrcPort = port
	}
}

// SetDst is SetSrc for the destination; for an echo reply the port is the id.
func (m *Meta) SetDst(b []byte, addr netip.Addr, port uint16, off Offload) {
	at := dstOffset4
	if m.Version == 6 {
		at = dstOffset6
	}
	d := swapAddr(b[at:], addr)
	m.Dst = addr
	id := m.Kind == EchoReply
	m.translate(b, d, dstPortOffset, port, id, off)
	if id || m.Kind == TCP || m.Kind == UDP {
		m.DstPort = port
	}
}

// translate folds an address change d into the checksums, and changes the port
// at portAt (or the echo id) with it. It serves quotes too, whose transport
// header may be cut after eight bytes: then the checksum is left out.
func (m *Meta) translate(b []byte, d uint32, portAt int, port uint16, id bool, off Offload) {
	if m.Version == 4 {
		apply(b[sumOffset4:], d)
	}
	l4 := b[m.L4:]
	switch m.Kind {
	case TCP:
		p := swap16(l4[portAt:], port)
		switch {
		case len(l4) < tcpSumOffset+2:
		case off.Partial:
			applyPartial(l4[tcpSumOffset:], d)
		default:
			apply(l4[tcpSumOffset:], d+p)
		}
	case UDP:
		p := swap16(l4[portAt:], port)
		if off.Partial {
			applyPartial(l4[udpSumOffset:], d)
			return
		}
		m.applyUDP(l4[udpSumOffset:], d+p)
	case EchoRequest, EchoReply, ICMPError:
		var p uint32
		if id {
			p = swap16(l4[icmpIDOffset:], port)
		}
		switch {
		case m.Version == 4 && !off.Partial:
			apply(l4[icmpSumOffset:], p)
		case m.Version == 6 && !off.Partial: // ICMPv6 has a pseudo header, RFC 4443 section 2.3
			apply(l4[icmpSumOffset:], d+p)
		case m.Version == 6:
			applyPartial(l4[icmpSumOffset:], d)
		}
	}
}

// applyUDP knows that an IPv4 checksum of 0 means none, and that a computed 0
// is sent as 0xffff (RFC 768).
func (m *Meta) applyUDP(sum []byte, d uint32) {
	if m.Version == 4 && sum[0] == 0 && sum[1] == 0 {
		return
	}
	apply(sum, d)
	if sum[0] == 0 && sum[1] == 0 {
		sum[0], sum[1] = 0xff, 0xff
	}
}

// hopDelta is the delta of a word whose high byte, the TTL, falls by one.
const hopDelta = 0xffff - 0x100

// DecTTL lowers TTL or hop limit by one. The caller has made sure that it is
// more than 1.
func (m *Meta) DecTTL(b []byte) {
	m.TTL--
	if m.Version == 6 {
		b[ttlOffset6] = m.TTL
		return
	}
	b[ttlOffset4] = m.TTL
	apply(b[sumOffset4:], hopDelta)
}

// DecTTL4 is DecTTL of an IPv4 header that was not parsed. To lower the high byte
// of a word by one adds 0x100 to the checksum, and 0x101 less one when that
// carries (RFC 1624 section 4: the sum of 0 is never written as 0xffff).
func DecTTL4(b *[IPv4Header]byte) {
	b[ttlOffset4]--
	sum := uint32(binary.BigEndian.Uint16(b[sumOffset4:])) + 0x101
	binary.BigEndian.PutUint16(b[sumOffset4:], uint16(sum+sum>>16-1))
}

// ClampMSS lowers every MSS option of a TCP SYN to at most mss and reports
// whether it changed anything. A SYN without the option is left alone: its
// sender gets 536 by RFC 9293 section 3.7.1. Junk options end the walk.
func (m *Meta) ClampMSS(b []byte, mss uint16, off Offload) bool {
	return m.Flags&SYN != 0 && m.Kind == TCP && m.clampMSS(b, mss, off)
}

func (m *Meta) clampMSS(b []byte, mss uint16, off Offload) bool {
	l4 := b[m.L4:m.Payload]
	changed := false
	for i := TCPHeader; i < len(l4); {
		switch l4[i] {
		case optionEnd:
			return changed
		case optionPadding:
			i++
			continue
		}
		if i+1 >= len(l4) || l4[i+1] < 2 || i+int(l4[i+1]) > len(l4) {
			return changed
		}
		size := int(l4[i+1])
		if l4[i] == mssKind && size == mssLen && binary.BigEndian.Uint16(l4[i+2:]) > mss {
			d := swap16(l4[i+2:], mss)
			if i%2 == 1 { // the value straddles two checksum words
				d = swapBytes(d)
			}
			if !off.Partial {
				apply(l4[tcpSumOffset:], d)
			}
			changed = true
		}
		i += size
	}
	return changed
}

// swapBytes is a delta of words whose bytes lie the other way round.
func swapBytes(d uint32) uint32 {
	d = d>>16 + d&0xffff
	return uint32(bits.ReverseBytes16(uint16(d>>16 + d)))
}

// FillChecksum completes a checksum that was left to the hardware, for packets
// that will be cut up or end inside this machine. Only TCP and UDP have one.
func (m *Meta) FillChecksum(b []byte) {
	var at int
	switch m.Kind {
	case TCP:
		at = tcpSumOffset
	case UDP:
		at = udpSumOffset
	default:
		return
	}
	l4 := b[m.L4:m.Len]
	// The field holds the pseudo header's sum, so summing it in is right.
	sum := ^checksum.Checksum(l4, 0)
	if m.Kind == UDP && sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(l4[at:], sum)
}
