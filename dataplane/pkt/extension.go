package pkt

import (
	"encoding/binary"
	"net/netip"
)

// Protocol numbers of IPv6: the extension headers that are walked over (RFC 8200
// section 4), and none. Others, encrypted ones among them, are the packet's protocol.
const (
	protoHopByHop    = 0
	protoRouting     = 43
	protoFragment    = 44
	protoDestination = 60
	protoNone        = 59 // nothing follows
)

const (
	// extensionUnit is what an extension header's length counts, bytes; also the
	// size of a fragment header.
	extensionUnit = 8
	// maxExtensions bounds the walk: RFC 8200 section 4.1 lists six at most, and
	// who sends more wants to be slow to read.
	maxExtensions = 8
	segmentsLeft  = 3 // within a routing header
)

// upper is what stands behind the extension headers of an IPv6 packet.
type upper struct {
	// proto and at are the protocol and where its header starts.
	proto uint8
	at    int
	// fragment says at is a fragment header, which ends the walk.
	fragment bool
	// readable is false if the packet means another destination than its header
	// says, has too many headers, or one where none may be: then nobody should
	// translate it.
	readable bool
}

// walk steps over the extension headers of the IPv6 packet in b. ok is false if
// they are cut off.
func walk(b []byte) (u upper, ok bool) {
	u = upper{proto: b[nextHeader6], at: IPv6Header, readable: true}
	for n := 0; ; n++ {
		switch u.proto {
		case protoHopByHop, protoRouting, protoDestination:
		case protoFragment:
			u.fragment = true
			return u, len(b) >= u.at+extensionUnit
		default:
			return u, true
		}
		if len(b) < u.at+extensionUnit {
			return u, false
		}
		head := b[u.at:]
		switch {
		case n == maxExtensions, u.proto == protoHopByHop && n > 0, u.proto == protoRouting && head[segmentsLeft] != 0:
			u.readable = false
			return u, true
		}
		u.proto, u.at = head[0], u.at+(int(head[1])+1)*extensionUnit
		if u.at > len(b) {
			return u, false
		}
	}
}

// parse6 reads an IPv6 packet.
func (m *Meta) parse6(b []byte, quote bool) {
	if len(b) < IPv6Header {
		*m = Meta{}
		return
	}
	ip := (*[IPv6Header]byte)(b)
	total := IPv6Header + int(binary.BigEndian.Uint16(ip[length6:]))
	if total > len(b) && !quote || mapped(ip[srcOffset6:]) || mapped(ip[dstOffset6:]) {
		*m = Meta{}
		return
	}
	b = b[:min(total, len(b))]
	// Field by field, as in parse4.
	m.Src, m.Dst = netip.AddrFrom16([16]byte(ip[srcOffset6:])), netip.AddrFrom16([16]byte(ip[dstOffset6:]))
	m.Seq, m.Ack, m.Flags, m.ICMPType, m.ICMPCode = 0, 0, 0, 0, 0
	m.Len, m.L4, m.Payload, m.PayloadLen, m.SrcPort, m.DstPort = total, IPv6Header, 0, 0, 0, 0
	m.FragID, m.FragOffset, m.MoreFragments, m.DF = 0, 0, false, true
	m.Kind, m.Version, m.Proto, m.TTL = Malformed, 6, ip[nextHeader6], ip[ttlOffset6]
	switch m.Proto {
	case ProtoTCP, ProtoUDP, ProtoICMPv6:
		m.transport(b, quote)
		return
	}
	u, ok := walk(b)
	if !ok {
		*m = Meta{}
		return
	}
	m.Proto, m.L4 = u.proto, u.at
	switch {
	case u.fragment:
		m.fragment6(b[u.at:], quote)
		if m.Kind == Fragment {
			return
		}
		m.transport(b, quote)
	case !u.readable:
		m.Kind, m.Payload, m.PayloadLen = Other, m.L4, len(b)-m.L4
	default:
		m.transport(b, quote)
	}
}

// fragment6 reads a fragment header (RFC 8200 section 4.5). Every packet with
// one is a Fragment, but for the quote of a whole one.
func (m *Meta) fragment6(head []byte, quote bool) {
	field := binary.BigEndian.Uint16(head[2:])
	m.FragID = binary.BigEndian.Uint32(head[4:])
	m.FragOffset, m.MoreFragments = field&^7, field&1 != 0
	m.Proto, m.Kind = head[0], Fragment
	if quote && field&^6 == 0 {
		m.Kind, m.L4 = Malformed, m.L4+extensionUnit
	}
}

// mapped reports an IPv4-mapped address at the start of b. On the wire it means
// nothing (RFC 4291 section 2.5.5.2), and in a flow key it would be IPv4's.
func mapped(b []byte) bool {
	return binary.BigEndian.Uint64(b) == 0 && binary.BigEndian.Uint32(b[8:]) == 0xffff
}
