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
