package policy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"pgregory.net/rapid"
)

// scan is the slow and obvious meaning of a stage: the rules one after another,
// each selector by its definition.
func scan(rules []Rule, sub *Subject) *Rule {
	order := slices.Clone(rules)
	slices.SortStableFunc(order, func(a, b Rule) int { return a.Precedence - b.Precedence })
	for i := range order {
		if holds(&order[i].Match, sub) {
			return &order[i]
		}
	}
	return nil
}

func holds(m *Match, sub *Subject) bool {
	in := func(addr netip.Addr) func(netip.Prefix) bool {
		return func(p netip.Prefix) bool { return p.Contains(addr.Unmap().WithZone("")) }
	}
	code := func(code string) func(string) bool {
		return func(c string) bool { return strings.EqualFold(c, code) }
	}
	port := func(r PortRange) bool {
		return (sub.Proto == 6 || sub.Proto == 17) && r.First <= sub.Dst.Port() && sub.Dst.Port() <= r.Last
	}
	return holdsAny(m.Source, in(sub.Src.Addr())) &&
		holdsAny(m.Destination, in(sub.Dst.Addr())) &&
		holdsAny(m.Port, port) &&
		holdsAny(m.Protocol, func(p uint8) bool { return p == sub.Proto }) &&
		holdsAny(m.Country, code(sub.Country)) &&
		holdsAny(m.SourceCountry, code(sub.SourceCountry)) &&
		holdsAny(m.User, func(u string) bool { return u == sub.User }) &&
		holdsAny(m.VNet, func(v ident.VNet) bool { return v == sub.VNet }) &&
		holdsAny(m.OnRamp, func(k tunnel.Kind) bool { return k == sub.OnRamp })
}

// holdsAny: an empty selector holds, another one if any value does.
func holdsAny[V any](values []V, hold func(V) bool) bool {
	return len(values) == 0 || slices.ContainsFunc(values, hold)
}

// The values are few, near each other and at the edges of their domains, so
// that rules overlap and near misses are common.
var (
	somePrefixes = parse(netip.MustParsePrefix, "0.0.0.0/0", "0.0.0.0/32", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/24", "10.1.2.3/32", "10.1.2.254/31",
		"128.0.0.0/1", "203.0.113.0/24", "255.255.255.255/32", "::/0", "::/128", "::1/128", "2001:db8::/32", "2001:db8:0:1::/64", "2001:db8:0:1::5/127", "8000::/1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128")
	someAddrs     = parse(netip.MustParseAddr, "10.1.2.3", "::ffff:10.1.2.3", "::ffff:203.0.113.200", "::ffff:0:0", "fe80::1%eth0", "2001:db8::1%eth0", "192.0.2.1", "100.96.0.1", "2001:db8:0:1::4")
	somePorts     = []uint16{0, 1, 22, 52, 53, 54, 80, 442, 443, 444, 8080, 65534, 65535}
	someProtocols = []uint8{0, 1, 5, 6, 7, 17, 47, 58, 132, 255}
	someCountries = []string{"GB", "gb", "US", "MX", "ZZ", "AA"}
	someUsers     = []string{"ada", "Ada", "grace@example.com", "root", " "}
	someVNets     = []ident.VNet{1, 2, 3, 65535}
	someKinds     = []tunnel.Kind{tunnel.GRE, tunnel.Interconnect, tunnel.Device, tunnel.Connector, tunnel.IPsec}
)

func parse[V any](must func(string) V, texts ...string) (all []V) {
	for _, s := range texts {
		all = append(all, must(s))
	}
	return all
}

// some draws no value, which is the commonest, or one to three.
func some[V any](value *rapid.Generator[V]) *rapid.Generator[[]V] {
	return rapid.Custom(func(t *rapid.T) []V {
		if rapid.IntRange(0, 2).Draw(t, "given") > 0 {
			return nil
		}
		return rapid.SliceOfN(value, 1, 3).Draw(t, "values")
	})
}

func prefix() *rapid.Generator[netip.Prefix] {
	return rapid.OneOf(rapid.SampledFrom(somePrefixes), rapid.Custom(func(t *rapid.T) netip.Prefix {
		addr := addr().Filter(func(a netip.Addr) bool { return a.IsValid() && !a.Is4In6() && a.Zone() == "" }).Draw(t, "addr")
		return netip.PrefixFrom(addr, rapid.IntRange(0, addr.BitLen()).Draw(t, "bits"))
	}))
}

// addr draws first and last addresses of prefixes and their neighbours.
func addr() *rapid.Generator[netip.Addr] {
	return rapid.OneOf(rapid.SampledFrom(someAddrs), rapid.Custom(func(t *rapid.T) netip.Addr {
		p := rapid.SampledFrom(somePrefixes).Draw(t, "prefix")
		edges := edges(p)
		return rapid.SampledFrom(edges).Draw(t, "edge")
	}))
}

// edges of a prefix: the addresses just outside (invalid at an end of the
// address space) and just inside.
func edges(p netip.Prefix) []netip.Addr {
	first := p.Masked().Addr()
	bytes := first.AsSlice()
	for bit := p.Bits(); bit < first.BitLen(); bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return []netip.Addr{first.Prev(), first, last, last.Next()}
}

func portRange() *rapid.Generator[PortRange] {
	port := rapid.OneOf(rapid.SampledFrom(somePorts), rapid.Uint16())
	return rapid.Custom(func(t *rapid.T) PortRange {
		a, b := port.Draw(t, "a"), port.Draw(t, "b")
		return PortRange{First: min(a, b), Last: max(a, b)}
	}).Filter(func(r PortRange) bool { return r != PortRange{} })
}

func match() *rapid.Generator[Match] {
	return rapid.Custom(func(t *rapid.T) Match {
		return Match{
			Source:        some(prefix()).Draw(t, "source"),
			Destination:   some(prefix()).Draw(t, "destination"),
			Port:          some(portRange()).Draw(t, "port"),
			Protocol:      some(rapid.SampledFrom(someProtocols)).Draw(t, "protocol"),
			Country:       some(rapid.SampledFrom(someCountries)).Draw(t, "country"),
			SourceCountry: some(rapid.SampledFrom(someCountries)).Draw(t, "source_country"),
			User:          some(rapid.SampledFrom(someUsers)).Draw(t, "user"),
			VNet:          some(rapid.SampledFrom(someVNets)).Draw(t, "vnet"),
			OnRamp:        some(rapid.SampledFrom(someKinds)).Draw(t, "onramp"),
		}
	})
}

func subject() *rapid.Generator[Subject] {
	port := rapid.OneOf(rapid.SampledFrom(somePorts), rapid.Uint16())
	return rapid.Custom(func(t *rapid.T) Subject {
		return Subject{
			Src:           netip.AddrPortFrom(addr().Draw(t, "src"), port.Draw(t, "src port")),
			Dst:           netip.AddrPortFrom(addr().Draw(t, "dst"), port.Draw(t, "dst port")),
			Proto:         rapid.SampledFrom(someProtocols).Draw(t, "proto"),
			Country:       rapid.SampledFrom(append(someCountries, "", "G", "GBR")).Draw(t, "country"),
			SourceCountry: rapid.SampledFrom(append(someCountries, "")).Draw(t, "source country"),
			User:          rapid.SampledFrom(append(someUsers, "")).Draw(t, "user"),
			VNet:          rapid.SampledFrom(append(someVNets, 0)).Draw(t, "vnet"),
			OnRamp:        rapid.SampledFrom(append(someKinds, "")).Draw(t, "onramp"),
		}
	})
}
