package probe

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Header sizes and offsets within headers, bytes.
const (
	ipv4Least    = 20
	ipv6Size     = 40
	fragmentSize = 8 // of IPv6
	nextHeader   = 6
	source6      = 8
)

// Types of ICMP (RFC 792) and ICMPv6 (RFC 4443).
const (
	echoReply    = 0
	echoRequest  = 8
	echoRequest6 = 128
	echoReply6   = 129
)

// packet is what a tap reads of an Ethernet frame that passed a filter.
type packet struct {
	src, dst netip.Addr
	proto    uint8
	l4       []byte // at least 8 bytes, of a first fragment maybe
}

// parse reads the headers of a frame.
func parse(frame []byte) (p packet, ok bool) {
	if len(frame) < eth+ipv4Least {
		return p, false
	}
	ip := frame[eth:]
	h := int(ip[0]&15) * 4
	if binary.BigEndian.Uint16(frame[eth-2:]) == unix.ETH_P_IPV6 {
		if h = ipv6Size; len(ip) < h+fragmentSize {
			return p, false
		}
		p.src, p.dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
		if p.proto = ip[nextHeader]; p.proto == unix.IPPROTO_FRAGMENT {
			p.proto, h = ip[h], h+fragmentSize
		}
	} else {
		p.src, p.dst, p.proto = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20])), ip[9]
	}
	if h < ipv4Least || len(ip) < h+8 {
		return p, false
	}
	p.l4 = ip[h:]
	return p, true
}

// icmp says that it is ICMP of its family.
func (p *packet) icmp() bool { return p.proto == unix.IPPROTO_ICMP || p.proto == unix.IPPROTO_ICMPV6 }

// sport is the source port, or the id of an echo request.
func (p *packet) sport() uint16 {
	if p.icmp() {
		return binary.BigEndian.Uint16(p.l4[4:])
	}
	return binary.BigEndian.Uint16(p.l4)
}
