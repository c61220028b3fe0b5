package pkt

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const (
	// madeTTL is the TTL of packets that the dataplane makes itself.
	madeTTL = 64
	// quoteMax4 bounds an ICMP error to 576 bytes in all (RFC 1812 section
	// 4.3.2.3), quoteMax6 to the least MTU of IPv6 (RFC 4443 section 2.4).
	quoteMax4 = 576 - IPv4Header - ICMPHeader
	quoteMax6 = 1280 - IPv6Header - ICMPHeader
	// classE is the first byte from which IPv4 addresses are no hosts'.
	classE = 240
)

// complaint is type and code of one ICMP error in both families.
type complaint struct{ type4, code4, type6, code6 uint8 }

// tooBig is RFC 1191 section 4 and RFC 4443 section 3.2, timeExceeded RFC 792
// and RFC 4443 section 3.3, portUnreachable RFC 1122 section 3.2.2.1 and RFC 4443
// section 3.1, netUnreachable RFC 1812 section 4.3.3.1 and RFC 4443 section 3.1.
func tooBig() complaint          { return complaint{3, 4, 2, 0} }
func timeExceeded() complaint    { return complaint{11, 0, 3, 0} }
func portUnreachable() complaint { return complaint{3, 3, 1, 4} }
func netUnreachable() complaint  { return complaint{3, 0, 1, 0} }

// appendIP appends an IP header for size bytes of proto. Both addresses are of
// one family.
func appendIP(dst []byte, src, to netip.Addr, proto uint8, size int) []byte {
	at := len(dst)
	if src.Is4() {
		dst = append(dst, make([]byte, IPv4Header)...)
		ip := dst[at:]
		ip[0] = 0x45
		binary.BigEndian.PutUint16(ip[2:], uint16(IPv4Header+size))
		ip[6] = 0x40 // DF, so that the id may be 0 (RFC 6864)
		ip[ttlOffset4], ip[9] = madeTTL, proto
		s, d := src.As4(), to.As4()
		copy(ip[srcOffset4:], s[:])
		copy(ip[dstOffset4:], d[:])
		binary.BigEndian.PutUint16(ip[sumOffset4:], ^checksum.Checksum(ip, 0))
		return dst
	}
	dst = append(dst, make([]byte, IPv6Header)...)
	ip := dst[at:]
	ip[0] = 0x60
	binary.BigEndian.PutUint16(ip[length6:], uint16(size))
	ip[nextHeader6], ip[ttlOffset6] = proto, madeTTL
	s, d := src.As16(), to.As16()
	copy(ip[srcOffset6:], s[:])
	copy(ip[dstOffset6:], d[:])
	return dst
}

// AppendTooBig appends the ICMP error that tells the sender of the packet b to
// use mtu: "fragmentation needed" of RFC 1191, "packet too big" of RFC 4443. It
// comes from the packet's destination, the one address the sender knows to be on
// the path. segment is the payload per segment of a superpacket, or 0: the quote
// shows the packet as it was on the wire.
func (m *Meta) AppendTooBig(dst, b []byte, mtu int, segment uint16) []byte {
	return m.appendError(dst, b, m.Dst, tooBig(), uint16(mtu), segment)
}

// AppendTimeExceeded appends the ICMP error that the packet b's hops ran out,
// from a router's address of the packet's family; segment as in AppendTooBig.
// The caller has asked Blameable.
func (m *Meta) AppendTimeExceeded(dst, b []byte, from netip.Addr, segment uint16) []byte {
	return m.appendError(dst, b, from, timeExceeded(), 0, segment)
}

// AppendPortUnreachable appends the ICMP error that at the packet b's destination
// nobody listens. The caller has asked Blameable.
func (m *Meta) AppendPortUnreachable(dst, b []byte) []byte {
	return m.appendError(dst, b, m.Dst, portUnreachable(), 0, 0)
}

// AppendNetUnreachable appends the ICMP error that a router knows no way to where
// the packet b goes, from its address of the packet's family. The caller has asked
// Blameable.
func (m *Meta) AppendNetUnreachable(dst, b []byte, from netip.Addr) []byte {
	return m.appendError(dst, b, from, netUnreachable(), 0, 0)
}

// Blameable reports whether an ICMP error may be sent about the packet: not if
// it is one itself, a fragment other than the first, for many hosts, or from
// what is not one host (RFC 1812 section 4.3.2.7, RFC 4443 section 2.4).
func (m *Meta) Blameable() bool {
	switch {
	case m.Kind == ICMPError || m.Kind == Malformed || m.FragOffset != 0:
		return false
	case m.Dst.IsMulticast() || reserved(m.Dst):
		return false
	}
	return !m.Src.IsUnspecified() && !m.Src.IsMulticast() && !m.Src.IsLoopback() && !reserved(m.Src)
}

