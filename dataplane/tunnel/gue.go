package tunnel

import (
	"encoding/binary"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/ident"
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
//
// Layout 2 has two words more (Hlen = 4): the packet opens a flow that leaves
// from another server, or, with R, answers that.
//
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                        Egress address                         |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|          Egress port          |     Rule; with R, reason      |
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
	gueEgress      = 4 + 2 + 2
	// gueWords is Hlen: 32-bit words after the first.
	gueWords = (GUEHeaderLen - gueBase) / 4

	// FirstDynamicPort is the first that is nobody's by name (RFC 6335 section 6).
	FirstDynamicPort = 0xffff << dynamicPortBits & 0xffff

	gueVersion = 0xc0
	gueControl = 0x20
	gueLength  = 0x1f

	// gueLayout tells this private data from any other, gueLayoutEgress that which
	// has an egress too.
	gueLayout       = 1
	gueLayoutEgress = 2
	gueLayoutShift  = 28
	gueReturn       = 1 << 27
	gueSecondHop    = 1 << 26
	gueHopShift     = 24
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
	// SecondHop: the receiver is the bucket's previous home and keeps it. Of a
	// Return packet to an off-ramp: the sender expects the answer.
	SecondHop bool
	// Egress is asked for, or with Return given.
	Egress GUEEgress
}

// GUEEgress is what a flow that leaves from another server asks for, and what it
// got. The zero value is none.
type GUEEgress struct {
	// Addr is the IPv4 egress address; 0 leaves the choice, among shared ones, to
	// who is asked.
	Addr uint32
	// Port is what the flow got.
	Port uint16
	// Rule numbers the tenant's egress policy that chose, from 1 in its order; 0
	// is none.
	Rule uint16
	// Refused is why it got none.
	Refused drop.Reason
	// Given tells it from none.
	Given bool
}

// Address is Addr; not valid for 0.
func (e GUEEgress) Address() netip.Addr {
	if e.Addr == 0 {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte{byte(e.Addr >> 24), byte(e.Addr >> 16), byte(e.Addr >> 8), byte(e.Addr)})
}

// Len is the size of the GUE header with c, bytes.
func (c *GUEContext) Len() int {
	if c.Egress.Given {
		return GUEHeaderLen + gueEgress
	}
	return GUEHeaderLen
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
	layout := uint32(gueLayout)
	if e := &c.Egress; e.Given {
		layout = gueLayoutEgress
		binary.BigEndian.PutUint32(b[gueTenantVNet+gueFlagsOnRamp:], e.Addr)
		binary.BigEndian.PutUint16(b[gueTenantVNet+gueFlagsOnRamp+4:], e.Port)
		last := e.Rule
		if c.Return {
			last = uint16(e.Refused)
		}
		binary.BigEndian.PutUint16(b[gueTenantVNet+gueFlagsOnRamp+6:], last)
	}
	word := layout<<gueLayoutShift | uint32(c.Hops&MaxGUEHops)<<gueHopShift | uint32(c.OnRamp&ident.MaxOnRamp)
	if c.Return {
		word |= gueReturn
	}
	if c.SecondHop {
		word |= gueSecondHop
	}
	binary.BigEndian.PutUint32(b[gueTenantVNet:], word)
}

func parseGUEContext(b []byte, words int) (c GUEContext, ok bool) {
	word := binary.BigEndian.Uint32(b[gueTenantVNet:])
	c = GUEContext{
		Tenant: ident.Tenant(binary.BigEndian.Uint16(b)), VNet: ident.VNet(binary.BigEndian.Uint16(b[2:])),
		OnRamp: ident.OnRamp(word) & ident.MaxOnRamp, Hops: uint8(word>>gueHopShift) & MaxGUEHops,
		Return: word&gueReturn != 0, SecondHop: word&gueSecondHop != 0,
	}
	if words == gueWords {
		return c, word>>gueLayoutShift == gueLayout && c.Valid()
	}
	e := b[gueTenantVNet+gueFlagsOnRamp:]
	c.Egress = GUEEgress{Addr: binary.BigEndian.Uint32(e), Port: binary.BigEndian.Uint16(e[4:]), Given: true}
	last := binary.BigEndian.Uint16(e[6:])
	if !c.Return {
		c.Egress.Rule = last
		return c, word>>gueLayoutShift == gueLayoutEgress && c.Valid() && c.Tenant != 0
	}
	c.Egress.Refused = drop.Reason(last)
	return c, word>>gueLayoutShift == gueLayoutEgress && c.Valid() && int(last) < drop.Count
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
	if words != gueWords && words != gueWords+gueEgress/4 {
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
	context, ok := parseGUEContext(b[gueBase:], words)
	if !ok {
		return GUEHeader{}, drop.BadTunnel
	}
	inner := b[gueBase+words*4:]
	if len(inner) > 0 && inner[0]>>4 != version {
		return GUEHeader{}, drop.BadTunnel
	}
	if len(inner) < least {
		return GUEHeader{}, drop.Malformed
	}
	return GUEHeader{Len: gueBase + words*4, Proto: b[1], Context: context}, drop.None
}

// GUESourcePort is a source port from the top of the inner flow's hash, of the
// dynamic range, as draft-ietf-intarea-gue-09 wants.
func GUESourcePort(hash uint64) uint16 {
	return FirstDynamicPort | uint16(hash>>(64-dynamicPortBits))
}

// PutGUE writes the GUE header with its context to the first c.Len() bytes of b,
// in front of inner.
func PutGUE(b []byte, c GUEContext, inner []byte) {
	b[0], b[1], b[2], b[3] = byte((c.Len()-gueBase)/4), protoIPv4, 0, 0
	if len(inner) > 0 && inner[0]>>4 == 6 {
		b[1] = protoIPv6
	}
	c.put(b[gueBase:])
}
