package host

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// ttl of what hosts send.
const ttl = 64

// header appends an IP header for size bytes of payload. Without df an IPv4
// packet may be cut on its way, and needs an id for that (RFC 6864).
func header(dst []byte, from, to netip.Addr, proto uint8, size int, df bool, id uint16) []byte {
	at := len(dst)
	if from.Is4() {
		dst = append(dst, make([]byte, pkt.IPv4Header)...)
		ip := dst[at:]
		ip[0], ip[8], ip[9] = 0x45, ttl, proto
		binary.BigEndian.PutUint16(ip[2:], uint16(pkt.IPv4Header+size))
		if df {
			ip[6] = 0x40
		} else {
			binary.BigEndian.PutUint16(ip[4:], id)
		}
		src, end := from.As4(), to.As4()
		copy(ip[12:], src[:])
		copy(ip[16:], end[:])
		binary.BigEndian.PutUint16(ip[10:], ^checksum.Checksum(ip, 0))
		return dst
	}
	dst = append(dst, make([]byte, pkt.IPv6Header)...)
	ip := dst[at:]
	ip[0], ip[6], ip[7] = 0x60, proto, ttl
	binary.BigEndian.PutUint16(ip[4:], uint16(size))
	src, end := from.As16(), to.As16()
	copy(ip[8:], src[:])
	copy(ip[24:], end[:])
	return dst
}

// pseudo is the sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section
// 8.1); both families sum up alike.
func pseudo(from, to netip.Addr, proto uint8, size int) uint16 {
	s, d := from.AsSlice(), to.AsSlice()
	sum := checksum.Combine(checksum.Checksum(s, 0), checksum.Checksum(d, 0))
	return checksum.Combine(sum, checksum.Combine(uint16(proto), uint16(size)))
}

// udp makes a datagram of size bytes of payload, which begins with head.
func (s *Stack) udp(from, to netip.AddrPort, head []byte, size int) []byte {
	total := pkt.UDPHeader + size
	b := s.ip(from.Addr(), to.Addr(), pkt.ProtoUDP, total)
	u := b[len(b)-total:]
	binary.BigEndian.PutUint16(u, from.Port())
	binary.BigEndian.PutUint16(u[2:], to.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(total))
	copy(u[pkt.UDPHeader:], head)
	sum := ^checksum.Checksum(u, pseudo(from.Addr(), to.Addr(), pkt.ProtoUDP, total))
	if sum == 0 {
		sum = 0xffff // 0 would say "none" (RFC 768)
	}
	binary.BigEndian.PutUint16(u[6:], sum)
	return b
}

// ping makes an echo message of size bytes of payload, which begins with head: a
// reply if so asked, else a request.
func (s *Stack) ping(from, to netip.Addr, reply bool, id, seq uint16, head []byte, size int) []byte {
	total := pkt.ICMPHeader + size
	proto, kind := uint8(pkt.ProtoICMP), uint8(8)
	switch {
	case from.Is6() && reply:
		proto, kind = pkt.ProtoICMPv6, 129
	case from.Is6():
		proto, kind = pkt.ProtoICMPv6, 128
	case reply:
		kind = 0
	}
	b := s.ip(from, to, proto, total)
	e := b[len(b)-total:]
	e[0] = kind
	binary.BigEndian.PutUint16(e[4:], id)
	binary.BigEndian.PutUint16(e[6:], seq)
	copy(e[pkt.ICMPHeader:], head)
	sum := uint16(0)
	if from.Is6() {
		sum = pseudo(from, to, proto, total)
	}
	binary.BigEndian.PutUint16(e[2:], ^checksum.Checksum(e, sum))
	return b
}

// ip makes room for a packet and writes its IP header. What fits the path goes
// as one packet that must not be cut; what does not leaves in fragments, as with
// IP_PMTUDISC_WANT.
func (s *Stack) ip(from, to netip.Addr, proto uint8, size int) []byte {
	head := pkt.IPv4Header
	if from.Is6() {
		head = pkt.IPv6Header
	}
	s.ids++
	b := header(s.arena[:0], from, to, proto, size, head+size <= s.mtu(to), s.ids)
	at := len(b)
	for cap(b) < at+size {
		b = append(b[:cap(b)], 0)
	}
	b = b[:at+size]
	clear(b[at:])
	s.arena = b
	return b
}
