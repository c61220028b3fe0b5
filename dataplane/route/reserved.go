package route

import "net/netip"

// Reserved is an address range that the network keeps for itself, with what for.
type Reserved struct {
	Prefix netip.Prefix
	For    string
}

// ReservedRanges are those of SEMANTICS 2.3. A broader route is legal and does
// not take them, because they are the longer prefix; a route to all or part of
// one is not.
func ReservedRanges() []Reserved {
	v4 := func(a, b, c byte, bits int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b, c}), bits)
	}
	v6 := func(subnet byte) netip.Prefix { // 2606:4700:cf1:s000::/64
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x26, 0x06, 0x47, 0x00, 0x0c, 0xf1, subnet}), 64)
	}
	return []Reserved{
		{v4(100, 64, 0, 12), "the network's own sources"},
		{v4(100, 80, 0, 16), "addresses resolved first, in older accounts"},
		{v4(100, 96, 0, 12), "client devices"},
		{v4(100, 112, 0, 16), "private load balancers"},
		{v4(172, 64, 128, 20), "addresses resolved first"},
		{v6(0x10), "client devices"},
		{v6(0x40), "addresses resolved first"},
		{v6(0x50), "the network's own sources"},
	}
}

// Reserves reports whether an address is of a reserved range.
func Reserves(addr netip.Addr) bool {
	for i := range own {
		if own[i].Prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// ReservedBy finds the range that a route to prefix would reach into: equal to
// it or a part of it.
func ReservedBy(prefix netip.Prefix) (Reserved, bool) {
	for _, r := range ReservedRanges() {
		if prefix.IsValid() && r.Prefix.Bits() <= prefix.Bits() && r.Prefix.Contains(prefix.Addr()) {
			return r, true
		}
	}
	return Reserved{}, false
}
