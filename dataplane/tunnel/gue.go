package tunnel

import (
	"encoding/binary"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// GUE variant 0, draft-ietf-intarea-gue-09 section 3, over UDP. Only data
// messages (C = 0) without optional fields; the private data is a GUEContext
// (SEMANTICS 4.1), so that every packet of an unconnected tunnel says whose it
// is:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|          Source Port          |    Destination Port = 6080    |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|            Length             |           Checksum            |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	| 0 |C| Hlen = 2|  Proto 4, 41  |           Flags = 0           |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|            Tenant             |       Virtual network         |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|Layout |R|S|Hop|                    On-ramp                    |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
const (
	// GUEPort is the UDP destination port.
	GUEPort = 6080
	// GUEHeaderLen is the GUE header with our context, bytes: where the inner
	// packet starts.
	GUEHeaderLen = gueBase + gueTenantVNet + gueFlagsOnRamp

	gueBase        = 4
	gueTenantVNet  = 2 + 2
	gueFlagsOnRamp = 1 + 3
	// gueWords is Hlen: 32-bit words after the first.
	gueWords = (GUEHeaderLen - gueBase) / 4

	gueVersion = 0xc0
	gueControl = 0x20
	gueLength  = 0x1f

	// gueLayout tells this private data from any other.
	gueLayout       = 1
	gueLayoutShift  = 28
	gueReturn       = 1 << 27
	gueSecondHop    = 1 << 26
	gueHopShift     = 24
	udpHeader       = 8
	udpSumOffset    = 6
	protoUDP        = 17
	protoIPv4       = 4
	protoIPv6       = 41
	dynamicPortBits = 14
)

// MaxGUEHops is the largest hop count that a GUE context can say.
const MaxGUEHops = 3

// GUEContext is what an unconnected tunnel says about each packet. Whoever
// writes it picks the tenant: it is read only from our own servers and kernel,
// never from customers (SEMANTICS 4.1). The zero value is not valid.
type GUEContext struct {
	// OnRamp and Tenant are where the packet came in and whose it is; of a
	// Return packet, where it goes. Of a Return packet both may be 0: the
	// outside knows neither.
	OnRamp ident.OnRamp
	Tenant ident.Tenant
	// VNet is the virtual network chosen for it, 0 for the on-ramp's own.
	VNet ident.VNet
	// Hops counts hand-overs between servers; 0 from the kernel to its own hub,
	// at most MaxGUEHops.
	Hops uint8
	// Return: the packet came from the Internet. Otherwise from an on-ramp.
	Return bool
	// SecondHop: the receiver is the bucket's previous home and keeps it.
	SecondHop bool
}

// Valid reports whether c can be sent and would be understood.
func (c GUEContext) Valid() bool {
	known := c.Tenant != 0 && c.OnRamp != 0
	unknown := c.Tenant == 0 && c.OnRamp == 0 && c.VNet == 0
	return c.OnRamp <= ident.MaxOnRamp && c.Hops <= MaxGUEHops && (known || unknown && c.Return)
}

func (c GUEContext) put(b []byte) {
	binary.BigEndian.PutUint16(b, uint16(c.Tenant))
	binary.BigEndian.PutUint16(b[2:], uint16(c.VNet))
	word := uint32(gueLayout)<<gueLayoutShift | uint32(c.Hops&MaxGUEHops)<<gueHopShift | uint32(c.OnRamp&ident.MaxOnRamp)
	if c.Return {
		word |= gueReturn
	}
	if c.SecondHop {
		word |= gueSecondHop
	}
	binary.BigEndian.PutUint32(b[gueTenantVNet:], word)
}

func parseGUEContext(b []byte) (c GUEContext, ok bool) {
	word := binary.BigEndian.Uint32(b[gueTenantVNet:])
	c = GUEContext{
		Tenant: ident.Tenant(binary.BigEndian.Uint16(b)), VNet: ident.VNet(binary.BigEndian.Uint16(b[2:])),
		OnRamp: ident.OnRamp(word) & ident.MaxOnRamp, Hops: uint8(word>>gueHopShift) & MaxGUEHops,
		Return: word&gueReturn != 0, SecondHop: word&gueSecondHop != 0,
	}
	return c, word>>gueLayoutShift == gueLayout && c.Valid()
}

// GUEHeader is what stands in front of the inner packet. The zero value is no
// header.
type GUEHeader struct {
	// Len is the header's length, bytes: where the inner packet starts.
	Len int
	// Proto is 4 or 41, the inner packet's IP version.
	Proto   uint8
	Context GUEContext
}

// ParseGUE reads the GUE header at the start of b, a UDP payload that ends with
// the inner packet. One that is cut off, or whose Hlen reaches past b, or
// behind which no IP header fits, is drop.Malformed; drop.BadTunnel is a
// version other than 0, a control message, a flag, private data that is not
// ours, a protocol other than IP, and an inner packet of the other version.
func ParseGUE(b []byte) (GUEHeader, drop.Reason) {
	if len(b) < gueBase {
		return GUEHeader{}, drop.Malformed
	}
	if b[0]&(gueVersion|gueControl) != 0 || binary.BigEndian.Uint16(b[2:]) != 0 {
		return GUEHeader{}, drop.BadTunnel
	}
	words := int(b[0] & gueLength)
	if len(b) < gueBase+words*4 {
		return GUEHeader{}, drop.Malformed
	}
	if words != gueWords {
		return GUEHeader{}, drop.BadTunnel
	}
	version, least := uint8(4), outerIPv4
	switch b[1] {
	case protoIPv4:
	case protoIPv6:
		version, least = 6, outerIPv6
	default:
		return GUEHeader{}, drop.BadTunnel
	}
	context, ok := parseGUEContext(b[gueBase:])
	if !ok {
		return GUEHeader{}, drop.BadTunnel
	}
	inner := b[GUEHeaderLen:]
	if len(inner) > 0 && inner[0]>>4 != version {
		return GUEHeader{}, drop.BadTunnel
	}
	if len(inner) < least {
		return GUEHeader{}, drop.Malformed
	}
	return GUEHeader{Len: GUEHeaderLen, Proto: b[1], Context: context}, drop.None
}

// GUEPayload reads the UDP header at the start of b, the payload of an IP
// packet from src to dst that is not a fragment, and returns what ParseGUE
// reads. Another port than GUEPort is drop.UnknownTunnel, a length that lies is
// drop.Malformed, and drop.BadTunnel is a wrong checksum or none over IPv6.
//
// verify is false where the checksum was left to the hardware.
func GUEPayload(src, dst netip.Addr, b []byte, verify bool) ([]byte, drop.Reason) {
	if len(b) < udpHeader {
		return nil, drop.Malformed
	}
	if binary.BigEndian.Uint16(b[2:]) != GUEPort {
		return nil, drop.UnknownTunnel
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	if size < udpHeader || size > len(b) {
		return nil, drop.Malformed
	}
	b = b[:size]
	none := b[udpSumOffset]|b[udpSumOffset+1] == 0
	if verify && (none && !dst.Is4() || !none && checksum.Checksum(b, udpPseudo(src, dst, size)) != 0xffff) {
		return nil, drop.BadTunnel
	}
	return b[udpHeader:], drop.None
}

// GUE is an outer IP, UDP and GUE header to write. The zero value means none.
type GUE struct {
	Src, Dst netip.Addr
	// SrcPort lets paths tell flows apart; see GUESourcePort.
	SrcPort uint16
	// TTL of the outer header; 0 means DefaultTTL.
	TTL     uint8
	Context GUEContext
}

// GUESourcePort is a source port from the top of the inner flow's hash, of the
// dynamic range, 49152 and up, as draft-ietf-intarea-gue-09 wants.
func GUESourcePort(hash uint64) uint16 {
	return 0xffff<<dynamicPortBits&0xffff | uint16(hash>>(64-dynamicPortBits))
}

// IsZero reports whether g asks for no outer header.
func (g *GUE) IsZero() bool { return !g.Dst.IsValid() }

// Overhead is what g puts in front of a packet, bytes: 40 over IPv4, 60 over
// IPv6, 0 for none.
func (g *GUE) Overhead() int {
	switch {
	case g.IsZero():
		return 0
	case g.Dst.Is4():
		return outerIPv4 + udpHeader + GUEHeaderLen
	}
	return outerIPv6 + udpHeader + GUEHeaderLen
}

// InnerMTU is what a path of mtu bytes leaves for the packet inside g.
func (g *GUE) InnerMTU(mtu int) int { return mtu - g.Overhead() }

// Append appends the outer headers and then the inner packet to dst. Without
// outer headers it appends the packet alone. The context must be Valid, the
// packet IPv4 or IPv6 and such that the whole fits 65,535 bytes; source and
// destination are of one family.
func (g *GUE) Append(dst, inner []byte) []byte {
	return append(g.AppendHeader(dst, inner), inner...)
}

// AppendHeader appends the outer IP, UDP and GUE headers for inner, which is
// not copied. IPv4 goes out with DF and id 0, an atomic datagram by RFC 6864,
// and without UDP checksum; over IPv6 the checksum covers inner, whose own
// checksums must be complete for that.
func (g *GUE) AppendHeader(dst, inner []byte) []byte {
	if g.IsZero() {
		return dst
	}
	at := len(dst)
	dst = extend(dst, g.Overhead())
	head := dst[at:]
	ttl := g.TTL
	if ttl == 0 {
		ttl = DefaultTTL
	}
	if g.Dst.Is4() {
		src, to := g.Src.As4(), g.Dst.As4()
		head[0], head[6], head[8], head[9] = 0x45, 0x40, ttl, protoUDP
		binary.BigEndian.PutUint16(head[2:], uint16(len(head)+len(inner)))
		copy(head[12:], src[:])
		copy(head[16:], to[:])
		binary.BigEndian.PutUint16(head[10:], ^checksum.Checksum(head[:outerIPv4], 0))
		g.putUDP(head[outerIPv4:], inner)
		return dst
	}
	src, to := g.Src.As16(), g.Dst.As16()
	head[0], head[6], head[7] = 0x60, protoUDP, ttl
	binary.BigEndian.PutUint16(head[4:], uint16(len(head)-outerIPv6+len(inner)))
	copy(head[8:], src[:])
	copy(head[24:], to[:])
	udp := head[outerIPv6:]
	g.putUDP(udp, inner)
	sum := checksum.Checksum(udp, udpPseudo(g.Src, g.Dst, len(udp)+len(inner)))
	sum = ^checksum.Checksum(inner, sum)
	if sum == 0 {
		sum = 0xffff // 0 would say "none" (RFC 768)
	}
	binary.BigEndian.PutUint16(udp[udpSumOffset:], sum)
	return dst
}

// putUDP writes the UDP and GUE headers, which have an even length, so that
// the checksums of both halves add up.
func (g *GUE) putUDP(b, inner []byte) {
	binary.BigEndian.PutUint16(b, g.SrcPort)
	binary.BigEndian.PutUint16(b[2:], GUEPort)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)+len(inner)))
	gue := b[udpHeader:]
	gue[0], gue[1] = gueWords, protoIPv4
	if len(inner) > 0 && inner[0]>>4 == 6 {
		gue[1] = protoIPv6
	}
	g.Context.put(gue[gueBase:])
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
