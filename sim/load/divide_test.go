package load_test

import (
	"math"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/sim/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const designed = `
version: 1
name: designed
bounds: {design: DESIGN}
datacenters:
  - {id: lhr, servers: 40, egress: [{prefix: 198.51.100.0/31, country: GB}]}
  - {id: cdg, servers: 3, egress: [{prefix: 198.51.100.2/32, country: FR}, {prefix: 198.51.100.3/32, country: GB}, {prefix: 198.51.100.4/32, country: IE}]}
  - {id: nrt, servers: 3, egress: [{prefix: 198.51.100.5/32, country: JP}, {prefix: 198.51.100.6/31, country: IE}]}
population: {users: 2000000, ases: 3000, countries: {GB: 10, FR: 10, JP: 10, IE: 100}}
workload: [{id: web, from: population, to: internet, rate: 0.02, holding: "exponential(mean=5s)", for: 2m}]
faults: [{id: death, at: 1m, do: drain, on: lhr}]
`

// TestSU13_AddressesByDesign: the ways to divide addresses among servers, by the
// formulas of SEMANTICS 5.6. London has more servers than an address has slices, Tokyo
// most of Ireland's addresses. A server that has addresses of its own blocks nobody;
// with one owner flows leave far away, and nobody takes over from it.
func TestSU13_AddressesByDesign(t *testing.T) {
	const servers = 2*40 + 3*3 + 3*3 // for each address those of its datacenter
	got := map[string]*load.Outcome{}
	for _, tt := range []struct {
		design               string
		addresses, announced float64
	}{
		{spec.DesignSlices, 8, 256},
		{spec.DesignUnicast, 8, 3 * 256},
		{spec.DesignPerServer, servers, 256},
		{spec.DesignOneOwner, 4, 256},
	} {
		o := outcome(t, strings.Replace(designed, "DESIGN", tt.design, 1), 1)
		got[tt.design] = o
		if a, b := value(t, o, "addresses"), value(t, o, "announced"); a != tt.addresses || b != tt.announced {
			t.Errorf("%s: %v addresses of %v announced, want %v of %v", tt.design, a, b, tt.addresses, tt.announced)
		}
		t.Logf("%s: blocked %.3g, elsewhere %.3g, detour %.3g ms, lost.egress %.3g", tt.design, value(t, o, "blocked"), value(t, o, "elsewhere"), value(t, o, "detour"), value(t, o, "lost.egress"))
	}
	of := func(design, measure string) float64 { return value(t, got[design], measure) }
	for _, m := range []string{"blocked", "elsewhere", "detour"} {
		if a, b := of("slices", m), of("unicast", m); math.Abs(a-b) > 1e-12 {
			t.Errorf("%s is %v by slices and %v where they are announced from their own place", m, a, b)
		}
	}
	if per, sliced := of("per_server", "blocked"), of("slices", "blocked"); per >= sliced || sliced == 0 {
		t.Errorf("%v blocked with addresses for every server, %v with slices", per, sliced)
	}
	if of("one_owner", "elsewhere") <= of("slices", "elsewhere") || of("one_owner", "detour") <= 2*of("slices", "detour") || of("one_owner", "blocked") <= of("per_server", "blocked") {
		t.Errorf("one owner: %v elsewhere, %v blocked", of("one_owner", "elsewhere"), of("one_owner", "blocked"))
	}
	if why := got["one_owner"].Why("detour"); len(why) == 0 || !strings.Contains(why[0], "leave from nrt") {
		t.Errorf("a detour because of %q, want Tokyo's Irish addresses", why)
	}
	if of("one_owner", "lost.egress") == 0 || of("slices", "lost.egress") != 0 {
		t.Errorf("London drained: %v minutes lost with one owner, %v with slices", of("one_owner", "lost.egress"), of("slices", "lost.egress"))
	}
}

// TestDesignRefused: a server that has whole addresses has many slices of each.
func TestDesignRefused(t *testing.T) {
	text := strings.Replace(designed, "DESIGN", spec.DesignPerServer, 1) + "account: {on_exhaustion: refuse}\n"
	if _, err := load.New(scenario(t, text), nil); err == nil || !strings.Contains(err.Error(), "want another_address") {
		t.Errorf("%v", err)
	}
}