// reserved reports an IPv4 address of class E, the limited broadcast among them.
func reserved(a netip.Addr) bool { return a.Is4() && a.As4()[0] >= classE }

// appendError appends an ICMP error about the packet b; word is the second half
// of its second word, which the types share.
func (m *Meta) appendError(dst, b []byte, from netip.Addr, c complaint, word, segment uint16) []byte {
	proto, kind, code, most := uint8(ProtoICMP), c.type4, c.code4, quoteMax4
	if m.Version == 6 {
		proto, kind, code, most = ProtoICMPv6, c.type6, c.code6, quoteMax6
	}
	quote := b[:min(m.Len, most)]
	dst = appendIP(dst, from, m.Src, proto, ICMPHeader+len(quote))
	at := len(dst)
	dst = append(dst, kind, code, 0, 0, 0, 0, byte(word>>8), byte(word))
	dst = append(dst, quote...)
	if segment != 0 {
		m.shorten(dst[at+ICMPHeader:], m.Payload+int(segment))
	}
	sumICMP(dst[at:], from, m.Src)
	return dst
}

// shorten makes the header in b say that the packet has size bytes.
func (m *Meta) shorten(b []byte, size int) {
	if m.Version == 6 {
		binary.BigEndian.PutUint16(b[length6:], uint16(size-IPv6Header))
		return
	}
	d := swap16(b[2:], uint16(size))
	apply(b[sumOffset4:], d)
}

// sumICMP writes the checksum of an ICMP message. ICMPv6 has a pseudo header
// (RFC 4443 section 2.3).
func sumICMP(icmp []byte, src, dst netip.Addr) {
	var sum uint16
	if src.Is6() {
		sum = pseudo(src, dst, ProtoICMPv6, len(icmp))
	}
	binary.BigEndian.PutUint16(icmp[icmpSumOffset:], 0)
	binary.BigEndian.PutUint16(icmp[icmpSumOffset:], ^checksum.Checksum(icmp, sum))
}

// AppendReset appends the TCP RST that answers the segment m (RFC 9293
// section 3.10.7.1). The caller has made sure that m is not itself a reset.
func (m *Meta) AppendReset(dst []byte) []byte {
	seq, ack, flags := m.Ack, uint32(0), uint8(RST)
	if m.Flags&ACK == 0 {
		seq, ack, flags = 0, m.Seq+m.SeqLen(), RST|ACK
	}
	return AppendSegment(dst, netip.AddrPortFrom(m.Dst, m.DstPort), netip.AddrPortFrom(m.Src, m.SrcPort), flags, seq, ack)
}

// AppendSegment appends a TCP segment without payload or options.
func AppendSegment(dst []byte, from, to netip.AddrPort, flags uint8, seq, ack uint32) []byte {
	dst = appendIP(dst, from.Addr(), to.Addr(), ProtoTCP, TCPHeader)
	at := len(dst)
	dst = append(dst, make([]byte, TCPHeader)...)
	tcp := header.TCP(dst[at:])
	tcp.Encode(&header.TCPFields{
		SrcPort: from.Port(), DstPort: to.Port(), SeqNum: seq, AckNum: ack, DataOffset: TCPHeader, Flags: header.TCPFlags(flags),
	})
	tcp.SetChecksum(^checksum.Checksum(tcp, pseudo(from.Addr(), to.Addr(), ProtoTCP, TCPHeader)))
	return dst
}

// SeqLen is how much of the sequence space a TCP segment takes: payload, SYN
// and FIN (RFC 9293 section 3.4).
func (m *Meta) SeqLen() uint32 {
	n := uint32(m.PayloadLen)
	if m.Flags&SYN != 0 {
		n++
	}
	if m.Flags&FIN != 0 {
		n++
	}
	return n
}

// pseudo is the pseudo header's sum; a size fits in 16 bits, so it is the same
// in both families (RFC 9293 section 3.1, RFC 8200 section 8.1).
func pseudo(src, dst netip.Addr, proto uint8, size int) uint16 {
	s, d := NumberOf(src), NumberOf(dst)
	if src.Is4() { // without the mapping
		s.Lo, d.Lo = s.Lo&0xffffffff, d.Lo&0xffffffff
	}
	return fold(0, squeeze(halves(s.Hi)+halves(s.Lo)+halves(d.Hi)+halves(d.Lo))+uint32(proto)+uint32(size))
}

// RefreshICMP writes the checksum of the ICMP message in b anew, after its quote
// was translated.
func (m *Meta) RefreshICMP(b []byte) { sumICMP(b[m.L4:m.Len], m.Src, m.Dst) }
