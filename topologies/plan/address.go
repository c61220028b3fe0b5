package plan

import (
	"net"
	"net/netip"
)

// The lab's own addresses are out of the range that RFC 2544 sets apart for
// benchmarks, so that they meet nobody's.
var (
	labRange   = netip.MustParsePrefix("198.18.0.0/15")
	tunnelAddr = netip.MustParseAddr("198.18.0.1")
	// ownRange holds the tunnel address, those for GUE and the hand-over
	// addresses. Transit routers know the tunnel address alone, so that nobody
	// outside can send a hand-over or a packet in GUE (SEMANTICS 4.1).
	ownRange = netip.MustParsePrefix("198.18.0.0/17")
	// unconnectedAddr is where edges send packets in GUE: any of their servers.
	unconnectedAddr = netip.MustParseAddr("198.18.0.2")
	// edgeFirst is the first edge's own address for GUE; handoverFirst ends them.
	edgeFirst     = netip.MustParseAddr("198.18.0.16")
	handoverFirst = netip.MustParseAddr("198.18.1.1")
	infraRange    = netip.MustParsePrefix("198.18.128.0/17")
	siteRange     = netip.MustParsePrefix("198.19.0.0/16")
	// innerRange numbers tunnel interfaces (SEMANTICS 2.8).
	innerRange = netip.MustParsePrefix("169.254.240.0/20")
	// sourceRange holds the network's own sources and deviceRange devices
	// (SEMANTICS 2.3, route.ReservedRanges); the first of either is nobody's.
	sourceRange = netip.MustParsePrefix("100.64.0.0/12")
	deviceRange = netip.MustParsePrefix("100.96.0.0/12")
)

// pool deals out the /31s of a prefix (RFC 3021) in order.
type pool struct {
	prefix netip.Prefix
	next   netip.Addr
}

// newPool starts at the prefix's first address.
func newPool(p netip.Prefix) *pool { return &pool{prefix: p, next: p.Addr()} }

// pair is the next /31; false when the prefix is used up.
func (p *pool) pair() (lo, hi netip.Addr, ok bool) {
	lo = p.next
	hi = lo.Next()
	if !p.prefix.Contains(hi) {
		return lo, hi, false
	}
	p.next = hi.Next()
	return lo, hi, true
}

// host is the prefix of a single address.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// defaultOf is the default route of a's family.
func defaultOf(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// last is a prefix's highest address.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// advance is the address n after a.
func advance(a netip.Addr, n int) netip.Addr {
	b := a.AsSlice()
	for i := len(b) - 1; i >= 0 && n > 0; i-- {
		n += int(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	a, _ = netip.AddrFromSlice(b)
	return a
}

// usable says whether a host may have a: in a LAN of more than two addresses
// the first and, in IPv4, the last name no host.
func usable(lan netip.Prefix, a netip.Addr) bool {
	if !lan.Contains(a) {
		return false
	}
	if lan.Bits() >= a.BitLen()-1 {
		return true
	}
	return a != lan.Masked().Addr() && (a.Is6() || a != last(lan))
}

// mac is a locally administered address: kind tells links from tunnels, index
// which, end which side. It makes captures of one plan look alike.
func mac(kind byte, index int, end byte) net.HardwareAddr {
	return net.HardwareAddr{2, kind, byte(index >> 16), byte(index >> 8), byte(index), end}
}

const (
	macLink   = 0
	macTunnel = 1
)
