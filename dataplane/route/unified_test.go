package route_test

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"pgregory.net/rapid"
)

// table is New for routes that can be meant.
func table(t *testing.T, routes ...route.Route) *route.Table {
	t.Helper()
	made, err := route.New(1, routes)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// legacy is table in legacy mode.
func legacy(t *testing.T, routes ...route.Route) *route.Table {
	t.Helper()
	made, err := route.New(1, routes, route.Default{Tenant: 1, Legacy: true})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func learned(r route.Route) route.Route { r.Source = route.BGP; return r }

func weighted(r route.Route, weight int) route.Route { r.Weight = weight; return r }

func behind(r route.Route) route.Route { r.Plane = route.ZT; return r }

// TestRT3: of a static and a learned route of priority 100 the static one has
// every flow; at static 101 the learned one has, also where both have the same
// next hop. SEMANTICS RT-3.
func TestRT3(t *testing.T) {
	const prefix = "10.0.1.0/24"
	for static, want := range map[int]ident.OnRamp{99: 1, 100: 1, 101: 2} {
		tab := table(t, via(prefix, 1, static), learned(via(prefix, 2, 100)))
		for hash := range uint64(1000) {
			if got := tab.Lookup(1, 1, netip.MustParseAddr("10.0.1.5"), hash, nil); got.NextHop != want || got.Equal != 1 {
				t.Fatalf("static %d: %+v, want on-ramp %d alone", static, got, want)
			}
		}
	}
	both := table(t, via(prefix, 1, 100), learned(via(prefix, 1, 100)), learned(via(prefix, 2, 100)))
	if got := both.Lookup(1, 1, netip.MustParseAddr("10.0.1.5"), 1, nil); got.NextHop != 1 || got.Equal != 1 {
		t.Errorf("static and learned by one tunnel: %+v, want the static one alone", got)
	}
}

// TestRT4: weights 64:128:192:255 over 100,000 flows give shares within 1 % of
// 10.0/20.0/30.0/39.9. SEMANTICS RT-4.
func TestRT4(t *testing.T) {
	weights := []int{64, 128, 192, 255}
	var routes []route.Route
	for i, w := range weights {
		routes = append(routes, weighted(via("10.0.0.0/8", ident.OnRamp(i+1), 100), w))
	}
	tab := table(t, routes...)
	const flows = 100_000
	count := make(map[ident.OnRamp]int)
	for i := range flows {
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), uint16(i>>2))
		dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), 5}), 443)
		count[tab.Lookup(1, 1, dst.Addr(), tab.Hash(src, dst, 6), nil).NextHop]++
	}
	for i, want := range []float64{10.0, 20.0, 30.0, 39.9} {
		if got := 100 * float64(count[ident.OnRamp(i+1)]) / flows; math.Abs(got-want) > 1 {
			t.Errorf("weight %d has %.2f %% of the flows, want %.1f", weights[i], got, want)
		}
	}
}

