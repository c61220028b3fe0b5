package egress

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
)

// Published is a prefix of egress addresses and the country that it is published
// with; empty for none.
type Published struct {
	Prefix  netip.Prefix
	Country string
}

// Aggregate joins what is published with one country into as few prefixes as name
// the same addresses and no others, so that every address is in exactly one. The
// result is in order of address (SEMANTICS 5.7, SU-12).
func Aggregate(all []Published) []Published {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Published) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
	var out []Published
	for _, p := range all {
		if n := len(out); n > 0 && out[n-1].Country == p.Country && out[n-1].Prefix.Contains(p.Prefix.Addr()) {
			continue // part of what stands there
		}
		out = append(out, p)
		for len(out) > 1 {
			n := len(out)
			whole, ok := siblings(out[n-2], out[n-1])
			if !ok {
				break
			}
			out = append(out[:n-2], whole)
		}
	}
	return out
}

// siblings joins the two halves of one prefix.
func siblings(low, high Published) (Published, bool) {
	a, b := low.Prefix, high.Prefix
	if low.Country != high.Country || a.Bits() != b.Bits() || a.Bits() == 0 || a.Addr().Is4() != b.Addr().Is4() {
		return Published{}, false
	}
	whole := netip.PrefixFrom(a.Addr(), a.Bits()-1).Masked()
	return Published{whole, low.Country}, whole.Addr() == a.Addr() && whole.Contains(b.Addr())
}

// WriteGeofeed writes a geofeed (RFC 8805): a line of prefix, country, region,
// city and postal code for each, of which the country alone is known. What has no
// country is not published.
func WriteGeofeed(w io.Writer, all []Published) error {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, "# prefix,country,region,city,postal (RFC 8805)")
	for _, p := range Aggregate(all) {
		if p.Country != "" {
			fmt.Fprintf(b, "%v,%s,,,\n", p.Prefix, p.Country)
		}
	}
	return b.Flush()
}
