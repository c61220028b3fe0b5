package tunnel

import (
	"encoding/binary"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// Encap is an outer header to write. The zero value means none.
type Encap struct {
	Src, Dst netip.Addr
	// Proto says what stands between the outer IP header and the packet.
	Proto Proto
	// Key is the GRE key (RFC 2890), present if HasKey.
	Key    uint32
	HasKey bool
	// TTL of the outer header; 0 means DefaultTTL.
	TTL uint8
	// SrcPort and DstPort are those of UDP and GUE.
	SrcPort, DstPort uint16
	// Context is that of GUE, and Valid then.
	Context GUEContext
}

// Proto is what an Encap puts between the outer IP header and the packet.
type Proto uint8

const (
	// ViaGRE is a GRE header (RFC 2784), the zero value.
	ViaGRE Proto = iota
	// ViaGUE is a UDP header and a GUE header with Context: every packet says
	// whose it is.
	ViaGUE
	// ViaUDP is a UDP header alone: a datagram of a connected tunnel.
	ViaUDP
)

// Outer header sizes, bytes.
const (
	outerIPv4    = 20
	outerIPv6    = 40
	protoGRE     = 47
	udpHeader    = 8
	udpSumOffset = 6
	protoUDP     = 17
	// DefaultTTL is the outer TTL of a tunnel (SEMANTICS 2.9).
	DefaultTTL = 64
	// GREMTU is the largest inner packet of an unkeyed GRE tunnel over a path of
	// 1500 bytes (SEMANTICS 2.10).
	GREMTU = 1500 - outerIPv4 - greBase
	// GREMTU6 is GREMTU over IPv6.
	GREMTU6 = 1500 - outerIPv6 - greBase
	// UDPMTU is the largest inner packet of a connected tunnel over UDP and a
	// path of 1500 bytes, UDPMTU6 over IPv6.
	UDPMTU  = 1500 - outerIPv4 - udpHeader
	UDPMTU6 = 1500 - outerIPv6 - udpHeader
)

// IsZero reports whether e asks for no outer header.
func (e *Encap) IsZero() bool { return !e.Dst.IsValid() }

// Overhead is what e puts in front of a packet, bytes; 0 for none.
func (e *Encap) Overhead() int {
	switch {
	case e.IsZero():
		return 0
	case e.Dst.Is4():
		return outerIPv4 + e.shim()
	}
	return outerIPv6 + e.shim()
}

// shim is the size of what stands between the outer IP header and the packet.
func (e *Encap) shim() int {
	switch {
	case e.Proto == ViaUDP:
		return udpHeader
	case e.Proto == ViaGUE:
		return udpHeader + e.Context.Len()
	case e.HasKey:
		return greBase + greField
	}
	return greBase
}

// InnerMTU is what a path of mtu bytes leaves for the packet inside e.
func (e *Encap) InnerMTU(mtu int) int { return mtu - e.Overhead() }

// Append appends the outer header and then the inner packet to dst. Without an
// outer header it appends the packet alone.
func (e *Encap) Append(dst, inner []byte) []byte {
	return append(e.AppendHeader(dst, inner), inner...)
}

// AppendHeader appends the outer headers for inner, which is not copied: for
// drivers that write both with one vectored call. Source and destination are of
// one family. IPv4 goes out with DF and id 0, an atomic datagram by RFC 6864,
// and UDP in it without checksum; over IPv6 the checksum covers inner, whose own
// checksums must be complete for that. What the outer header says of
// congestion it has from inner (RFC 6040 section 4.1, normal mode).
func (e *Encap) AppendHeader(dst, inner []byte) []byte {
	if e.IsZero() {
		return dst
	}
	at, shim := len(dst), outerIPv4
	dst = extend(dst, e.Overhead())
	head := dst[at:]
	ttl, proto := e.TTL, uint8(protoUDP)
	if ttl == 0 {
		ttl = DefaultTTL
	}
	if e.Proto == ViaGRE {
		proto = protoGRE
	}
	if e.Dst.Is4() {
		src, to := e.Src.As4(), e.Dst.As4()
		head[0], head[1], head[6], head[8], head[9] = 0x45, byte(ECNOf(inner)), 0x40, ttl, proto
		binary.BigEndian.PutUint16(head[2:], uint16(len(head)+len(inner)))
		copy(head[12:], src[:])
		copy(head[16:], to[:])
		binary.BigEndian.PutUint16(head[10:], ^checksum.Checksum(head[:outerIPv4], 0))
	} else {
		shim = outerIPv6
		src, to := e.Src.As16(), e.Dst.As16()
		head[0], head[6], head[7] = 0x60, proto, ttl
		pkt.SetECN(head, ECNOf(inner))
		binary.BigEndian.PutUint16(head[4:], uint16(len(head)-outerIPv6+len(inner)))
		copy(head[8:], src[:])
		copy(head[24:], to[:])
	}
	if e.Proto == ViaGRE {
		e.putGRE(head[shim:], inner)
	} else {
		e.putUDP(head[shim:], inner)
	}
	return dst
}

// putUDP writes the UDP header and, for GUE, what follows it; both have an even
// length, so that the checksums of headers and packet add up.
func (e *Encap) putUDP(b, inner []byte) {
	binary.BigEndian.PutUint16(b, e.SrcPort)
	binary.BigEndian.PutUint16(b[2:], e.DstPort)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)+len(inner)))
	if e.Proto == ViaGUE {
		PutGUE(b[udpHeader:], e.Context, inner)
	}
	if e.Dst.Is4() {
		return
	}
	sum := checksum.Checksum(b, udpPseudo(e.Src, e.Dst, len(b)+len(inner)))
	sum = ^checksum.Checksum(inner, sum)
	if sum == 0 {
		sum = 0xffff // 0 would say "none" (RFC 768)
	}
	binary.BigEndian.PutUint16(b[udpSumOffset:], sum)
}