// TestRT7: a prefix that has routes in other regions alone is dropped, although
// a shorter one covers it; where a route without a scope is, all is as usual.
// SEMANTICS RT-7.
func TestRT7(t *testing.T) {
	all := []route.Scoped{
		{Route: via("10.0.0.0/8", 1, 100)},
		{Route: via("10.1.0.0/16", 2, 100), Regions: []string{"WEUR", "EEUR"}},
		{Route: via("10.1.0.0/16", 3, 100), Datacenters: []string{"nrt"}},
		{Route: via("10.2.0.0/16", 4, 200)},
		{Route: via("10.2.0.0/16", 5, 100), Regions: []string{"OC"}, Datacenters: []string{"sin"}},
		{Route: via("203.0.113.0/24", 6, 100), Regions: []string{"WEUR"}},
	}
	for _, tt := range []struct {
		region, dc, dst string
		want            ident.OnRamp
	}{
		{"WEUR", "lhr", "10.1.0.5", 2}, {"EEUR", "waw", "10.1.0.5", 2}, {"APAC", "nrt", "10.1.0.5", 3},
		{"ENAM", "jfk", "10.1.0.5", 0}, {"APAC", "sin", "10.1.0.5", 0}, {"ENAM", "jfk", "10.3.0.5", 1},
		{"WEUR", "lhr", "10.2.0.5", 4}, {"OC", "syd", "10.2.0.5", 5}, {"APAC", "sin", "10.2.0.5", 5},
		{"WEUR", "lhr", "203.0.113.9", 6}, {"ENAM", "jfk", "203.0.113.9", 0},
	} {
		tab := table(t, route.In(all, tt.region, tt.dc)...)
		got := tab.Lookup(1, 1, netip.MustParseAddr(tt.dst), 7, nil)
		if want := map[bool]route.Verdict{true: route.Via, false: route.Null}[tt.want != 0]; got.NextHop != tt.want || got.Verdict != want {
			t.Errorf("%s at %s in %s: %+v, want on-ramp %d", tt.dst, tt.dc, tt.region, got, tt.want)
		}
	}
	if got := route.In(all, "ENAM", "jfk"); len(got) != 4 {
		t.Errorf("at jfk %v, want two routes and two null routes", got)
	}
}

// TestRT12: of a ZT and a WAN route of equal length the ZT one is taken; a
// longer WAN route beats it. In legacy mode the longer ZT route and the equal
// one are taken, and a longer WAN route is not promised anything. SEMANTICS
// RT-12, 2.3.
func TestRT12(t *testing.T) {
	dst := netip.MustParseAddr("10.0.1.5")
	for _, tt := range []struct {
		zt, wan string
		want    ident.OnRamp
	}{{"10.0.1.0/24", "10.0.1.0/24", 1}, {"10.0.1.0/24", "10.0.1.0/28", 2}, {"10.0.1.0/28", "10.0.1.0/24", 1}} {
		tab := table(t, via(tt.wan, 2, 1), behind(via(tt.zt, 1, 1000)))
		if old := legacy(t, via(tt.wan, 2, 1), behind(via(tt.zt, 1, 1000))); tt.want == 1 {
			if got := old.Lookup(1, 1, dst, 0, nil); got.NextHop != 1 || got.Equal != 1 {
				t.Errorf("legacy, ZT %s, WAN %s: %+v, want on-ramp 1", tt.zt, tt.wan, got)
			}
		}
		for hash := range uint64(100) {
			if got := tab.Lookup(1, 1, dst, hash, nil); got.NextHop != tt.want || got.Equal != 1 {
				t.Fatalf("ZT %s, WAN %s: %+v, want on-ramp %d", tt.zt, tt.wan, got, tt.want)
			}
		}
	}
}

// TestLegacy: whatever the ZT plane matches is its own; the rest is looked up
// among the WAN's routes, longest prefix first. Other tenants are as ever.
// SEMANTICS 2.1, 2.3.
func TestLegacy(t *testing.T) {
	routes := []route.Route{
		behind(via("10.1.0.0/16", 1, 100)),
		via("10.1.1.0/24", 2, 100), via("10.0.0.0/8", 3, 100), via("10.2.0.0/16", 4, 200), via("10.2.0.0/16", 5, 100),
		behind(via("10.3.0.0/24", 0, 100)), via("10.3.0.0/28", 2, 100),
	}
	for _, r := range routes[:2] {
		r.Tenant = 2
		routes = append(routes, r)
	}
	tab := legacy(t, routes...)
	for _, tt := range []struct {
		tenant ident.Tenant
		dst    string
		want   ident.OnRamp
	}{
		{1, "10.1.1.5", 1}, {1, "10.1.2.5", 1}, {1, "10.2.0.5", 5}, {1, "10.9.0.5", 3}, {1, "10.3.0.5", 0}, {1, "10.3.1.5", 3}, {1, "172.16.0.1", 0},
		{2, "10.1.1.5", 2}, {2, "10.1.2.5", 1},
	} {
		got := tab.Lookup(tt.tenant, 1, netip.MustParseAddr(tt.dst), 0, nil)
		if got.NextHop != tt.want || (got.Verdict == route.Null) != (tt.want == 0) {
			t.Errorf("%s of tenant %d: %+v, want on-ramp %d", tt.dst, tt.tenant, got, tt.want)
		}
	}
}

