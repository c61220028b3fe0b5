package pkt

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Kind is what a packet is to a flow table.
type Kind uint8

const (
	// Malformed is not IP, or its headers lie about their length or checksum.
	Malformed Kind = iota
	TCP
	UDP
	// EchoRequest and EchoReply are ICMP or ICMPv6 echo messages.
	EchoRequest
	EchoReply
	// ICMPError quotes the packet it complains about; see Quoted.
	ICMPError
	// Fragment is any part of a fragmented packet, the first one included:
	// without the rest it is of no use.
	Fragment
	// Other is IP with a protocol or ICMP message this package does not read.
	Other
)

var kindNames = [...]string{"malformed", "tcp", "udp", "echo request", "echo reply", "icmp error", "fragment", "other"}

// String names the kind for people.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind?"
}

// IP protocol numbers.
const (
	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoGRE    = 47
	ProtoICMPv6 = 58
)

// TCP flags, RFC 9293 section 3.1.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE // RFC 3168
	CWR
)

// Header sizes, bytes.
const (
	IPv4Header = header.IPv4MinimumSize
	IPv6Header = header.IPv6MinimumSize
	TCPHeader  = header.TCPMinimumSize
	UDPHeader  = header.UDPMinimumSize
	ICMPHeader = header.ICMPv4MinimumSize
)

// Meta is what Parse reads of a packet. Offsets are from the IP header's first
// byte. The zero value describes a malformed packet.
type Meta struct {
	Src, Dst netip.Addr
	// Seq and Ack are TCP's.
	Seq, Ack uint32
	// Len is the packet's length as its IP header says, bytes; what the buffer
	// holds beyond that is link padding.
	Len int
	// L4 is where the transport header starts, Payload where it ends. Of an IPv6
	// fragment, L4 is the fragment header.
	L4, Payload int
	// PayloadLen is the transport payload, bytes.
	PayloadLen int
	// SrcPort and DstPort are the ports. An echo request carries its id in
	// SrcPort and 0 in DstPort, a reply the other way round, so that a reply
	// mirrors its request as it does for TCP and UDP.
	SrcPort, DstPort uint16
	// FragID, FragOffset (bytes) and MoreFragments describe a fragment.
	FragID        uint32
	FragOffset    uint16
	MoreFragments bool
	// DF is "don't fragment"; always true for IPv6.
	DF bool

	Kind    Kind
	Version uint8 // 4, 6, or 0 when the packet is not IP
	// Proto is the protocol behind all extension headers that could be read.
	Proto uint8
	TTL   uint8 // hop limit for IPv6
	Flags uint8 // TCP's
	// ICMPType and ICMPCode are set for every ICMP message.
	ICMPType, ICMPCode uint8
}

// Opens reports whether the packet may open a flow: a TCP SYN, UDP, or an ICMP
// echo request (SEMANTICS 1.3).
func (m *Meta) Opens() bool {
	switch m.Kind {
	case TCP:
		return m.Flags&(SYN|ACK|RST|FIN) == SYN
	case UDP, EchoRequest:
		return true
	}
	return false
}

// Parse reads the packet in b, from its IP header on, into m. It never fails:
// what cannot be read is Malformed or Other. m is overwritten.
func (m *Meta) Parse(b []byte) { m.parse(b, false) }

// ParseFirst is Parse for a first fragment, whose transport header is read as if
// the rest were there.
func (m *Meta) ParseFirst(b []byte) { m.parse(b, true) }

// parse also reads quotes: headers of a packet whose payload was cut off.
func (m *Meta) parse(b []byte, quote bool) {
	if len(b) >= IPv4Header {
		switch b[0] >> 4 {
		case 4:
			m.parse4(b, quote)
			return
		case 6:
			m.parse6(b, quote)
			return
		}
	}
	*m = Meta{}
}

func (m *Meta) parse4(b []byte, quote bool) {
	ip := (*[IPv4Header]byte)(b)
	head, total := int(ip[0]&0xf)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if head < IPv4Header || head > len(b) || total < head || total > len(b) && !quote || !quote && !HeaderSound(b[:head]) {
		*m = Meta{}
		return
	}
	frag := binary.BigEndian.Uint16(ip[6:])
	// Field by field: a literal would be built on the stack and copied, which
	// took a third of the time.
	m.Src, m.Dst = netip.AddrFrom4([4]byte(ip[srcOffset4:])), netip.AddrFrom4([4]byte(ip[dstOffset4:]))
	m.Seq, m.Ack, m.Flags, m.ICMPType, m.ICMPCode = 0, 0, 0, 0, 0
	m.Len, m.L4, m.Payload, m.PayloadLen, m.SrcPort, m.DstPort = total, head, 0, 0, 0, 0
	m.FragID, m.FragOffset, m.MoreFragments, m.DF = uint32(binary.BigEndian.Uint16(ip[4:])), 0, false, frag&0x4000 != 0
	m.Kind, m.Version, m.Proto, m.TTL = Malformed, 4, ip[9], ip[ttlOffset4]
	if frag&0x3fff != 0 {
		m.FragOffset, m.MoreFragments = frag&0x1fff<<3, frag&0x2000 != 0
		if !quote || m.FragOffset != 0 { // a quoted first fragment shows whose it is
			m.Kind = Fragment
			return
		}
	}
	m.transport(b[:min(total, len(b))], quote)
}