// UDPPayload reads the UDP header at the start of b, the payload of an IP packet
// from src to dst that is not a fragment, and returns its ports and what it
// carries. A length that lies is drop.Malformed, and drop.BadTunnel is a wrong
// checksum or none over IPv6.
//
// verify is false where the checksum was left to the hardware.
func UDPPayload(src, dst netip.Addr, b []byte, verify bool) (srcPort, dstPort uint16, payload []byte, reason drop.Reason) {
	if len(b) < udpHeader {
		return 0, 0, nil, drop.Malformed
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	if size < udpHeader || size > len(b) {
		return 0, 0, nil, drop.Malformed
	}
	b = b[:size]
	none := b[udpSumOffset]|b[udpSumOffset+1] == 0
	if verify && (none && !dst.Is4() || !none && checksum.Checksum(b, udpPseudo(src, dst, size)) != 0xffff) {
		return 0, 0, nil, drop.BadTunnel
	}
	return binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), b[udpHeader:], drop.None
}

// udpPseudo is the sum of UDP's pseudo header; an IPv4 and an IPv6 address sum
// up the same way (RFC 768, RFC 8200 section 8.1).
func udpPseudo(src, dst netip.Addr, size int) uint16 {
	s, d := src.As16(), dst.As16()
	from := 0
	if dst.Is4() {
		from = 12
	}
	sum := checksum.Combine(checksum.Checksum(s[from:], 0), checksum.Checksum(d[from:], 0))
	return checksum.Combine(sum, checksum.Combine(protoUDP, uint16(size)))
}

// Headers of TCP and of IPv4 or IPv6 without options, bytes.
const (
	tcpipv4 = 40
	tcpipv6 = 60
)

// MSS is the largest TCP payload of a packet of mtu bytes over IPv4: 1436 for
// GREMTU (SEMANTICS 2.10). Options shorten the payload, not the MSS (RFC 6691).
func MSS(mtu int) uint16 { return payload(mtu, tcpipv4) }

// MSS6 is MSS over IPv6: 1416 for GREMTU.
func MSS6(mtu int) uint16 { return payload(mtu, tcpipv6) }

func payload(mtu, headers int) uint16 { return uint16(min(max(mtu-headers, 0), 0xffff)) }
