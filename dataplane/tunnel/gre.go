package tunnel

import (
	"encoding/binary"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// GRE, RFC 2784 section 2 with the key of RFC 2890:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|C| |K|S| Reserved0       | Ver |         Protocol Type         |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|      Checksum (optional)      |       Reserved1 (Optional)    |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                         Key (optional)                        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
const (
	greChecksum = 0x8000
	greKey      = 0x2000
	// greRefused are the routing, sequence, strict route and recursion bits of
	// RFC 1701 and the version: RFC 2784 section 2.3 wants a packet with one of
	// them discarded. The other reserved bits are ignored on receipt. Sequence
	// numbers (RFC 2890) are not spoken: anycast cannot keep their order.
	greRefused = 0x4000 | 0x1000 | 0x0800 | 0x0400 | 0x0007
	greBase    = 4
	greField   = 4
)

// Protocol types of GRE: the EtherTypes of what is inside.
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeIPv6 = 0x86dd
)

// GREHeader is what stands in front of the inner packet. The zero value is no
// header.
type GREHeader struct {
	// Len is the header's length, bytes: where the inner packet starts.
	Len      int
	Key      uint32
	HasKey   bool
	Protocol uint16
}

// Version is the IP version that the header says is inside.
func (h *GREHeader) Version() uint8 {
	if h.Protocol == EtherTypeIPv6 {
		return 6
	}
	return 4
}

// ParseGRE reads the GRE header at the start of b, which ends with the inner
// packet. A header that is not version 0 with IPv4 or IPv6 inside, or whose
// checksum is wrong, is drop.BadTunnel; one that is cut off is drop.Malformed.
//
// verify is false where checksums inside b were left to the hardware: then a
// checksum over them cannot be right yet, and the sender's kernel vouches.
func ParseGRE(b []byte, verify bool) (GREHeader, drop.Reason) {
	if len(b) < greBase {
		return GREHeader{}, drop.Malformed
	}
	flags := binary.BigEndian.Uint16(b)
	h := GREHeader{Len: greBase, Protocol: binary.BigEndian.Uint16(b[2:]), HasKey: flags&greKey != 0}
	if flags&greRefused != 0 || h.Protocol != EtherTypeIPv4 && h.Protocol != EtherTypeIPv6 {
		return GREHeader{}, drop.BadTunnel
	}
	if flags&greChecksum != 0 {
		h.Len += greField
	}
	key := h.Len
	if h.HasKey {
		h.Len += greField
	}
	if len(b) < h.Len {
		return GREHeader{}, drop.Malformed
	}
	if flags&greChecksum != 0 && verify && checksum.Checksum(b, 0) != 0xffff {
		return GREHeader{}, drop.BadTunnel
	}
	if h.HasKey {
		h.Key = binary.BigEndian.Uint32(b[key:])
	}
	return h, drop.None
}

// Outer header sizes, bytes.
const (
	outerIPv4 = 20
	outerIPv6 = 40
	protoGRE  = 47
	// DefaultTTL is the outer TTL of a tunnel (SEMANTICS 2.9).
	DefaultTTL = 64
	// GREMTU is the largest inner packet of an unkeyed GRE tunnel over a path of
	// 1500 bytes (SEMANTICS 2.10).
	GREMTU = 1500 - outerIPv4 - greBase
	// GREMTU6 is GREMTU over IPv6.
	GREMTU6 = 1500 - outerIPv6 - greBase
)

// IsZero reports whether e asks for no outer header.
func (e *Encap) IsZero() bool { return !e.Dst.IsValid() }

// Overhead is what e puts in front of a packet, bytes; 0 for none.
func (e *Encap) Overhead() int {
	n := greBase
	switch {
	case e.IsZero():
		return 0
	case e.Dst.Is4():
		n += outerIPv4
	default:
		n += outerIPv6
	}
	if e.HasKey {
		n += greField
	}
	return n
}

// Append appends the outer header and then the inner packet to dst. Without an
// outer header it appends the packet alone.
func (e *Encap) Append(dst, inner []byte) []byte {
	return append(e.AppendHeader(dst, inner), inner...)
}

// AppendHeader appends the outer IP and GRE headers for inner, which is not
// copied: for drivers that write both with one vectored call. IPv4 goes out
// with DF and id 0, an atomic datagram by RFC 6864.
func (e *Encap) AppendHeader(dst, inner []byte) []byte {
	if e.IsZero() {
		return dst
	}
	at, gre := len(dst), e.Overhead()
	dst = extend(dst, gre)
	head := dst[at:]
	ttl := e.TTL
	if ttl == 0 {
		ttl = DefaultTTL
	}
	if e.Dst.Is4() {
		gre = outerIPv4
		src, to := e.Src.As4(), e.Dst.As4()
		head[0], head[6], head[8], head[9] = 0x45, 0x40, ttl, protoGRE
		binary.BigEndian.PutUint16(head[2:], uint16(len(head)+len(inner)))
		copy(head[12:], src[:])
		copy(head[16:], to[:])
		binary.BigEndian.PutUint16(head[10:], ^checksum.Checksum(head[:outerIPv4], 0))
	} else {
		gre = outerIPv6
		src, to := e.Src.As16(), e.Dst.As16()
		head[0], head[6], head[7] = 0x60, protoGRE, ttl
		binary.BigEndian.PutUint16(head[4:], uint16(len(head)-outerIPv6+len(inner)))
		copy(head[8:], src[:])
		copy(head[24:], to[:])
	}
	e.putGRE(head[gre:], inner)
	return dst
}

func (e *Encap) putGRE(b, inner []byte) {
	protocol := uint16(EtherTypeIPv4)
	if len(inner) > 0 && inner[0]>>4 == 6 {
		protocol = EtherTypeIPv6
	}
	var flags uint16
	if e.HasKey {
		flags = greKey
		binary.BigEndian.PutUint32(b[greBase:], e.Key)
	}
	binary.BigEndian.PutUint16(b, flags)
	binary.BigEndian.PutUint16(b[2:], protocol)
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

// InnerMTU is what a path of mtu bytes leaves for the packet inside e.
func (e *Encap) InnerMTU(mtu int) int { return mtu - e.Overhead() }