// TestRT13: what communities and prepending say of a learned route. SEMANTICS
// RT-13, 2.7.
func TestRT13(t *testing.T) {
	for _, tt := range []struct {
		communities []string
		extra, want int
	}{
		{nil, 0, 100},
		{nil, 3, 130},
		{[]string{"13335:60150"}, 2, 170}, // RT-13
		{[]string{"13335:60200", "13335:60050"}, 0, 50},
		{[]string{"13335:60902", "13335:60901"}, 1, 501010},
		{[]string{"13335:60010", "13335:60902", "13335:60150"}, 0, 10},
		{[]string{"13335:60902"}, 0, 1001000},
		{[]string{"65000:60010", "13335:100"}, 0, 100}, // nothing that we know
	} {
		var all []route.Community
		for _, text := range tt.communities {
			c, err := route.ParseCommunity(text)
			if err != nil || c.String() != text {
				t.Fatalf("%s: read as %v, %v", text, c, err)
			}
			all = append(all, c)
		}
		if got := route.BGPPriority(all, tt.extra); got != tt.want {
			t.Errorf("%v and %d prepends: priority %d, want %d", tt.communities, tt.extra, got, tt.want)
		}
	}
	for _, bad := range []string{"", "13335", "13335:", ":1", "13335:65536", "70000:1", "-1:2", "1:2:3", " 1:2", "0x1:2"} {
		if c, err := route.ParseCommunity(bad); err == nil {
			t.Errorf("%q is read as %v", bad, c)
		}
	}
}

// TestMaxEqual: 64 routes of one prefix and priority, not one more; another
// priority counts by itself. SEMANTICS 2.2.
func TestMaxEqual(t *testing.T) {
	var routes []route.Route
	for i := range route.MaxEqual {
		routes = append(routes, via("10.0.0.0/8", ident.OnRamp(i+1), 100), via("10.0.0.0/8", ident.OnRamp(i+1001), 200))
	}
	if got := table(t, routes...).Lookup(1, 1, netip.MustParseAddr("10.0.0.1"), 63, nil); got.NextHop != 64 || got.Equal != 64 {
		t.Errorf("got %+v, want the last of 64", got)
	}
	_, err := route.New(1, append(routes, via("10.0.0.0/8", 2001, 100)))
	var many *route.TooManyError
	if !errors.As(err, &many) || many.Route.NextHop != 2001 {
		t.Errorf("the 65th: got %v, want TooManyError", err)
	}
}

