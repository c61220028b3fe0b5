package conform

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// builder writes packets by hand: the codecs are under test.
type builder struct {
	src, dst netip.AddrPort // ports, or the echo id in src (request) or dst (reply)
	ttl      uint8
	payload  []byte
}

const (
	ipv4Header = 20
	ipv6Header = 40
)

// ip puts an IP header in front of l4, whose checksum field is at sumAt: -1 is
// none of a pseudo header.
func (p *builder) ip(proto uint8, l4 []byte, sumAt int) []byte {
	src, dst := p.src.Addr(), p.dst.Addr()
	if sumAt >= 0 {
		put16(l4[sumAt:], ^checksum.Checksum(l4, pseudo(src, dst, proto, len(l4))))
		if proto == pkt.ProtoUDP && get16(l4[sumAt:]) == 0 {
			put16(l4[sumAt:], 0xffff)
		}
	}
	if src.Is6() {
		h := make([]byte, ipv6Header, ipv6Header+len(l4))
		h[0], h[6], h[7] = 0x60, proto, p.ttl
		put16(h[4:], uint16(len(l4)))
		copy(h[8:], src.AsSlice())
		copy(h[24:], dst.AsSlice())
		return append(h, l4...)
	}
	h := make([]byte, ipv4Header, ipv4Header+len(l4))
	h[0], h[6], h[8], h[9] = 0x45, 0x40, p.ttl, proto
	put16(h[2:], uint16(ipv4Header+len(l4)))
	put16(h[4:], 0x1234)
	copy(h[12:], src.AsSlice())
	copy(h[16:], dst.AsSlice())
	sumHeader(h)
	return append(h, l4...)
}

// pseudo is the sum of the pseudo header.
func pseudo(src, dst netip.Addr, proto uint8, size int) uint16 {
	sum := checksum.Combine(checksum.Checksum(src.AsSlice(), 0), checksum.Checksum(dst.AsSlice(), 0))
	return checksum.Combine(sum, checksum.Combine(uint16(proto), uint16(size)))
}

// putPseudo makes the checksum of the packet's transport, at l4, the one that is
// left to the hardware.
func putPseudo(b []byte, l4, sumAt int) {
	from := b[12:20]
	if b[0]>>4 == 6 {
		from = b[8:40]
	}
	src, _ := netip.AddrFromSlice(from[:len(from)/2])
	dst, _ := netip.AddrFromSlice(from[len(from)/2:])
	put16(b[l4+sumAt:], pseudo(src, dst, protoOf(b), len(b)-l4))
}

// sumHeader makes the checksum of the IPv4 header at the start of b right.
func sumHeader(b []byte) {
	n := min(int(b[0]&0xf)*4, len(b))
	if n < ipv4Header {
		return
	}
	put16(b[10:], 0)
	put16(b[10:], ^checksum.Checksum(b[:n], 0))
}

// setECN writes what an IP header says of congestion.
func setECN(b []byte, ecn byte) {
	if b[0]>>4 == 6 {
		b[1] = b[1]&^0x30 | ecn<<4
		return
	}
	b[1] = b[1]&^3 | ecn
	sumHeader(b)
}

// tcp is a segment, now and then with options.
func (p *builder) tcp(r Chance, flags uint8, seq, ack uint32) []byte {
	var options []byte
	switch {
	case flags&pkt.SYN != 0:
		options = []byte{1, 2, 4, byte(r.IntN(8)), 0xb4, 1, 1, 1}
	case r.IntN(4) == 0:
		options = []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	}
	b := make([]byte, 20, 20+len(options)+len(p.payload))
	put16(b, p.src.Port())
	put16(b[2:], p.dst.Port())
	for i := range 4 {
		b[4+i], b[8+i] = byte(seq>>(24-8*i)), byte(ack>>(24-8*i))
	}
	b[12], b[13] = byte(5+len(options)/4)<<4, flags
	put16(b[14:], uint16(r.Uint32()))
	return p.ip(pkt.ProtoTCP, append(append(b, options...), p.payload...), 16)
}

func (p *builder) udp() []byte {
	b := make([]byte, 8, 8+len(p.payload))
	put16(b, p.src.Port())
	put16(b[2:], p.dst.Port())
	put16(b[4:], uint16(8+len(p.payload)))
	return p.ip(pkt.ProtoUDP, append(b, p.payload...), 6)
}

func (p *builder) echo(request bool) []byte {
	b := append(make([]byte, 8, 8+len(p.payload)), p.payload...)
	b[0] = 0
	id := p.dst.Port()
	if request {
		b[0], id = 8, p.src.Port()
	}
	put16(b[4:], id)
	b[7] = 1
	if p.src.Addr().Is6() {
		b[0] = 129 - b[0]>>3
		return p.ip(pkt.ProtoICMPv6, b, 2)
	}
	put16(b[2:], ^checksum.Checksum(b, 0))
	return p.ip(pkt.ProtoICMP, b, -1)
}

// gre wraps inner in IPv4 or IPv6 and GRE.
func gre(src, dst netip.Addr, key *uint32, inner []byte) []byte {
	b := []byte{0, 0, 8, 0}
	if inner[0]>>4 == 6 {
		put16(b[2:], 0x86dd)
	}
	if key != nil {
		b[0] = 0x20
		b = append(b, byte(*key>>24), byte(*key>>16), byte(*key>>8), byte(*key))
	}
	p := builder{src: netip.AddrPortFrom(src, 0), dst: netip.AddrPortFrom(dst, 0), ttl: 63}
	outer := p.ip(pkt.ProtoGRE, append(b, inner...), -1)
	if src.Is4() { // an atomic datagram, as encapsulators write it (RFC 6864)
		put16(outer[4:], 0)
		sumHeader(outer)
	}
	return outer
}
