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
	// quoteMax bounds an ICMP error to 576 bytes in all (RFC 1812 section 4.3.2.3).
	quoteMax = 576 - IPv4Header - ICMPHeader
	// Type and code of RFC 1191 section 4.
	icmpUnreachable = 3
	icmpFragNeeded  = 4
	// Type and code of RFC 792, "Time Exceeded Message".
	icmpTimeExceeded = 11
	icmpInTransit    = 0
	// classE is the first byte from which IPv4 addresses are no hosts'.
	classE = 240
)

// appendIPv4 appends an IPv4 header for size bytes of proto.
func appendIPv4(dst []byte, src, to netip.Addr, proto uint8, size int) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, IPv4Header)...)
	ip := dst[at:]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(IPv4Header+size))
	ip[6] = 0x40 // DF, so that the id may be 0 (RFC 6864)
	ip[8], ip[9] = madeTTL, proto
	s, d := src.As4(), to.As4()
	copy(ip[srcOffset4:], s[:])
	copy(ip[dstOffset4:], d[:])
	binary.BigEndian.PutUint16(ip[sumOffset4:], ^checksum.Checksum(ip, 0))
	return dst
}

// AppendFragNeeded appends the ICMP "fragmentation needed" of RFC 1191 that
// tells the sender of the IPv4 packet b to use mtu. It comes from the packet's
// destination, the one address the sender knows to be on the path. segment is
// the payload per segment of a superpacket, or 0: the quote shows the packet as
// it was on the wire.
func (m *Meta) AppendFragNeeded(dst, b []byte, mtu int, segment uint16) []byte {
	return m.appendError(dst, b, m.Dst, icmpUnreachable, icmpFragNeeded, uint16(mtu), segment)
}

// AppendTimeExceeded appends the ICMP "time to live exceeded in transit" of RFC
// 792 from a router's address from about the IPv4 packet b; segment as in
// AppendFragNeeded. The caller has asked Blameable.
func (m *Meta) AppendTimeExceeded(dst, b []byte, from netip.Addr, segment uint16) []byte {
	return m.appendError(dst, b, from, icmpTimeExceeded, icmpInTransit, 0, segment)
}

// Blameable reports whether an ICMP error may be sent about the packet: not if
// it is one itself, a fragment other than the first, for many hosts, or from
// what is not one host (RFC 1812 section 4.3.2.7).
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
// of its fourth word, which the types share.
func (m *Meta) appendError(dst, b []byte, from netip.Addr, kind, code uint8, word, segment uint16) []byte {
	quote := b[:min(m.Len, quoteMax)]
	dst = appendIPv4(dst, from, m.Src, ProtoICMP, ICMPHeader+len(quote))
	at := len(dst)
	dst = append(dst, kind, code, 0, 0, 0, 0, byte(word>>8), byte(word))
	dst = append(dst, quote...)
	if segment != 0 {
		ip := dst[at+ICMPHeader:]
		d := swap16(ip[2:], uint16(m.Payload+int(segment)))
		apply(ip[sumOffset4:], d)
	}
	icmp := dst[at:]
	binary.BigEndian.PutUint16(icmp[icmpSumOffset:], ^checksum.Checksum(icmp, 0))
	return dst
}

// AppendReset appends the TCP RST that answers the IPv4 segment m (RFC 9293
// section 3.10.7.1). The caller has made sure that m is not itself a reset.
func (m *Meta) AppendReset(dst []byte) []byte {
	dst = appendIPv4(dst, m.Dst, m.Src, ProtoTCP, TCPHeader)
	at := len(dst)
	dst = append(dst, make([]byte, TCPHeader)...)
	tcp := header.TCP(dst[at:])
	fields := header.TCPFields{SrcPort: m.DstPort, DstPort: m.SrcPort, DataOffset: TCPHeader, Flags: header.TCPFlagRst}
	if m.Flags&ACK != 0 {
		fields.SeqNum = m.Ack
	} else {
		fields.AckNum, fields.Flags = m.Seq+m.SeqLen(), header.TCPFlagRst|header.TCPFlagAck
	}
	tcp.Encode(&fields)
	tcp.SetChecksum(^checksum.Checksum(tcp, pseudo(m.Dst, m.Src, ProtoTCP, TCPHeader)))
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

// pseudo is the pseudo header's sum.
func pseudo(src, dst netip.Addr, proto uint8, size int) uint16 {
	sum := checksum.Combine(checksum.Checksum(src.AsSlice(), 0), checksum.Checksum(dst.AsSlice(), 0))
	return checksum.Combine(sum, checksum.Combine(uint16(proto), uint16(size)))
}

// RefreshICMP writes the checksum of the ICMP (not ICMPv6) message in b anew,
// after its quote was translated.
func (m *Meta) RefreshICMP(b []byte) {
	icmp := b[m.L4:m.Len]
	binary.BigEndian.PutUint16(icmp[icmpSumOffset:], 0)
	binary.BigEndian.PutUint16(icmp[icmpSumOffset:], ^checksum.Checksum(icmp, 0))
}
