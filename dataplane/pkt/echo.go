package pkt

import (
	"encoding/binary"
	"net/netip"
)

// Types of ICMP and ICMPv6 echo messages (RFC 792, RFC 4443 section 4).
const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
)

// AppendEcho appends an echo message without payload: a reply if so asked, else
// a request.
func AppendEcho(dst []byte, from, to netip.Addr, reply bool, id, seq uint16) []byte {
	proto, kind := uint8(ProtoICMP), uint8(echoRequest4)
	switch {
	case from.Is6() && reply:
		proto, kind = ProtoICMPv6, echoReply6
	case from.Is6():
		proto, kind = ProtoICMPv6, echoRequest6
	case reply:
		kind = echoReply4
	}
	dst = appendIP(dst, from, to, proto, ICMPHeader)
	at := len(dst)
	dst = append(dst, kind, 0, 0, 0, byte(id>>8), byte(id), byte(seq>>8), byte(seq))
	sumICMP(dst[at:], from, to)
	return dst
}

// AppendEchoReply appends the answer to the echo request m in b.
func (m *Meta) AppendEchoReply(dst, b []byte) []byte {
	icmp := b[m.L4:m.Len]
	proto, kind := uint8(ProtoICMP), uint8(echoReply4)
	if m.Version == 6 {
		proto, kind = ProtoICMPv6, echoReply6
	}
	dst = appendIP(dst, m.Dst, m.Src, proto, len(icmp))
	at := len(dst)
	dst = append(dst, icmp...)
	dst[at] = kind
	sumICMP(dst[at:], m.Dst, m.Src)
	return dst
}

// EchoSeq is the sequence number of the echo message m in b.
func (m *Meta) EchoSeq(b []byte) uint16 { return binary.BigEndian.Uint16(b[m.L4+6:]) }

// TooBig is the MTU that the ICMP error m in b tells to use: "fragmentation
// needed" of RFC 1191, "packet too big" of RFC 4443; ok is false for any other.
func (m *Meta) TooBig(b []byte) (mtu int, ok bool) {
	switch {
	case m.Kind != ICMPError:
		return 0, false
	case m.Version == 4 && m.ICMPType == 3 && m.ICMPCode == 4:
		return int(binary.BigEndian.Uint16(b[m.L4+6:])), true
	case m.Version == 6 && m.ICMPType == 2:
		return int(binary.BigEndian.Uint32(b[m.L4+4:])), true
	}
	return 0, false
}

// PortUnreachable reports whether an ICMP error says that nobody listens.
func (m *Meta) PortUnreachable() bool {
	return m.Kind == ICMPError && (m.Version == 4 && m.ICMPType == 3 && m.ICMPCode == 3 || m.Version == 6 && m.ICMPType == 1 && m.ICMPCode == 4)
}