// TestReserved: a broader route does not reach into what the network keeps for
// itself, a longer one inside does. SEMANTICS 2.3.
func TestReserved(t *testing.T) {
	tab := table(t, via("0.0.0.0/0", 1, 1), via("::/0", 1, 1), via("100.96.0.7/32", 2, 1))
	none := table(t)
	for dst, want := range map[string]ident.OnRamp{
		"100.64.0.0": 0, "100.79.255.255": 0, "100.80.1.1": 0, "100.81.0.0": 1, "100.96.0.6": 0, "100.96.0.7": 2, "100.111.255.255": 0,
		"100.112.1.1": 0, "100.113.0.0": 1, "172.64.127.255": 1, "172.64.128.0": 0, "172.64.143.255": 0, "172.64.144.0": 1,
		"2606:4700:cf1:1000::1": 0, "2606:4700:cf1:4000::1": 0, "2606:4700:cf1:5000::1": 0, "2606:4700:cf1:5001::1": 1,
	} {
		a := netip.MustParseAddr(dst)
		if got := tab.Lookup(1, 1, a, 0, nil); got.NextHop != want || (got.Verdict == route.Null) != (want == 0) {
			t.Errorf("%s: %+v, want on-ramp %d", dst, got, want)
		}
		if _, kept := route.ReservedBy(netip.PrefixFrom(a, a.BitLen())); kept != (want != 1) {
			t.Errorf("%s: reserved %v", dst, kept)
		}
		if got := none.Lookup(1, 1, a, 0, nil).Verdict; want == 0 && got != route.Null {
			t.Errorf("%s without a route: verdict %v, want null", dst, got)
		}
	}
	for prefix, want := range map[string]bool{
		"100.64.0.0/12": true, "100.64.0.0/11": false, "100.64.0.0/10": false, "100.65.0.0/16": true, "0.0.0.0/0": false,
		"100.112.0.0/16": true, "100.112.0.0/15": false, "::/0": false, "10.0.0.0/8": false,
	} {
		if _, got := route.ReservedBy(netip.MustParsePrefix(prefix)); got != want {
			t.Errorf("a route to %s reaches into a reserved range: %v, want %v", prefix, got, want)
		}
	}
}

// TestAgainstModel: random tables of all planes, sources, priorities, networks
// and both modes decide as a plain reading of SEMANTICS 2.1, 2.3 and 3.1 does.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var routes []route.Route
		for range rapid.IntRange(0, 25).Draw(rt, "routes") {
			r := route.Route{
				ID: fmt.Sprint(len(routes)), Tenant: 1, VNet: rapid.SampledFrom([]ident.VNet{1, 2}).Draw(rt, "vnet"),
				Prefix:   netip.MustParsePrefix(rapid.SampledFrom([]string{"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.1.1.5/32", "100.64.0.0/10"}).Draw(rt, "prefix")),
				NextHop:  rapid.SampledFrom([]ident.OnRamp{0, 1, 2, 3}).Draw(rt, "hop"),
				Priority: rapid.SampledFrom([]int{100, 101}).Draw(rt, "priority"),
				Source:   rapid.SampledFrom([]route.Source{"", route.Static, route.BGP}).Draw(rt, "source"),
				Plane:    rapid.SampledFrom([]route.Plane{"", route.WAN, route.WAN, route.ZT}).Draw(rt, "plane"),
			}
			if _, err := route.New(1, append(routes, r)); err == nil {
				routes = append(routes, r)
			}
		}
		mode := route.Default{Tenant: 1, Legacy: rapid.Bool().Draw(rt, "legacy"), VNet: rapid.SampledFrom([]ident.VNet{0, 1, 2}).Draw(rt, "default")}
		tab, err := route.New(1, routes, mode)
		if err != nil {
			rt.Fatal(err)
		}
		dst := netip.MustParseAddr(rapid.SampledFrom([]string{"10.1.1.5", "10.1.1.6", "10.1.2.1", "10.2.0.1", "100.65.0.1", "100.120.0.1", "203.0.113.1", "192.168.0.1"}).Draw(rt, "dst"))
		vnet := rapid.SampledFrom([]ident.VNet{1, 2, 3}).Draw(rt, "from")
		sick := rapid.SampledFrom([]ident.OnRamp{0, 1, 2}).Draw(rt, "sick")
		penalty := route.Penalty(func(o ident.OnRamp) int { return map[bool]int{true: 500000}[o == sick && o != 0] })
		if rapid.Bool().Draw(rt, "healthy") {
			penalty = nil
		}
		got := tab.Lookup(1, vnet, dst, rapid.Uint64().Draw(rt, "hash"), penalty)
		want, found := model(routes, mode, vnet, dst, penalty)
		if !found {
			verdict := map[bool]route.Verdict{true: route.Internet, false: route.Null}[dst == netip.MustParseAddr("203.0.113.1")]
			if got != (route.Decision{Verdict: verdict}) {
				rt.Fatalf("%v: %+v, want verdict %v and no route", dst, got, verdict)
			}
			return
		}
		if !want[got.NextHop] || got.Equal != len(want) || (got.Verdict == route.Null) != (got.NextHop == 0) || got.Verdict == route.Internet {
			rt.Fatalf("%v from %d, %+v: %+v, want one of %v", dst, vnet, mode, got, want)
		}
	})
}

