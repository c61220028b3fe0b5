package egress_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/egress"
)

// tagged are n addresses with countries by tag.
func tagged(n int, tag func(i int) string) (all []egress.Published) {
	a := netip.MustParseAddr("198.51.100.0")
	for i := range n {
		all = append(all, egress.Published{Prefix: netip.PrefixFrom(a, 32), Country: tag(i)})
		a = a.Next()
	}
	return all
}

func lines(t *testing.T, all []egress.Published) []string {
	t.Helper()
	var b bytes.Buffer
	if err := egress.WriteGeofeed(&b, all); err != nil {
		t.Fatal(err)
	}
	var kept []string
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "#") {
			kept = append(kept, strings.TrimSuffix(line, "\n"))
		}
	}
	return kept
}

// TestSU12: the geofeed has fewer lines where addresses of one country are
// contiguous, and every address is in exactly one. SEMANTICS SU-12, RFC 8805.
func TestSU12(t *testing.T) {
	countries := []string{"GB", "FR", "DE", "JP"}
	grouped := lines(t, tagged(64, func(i int) string { return countries[i/16] }))
	scattered := lines(t, tagged(64, func(i int) string { return countries[i%4] }))
	want := []string{"198.51.100.0/28,GB,,,", "198.51.100.16/28,FR,,,", "198.51.100.32/28,DE,,,", "198.51.100.48/28,JP,,,"}
	if strings.Join(grouped, " ") != strings.Join(want, " ") || len(scattered) != 64 {
		t.Errorf("%d lines grouped, %d scattered: %v", len(grouped), len(scattered), grouped)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		all := tagged(1+rng.IntN(80), func(int) string { return countries[rng.IntN(3)] })
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		joined := egress.Aggregate(all)
		for _, p := range all {
			in := 0
			for _, q := range joined {
				if q.Prefix.Contains(p.Prefix.Addr()) {
					if in++; q.Country != p.Country {
						t.Fatalf("%v of %s is published as %s", p.Prefix, p.Country, q.Country)
					}
				}
			}
			if in != 1 {
				t.Fatalf("%v is in %d lines of %v", p.Prefix, in, joined)
			}
		}
		size := 0
		for _, q := range joined {
			size += 1 << (32 - q.Prefix.Bits())
		}
		if size != len(all) {
			t.Fatalf("%d addresses published, want %d", size, len(all))
		}
	}
}

// What has no country is not published, and families are not joined.
func TestGeofeedLeavesOut(t *testing.T) {
	got := lines(t, []egress.Published{
		{Prefix: netip.MustParsePrefix("2001:db8::/64"), Country: "JP"}, {Prefix: netip.MustParsePrefix("198.51.100.0/32")},
		{Prefix: netip.MustParsePrefix("198.51.100.1/32"), Country: "JP"}, {Prefix: netip.MustParsePrefix("2001:db8:0:1::/64"), Country: "JP"},
	})
	if want := "198.51.100.1/32,JP,,, 2001:db8::/63,JP,,,"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestSU13: the addresses of the designs of SEMANTICS 5.6: a server's own sum up
// over servers, one for 31 servers of a datacenter over datacenters, one owner's
// are the tags alone.
func TestSU13(t *testing.T) {
	servers, tags := []int{3, 31, 40, 1}, 5
	all, sliced := 0, 0
	for _, n := range servers {
		all += n * tags
		sliced += tags * egress.AddressesFor(n)
	}
	if all != 375 || sliced != 25 || egress.AddressesFor(0) != 0 || egress.AddressesFor(62) != 2 || egress.AddressesFor(63) != 3 {
		t.Errorf("%d and %d addresses, want 375 and 25", all, sliced)
	}
}