// HeaderSound reports whether the checksum of an IPv4 header is right. Headers
// without options, nearly all, are summed without a call: 2^32 is 1 modulo
// 2^16-1, so words of 32 bits may be added, in any byte order (RFC 1071 section
// 2), and the sum of a header, never zero, is right if it is 0 modulo 2^16-1.
func HeaderSound(head []byte) bool {
	if len(head) != IPv4Header {
		return checksum.Checksum(head, 0) == 0xffff
	}
	return Sound4((*[IPv4Header]byte)(head))
}

// Sound4 is HeaderSound of a header without options. In ones' complement numbers
// of any width that is a multiple of 16 may be added (RFC 1071 section 2), so
// these are of 64.
func Sound4(b *[IPv4Header]byte) bool {
	le := binary.LittleEndian
	sum, carry := bits.Add64(le.Uint64(b[0:]), le.Uint64(b[8:]), 0)
	sum, carry = bits.Add64(sum, uint64(le.Uint32(b[16:])), carry)
	return (sum+carry)%0xffff == 0 // no carry again: where there is one, sum is below 1<<32
}

// Number is an IP address as a number; IPv4 is mapped (RFC 4291 section
// 2.5.5.2), so that both families have one. It is quicker to pass on and to look
// up than netip.Addr.
type Number struct{ Hi, Lo uint64 }

// mapping is what stands above an IPv4 address in its Number.
const mapping = 0xffff

// Is4 reports whether the address is IPv4, which then is the low 32 bits of Lo.
func (n Number) Is4() bool { return n.Hi == 0 && n.Lo>>32 == mapping }

// NumberOf is the number of an address; of the zero Addr it is 0.
func NumberOf(a netip.Addr) Number {
	if a.Is4() {
		b := a.As4()
		return number4(b[:])
	}
	b := a.As16()
	return number6(b[:])
}

func number4(b []byte) Number {
	return Number{0, mapping<<32 | uint64(binary.BigEndian.Uint32(b))}
}

func number6(b []byte) Number {
	return Number{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

// Addr is the address that n is the number of.
func (n Number) Addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], n.Hi)
	binary.BigEndian.PutUint64(b[8:], n.Lo)
	return netip.AddrFrom16(b).Unmap()
}

// Outer is what matters of the IP header around a tunnel.
type Outer struct {
	Src, Dst Number
	// Head and Len are where the payload starts and ends.
	Head, Len int
	Proto     uint8
	Fragment  bool
}

// ParseOuter reads the IP header at the start of b without looking further; ok
// is false if it is malformed or not IP.
func ParseOuter(b []byte) (o Outer, ok bool) {
	if len(b) < IPv4Header || b[0]>>4 != 4 {
		return parseOuter6(b)
	}
	o = Outer{
		Src: number4(b[srcOffset4:]), Dst: number4(b[dstOffset4:]),
		Head: int(b[0]&0xf) * 4, Len: int(binary.BigEndian.Uint16(b[2:])), Proto: b[9],
		Fragment: (b[6]&0x3f)|b[7] != 0,
	}
	ok = o.Head >= IPv4Header && o.Head <= o.Len && o.Len <= len(b) && HeaderSound(b[:o.Head])
	return o, ok
}

// parseOuter6 steps over extension headers: Linux puts an encapsulation limit
// (RFC 2473 section 4.1.1) between IPv6 and GRE.
func parseOuter6(b []byte) (o Outer, ok bool) {
	if len(b) < IPv6Header || b[0]>>4 != 6 || mapped(b[srcOffset6:]) || mapped(b[dstOffset6:]) {
		return o, false
	}
	o = Outer{Src: number6(b[srcOffset6:]), Dst: number6(b[dstOffset6:]), Len: IPv6Header + int(binary.BigEndian.Uint16(b[length6:]))}
	if o.Len > len(b) {
		return o, false
	}
	u, ok := walk(b[:o.Len])
	o.Head, o.Proto, o.Fragment = u.at, u.proto, u.fragment
	if !u.readable {
		o.Proto = protoNone
	}
	return o, ok
}