// model finds the equal next hops by walking over all routes.
func model(routes []route.Route, mode route.Default, vnet ident.VNet, dst netip.Addr, penalty route.Penalty) (map[ident.OnRamp]bool, bool) {
	walk := func(may func(route.Route) bool) []route.Route {
		var best []route.Route
		for _, r := range routes {
			switch {
			case !may(r) || !r.Prefix.Contains(dst):
			case len(best) == 0 || r.Prefix.Bits() > best[0].Prefix.Bits():
				best = []route.Route{r}
			case r.Prefix.Bits() == best[0].Prefix.Bits():
				best = append(best, r)
			}
		}
		return best
	}
	here := func(r route.Route) bool { return r.VNet == vnet }
	private := func(r route.Route) bool { return r.Plane == route.ZT }
	best := walk(here)
	if mode.Legacy {
		best = walk(func(r route.Route) bool { return here(r) && private(r) })
		if len(best) == 0 {
			best = walk(func(r route.Route) bool { return here(r) && !private(r) })
		}
	}
	if len(best) == 0 {
		best = walk(func(r route.Route) bool { return r.VNet == max(mode.VNet, 1) && !private(r) })
	}
	if len(best) == 0 {
		return nil, false
	}
	if kept, ok := route.ReservedBy(netip.PrefixFrom(dst, 32)); ok && kept.Prefix.Bits() > best[0].Prefix.Bits() {
		return map[ident.OnRamp]bool{0: true}, true
	}
	// Lower is better: plane, then penalised priority, then source.
	cost := func(r route.Route) [3]int {
		c := [3]int{1, r.Priority, 0}
		if r.Plane == route.ZT {
			c[0] = 0
		}
		if penalty != nil {
			c[1] += penalty(r.NextHop)
		}
		if r.Source == route.BGP {
			c[2] = 1
		}
		return c
	}
	less := func(a, b [3]int) bool {
		for i := range a {
			if a[i] != b[i] {
				return a[i] < b[i]
			}
		}
		return false
	}
	least := cost(best[0])
	for _, r := range best {
		if less(cost(r), least) {
			least = cost(r)
		}
	}
	hops := map[ident.OnRamp]bool{}
	for _, r := range best {
		if cost(r) == least {
			hops[r.NextHop] = true
		}
	}
	return hops, true
}

// FuzzCommunity: a community or an error, and a community is read again as what
// it is written.
func FuzzCommunity(f *testing.F) {
	for _, s := range []string{"13335:60010", "0:0", "65535:65535", "65536:0", ":", "1:", ":1", "1:2:3", "-1:1", "+1:1", " 1:1", "01:1", "0x1:1", "1_0:1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := route.ParseCommunity(s)
		if err != nil {
			if c != 0 || !strings.Contains(err.Error(), "want two numbers") {
				t.Fatalf("%q is refused with %v, and is %v", s, err, c)
			}
			return
		}
		if again, err := route.ParseCommunity(c.String()); err != nil || again != c {
			t.Fatalf("%q is %v, which is read as %v, %v", s, c, again, err)
		}
		if p := route.BGPPriority([]route.Community{c}, 1); c.Ours() != (c>>16 == 13335) || !c.Ours() && p != route.BasePriority+route.PrependCost {
			t.Fatalf("%v, ours %v, gives priority %d", c, c.Ours(), p)
		}
	})
}
