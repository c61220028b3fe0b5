// Package pathmtu is what the end of a tunnel learns of the way of its own
// packets: an ICMP error about one that was too big says how large they may be
// (RFC 1191, RFC 8201).
//
// Anybody can send such an error, so it counts only if what it quotes can have
// been sent by the tunnel, and never makes packets smaller than a path has to
// carry. It holds no packet and no clock. Its law: what was learned is forgotten
// after Age.
package pathmtu

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

const (
	// Least4 is the smallest path MTU that is believed over IPv4, what every host
	// must take whole (RFC 791 section 3.1); what claims less counts as this.
	Least4 = 576
	// Least6 is the smallest path MTU of IPv6; what claims less is not believed
	// (RFC 8201 section 4).
	Least6 = 1280
	// least4 is the smallest link of IPv4; what claims less is not believed (RFC
	// 1191 section 3).
	least4 = 68
)

// plateaus are the MTUs of links that there are (RFC 1191 section 7.1): what
// routers that do not tell one's next hop can mean.
var plateaus = [...]int{32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, least4}

// Report is what an ICMP error tells of a packet that was too big.
type Report struct {
	// MTU is how large a packet may be.
	MTU int
	// Src, Dst and Proto are the packet's, which was sent with DF, Payload the
	// beginning of what it carried.
	Src, Dst pkt.Number
	Proto    uint8
	Payload  []byte
}

// Types and codes of RFC 792 and RFC 4443.
const (
	unreachable  = 3
	fragNeeded   = 4
	packetTooBig = 2
)

// Read reads the packet b, from its IP header on; ok is false if it is no ICMP
// error about a packet that was too big, does not come to who sent that, or
// cannot be true.
func Read(b []byte) (r Report, ok bool) {
	o, ok := pkt.ParseOuter(b)
	if !ok || o.Fragment || o.Len-o.Head < pkt.ICMPHeader {
		return r, false
	}
	icmp := b[o.Head:o.Len]
	if o.Dst.Is4() {
		ok = o.Proto == pkt.ProtoICMP && icmp[0] == unreachable && icmp[1] == fragNeeded &&
			checksum.Checksum(icmp, 0) == 0xffff && r.quote4(icmp[pkt.ICMPHeader:], int(binary.BigEndian.Uint16(icmp[6:])))
	} else {
		ok = o.Proto == pkt.ProtoICMPv6 && icmp[0] == packetTooBig && icmp[1] == 0 &&
			checksum.Checksum(icmp, pseudo6(o.Src.Addr(), o.Dst.Addr(), len(icmp))) == 0xffff &&
			r.quote6(icmp[pkt.ICMPHeader:], binary.BigEndian.Uint32(icmp[4:]))
	}
	return r, ok && r.Src == o.Dst
}

func (r *Report) quote4(q []byte, mtu int) bool {
	if len(q) < pkt.IPv4Header || q[0]>>4 != 4 {
		return false
	}
	head, total := int(q[0]&0xf)*4, int(binary.BigEndian.Uint16(q[2:]))
	if head < pkt.IPv4Header || len(q) < head || q[6]&0x7f != 0x40 || q[7] != 0 { // DF, whole
		return false
	}
	if mtu == 0 { // a router from before RFC 1191
		i := slices.IndexFunc(plateaus[:], func(p int) bool { return p < total })
		if i < 0 {
			return false
		}
		mtu = plateaus[i]
	}
	if mtu < least4 || mtu >= total {
		return false
	}
	r.MTU, r.Proto, r.Payload = max(mtu, Least4), q[9], q[head:]
	r.Src, r.Dst = pkt.NumberOf(netip.AddrFrom4([4]byte(q[12:16]))), pkt.NumberOf(netip.AddrFrom4([4]byte(q[16:20])))
	return true
}

func (r *Report) quote6(q []byte, mtu uint32) bool {
	if len(q) < pkt.IPv6Header || q[0]>>4 != 6 {
		return false
	}
	total := pkt.IPv6Header + int(binary.BigEndian.Uint16(q[4:]))
	if mtu < Least6 || uint64(mtu) >= uint64(total) {
		return false
	}
	r.MTU, r.Proto, r.Payload = int(mtu), q[6], q[pkt.IPv6Header:]
	r.Src, r.Dst = pkt.NumberOf(netip.AddrFrom16([16]byte(q[8:24]))), pkt.NumberOf(netip.AddrFrom16([16]byte(q[24:40])))
	return true
}

// pseudo6 is the sum of ICMPv6's pseudo header (RFC 8200 section 8.1).
func pseudo6(src, dst netip.Addr, size int) uint16 {
	s, d := src.As16(), dst.As16()
	sum := checksum.Checksum(d[:], checksum.Checksum(s[:], 0))
	return checksum.Combine(sum, checksum.Combine(pkt.ProtoICMPv6, uint16(size)))
}

// Of reports whether the packet can have been e's: its addresses, and its key or
// ports.
func (r *Report) Of(e *tunnel.Encap) bool {
	if r.Src != pkt.NumberOf(e.Src) || r.Dst != pkt.NumberOf(e.Dst) {
		return false
	}
	if e.Proto == tunnel.ViaGRE {
		gre, reason := tunnel.ParseGRE(r.Payload, false)
		return r.Proto == pkt.ProtoGRE && reason == drop.None && gre.HasKey == e.HasKey && gre.Key == e.Key
	}
	from, to, ok := r.Ports()
	return ok && from == e.SrcPort && to == e.DstPort
}

// Ports are the packet's; ok is false if it is none of UDP.
func (r *Report) Ports() (from, to uint16, ok bool) {
	if r.Proto != pkt.ProtoUDP || len(r.Payload) < pkt.UDPHeader {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(r.Payload), binary.BigEndian.Uint16(r.Payload[2:]), true
}