// quoteMin is how much of the transport header an ICMP error quotes at least
// (RFC 792).
const quoteMin = 8

// transport reads what follows the IP header; b ends where the packet does.
func (m *Meta) transport(b []byte, quote bool) {
	l4 := b[m.L4:]
	switch {
	case m.Proto == ProtoTCP:
		m.tcp(l4, quote)
	case m.Proto == ProtoUDP:
		m.udp(l4, quote)
	case m.Proto == ProtoICMP && m.Version == 4:
		m.icmp(l4, uint8(header.ICMPv4Echo), uint8(header.ICMPv4EchoReply))
	case m.Proto == ProtoICMPv6 && m.Version == 6:
		m.icmp(l4, uint8(header.ICMPv6EchoRequest), uint8(header.ICMPv6EchoReply))
	default:
		m.Kind, m.Payload, m.PayloadLen = Other, m.L4, len(l4)
	}
}

func (m *Meta) tcp(l4 []byte, quote bool) {
	if quote && len(l4) >= quoteMin && len(l4) < TCPHeader {
		tcp := header.TCP(l4)
		m.SrcPort, m.DstPort, m.Seq = tcp.SourcePort(), tcp.DestinationPort(), tcp.SequenceNumber()
		m.Kind, m.Payload = TCP, m.L4+len(l4)
		return
	}
	if len(l4) < TCPHeader {
		return
	}
	tcp := header.TCP(l4)
	head := int(tcp.DataOffset())
	if head < TCPHeader || head > len(l4) && !quote {
		return
	}
	m.SrcPort, m.DstPort = tcp.SourcePort(), tcp.DestinationPort()
	m.Seq, m.Ack, m.Flags = tcp.SequenceNumber(), tcp.AckNumber(), uint8(tcp.Flags())
	m.Kind, m.Payload, m.PayloadLen = TCP, m.L4+head, m.Len-m.L4-head
}

func (m *Meta) udp(l4 []byte, quote bool) {
	if len(l4) < UDPHeader {
		return
	}
	udp := header.UDP(l4)
	size := int(udp.Length())
	if size < UDPHeader || size > len(l4) && !quote {
		return
	}
	if m.Version == 6 && udp.Checksum() == 0 && !quote { // RFC 8200 section 8.1
		return
	}
	m.SrcPort, m.DstPort = udp.SourcePort(), udp.DestinationPort()
	m.Kind, m.Payload, m.PayloadLen = UDP, m.L4+UDPHeader, size-UDPHeader
}

func (m *Meta) icmp(l4 []byte, request, reply uint8) {
	if len(l4) < ICMPHeader {
		return
	}
	m.ICMPType, m.ICMPCode = l4[0], l4[1]
	m.Payload, m.PayloadLen = m.L4+ICMPHeader, len(l4)-ICMPHeader
	id := uint16(l4[4])<<8 | uint16(l4[5])
	switch {
	case m.ICMPType == request && m.ICMPCode == 0:
		m.Kind, m.SrcPort = EchoRequest, id
	case m.ICMPType == reply && m.ICMPCode == 0:
		m.Kind, m.DstPort = EchoReply, id
	case m.quotes():
		m.Kind = ICMPError
	default:
		m.Kind = Other
	}
}

// quotes reports whether the ICMP message carries the packet it is about.
func (m *Meta) quotes() bool {
	if m.Version == 6 {
		return m.ICMPType < 128 // RFC 4443 section 2.1: errors have the high bit clear
	}
	switch header.ICMPv4Type(m.ICMPType) {
	case header.ICMPv4DstUnreachable, header.ICMPv4TimeExceeded, header.ICMPv4ParamProblem:
		return true
	}
	return false
}

// Turn exchanges source and destination, ports included: m is then the header of
// an answer.
func (m *Meta) Turn() {
	m.Src, m.Dst, m.SrcPort, m.DstPort = m.Dst, m.Src, m.DstPort, m.SrcPort
}

// Quoted reads the packet quoted by the ICMP error m in b into q, whose
// offsets are from the quote's own first byte. The quote starts at m.Payload.
// ok is false if too little is there to tell whose it is.
func (m *Meta) Quoted(b []byte, q *Meta) (ok bool) {
	if m.Kind != ICMPError {
		return false
	}
	q.parse(b[m.Payload:m.Len], true)
	switch q.Kind {
	case TCP, UDP, EchoRequest, EchoReply:
		return true
	}
	return false
}
