package route_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"pgregory.net/rapid"
)

func via(prefix string, hop ident.OnRamp, priority int) route.Route {
	return route.Route{ID: prefix, Tenant: 1, VNet: 1, Prefix: netip.MustParsePrefix(prefix), NextHop: hop, Priority: priority}
}

func with(r route.Route, edit func(*route.Route)) route.Route {
	edit(&r)
	return r
}

// TestLookup: one rule of SEMANTICS 2.3 per case.
func TestLookup(t *testing.T) {
	bgp := func(r *route.Route) { r.Source = route.BGP }
	zt := func(r *route.Route) { r.Plane = route.ZT }
	sick := func(penalties map[ident.OnRamp]int) route.Penalty {
		return func(o ident.OnRamp) int { return penalties[o] }
	}
	internet, null := route.Decision{}, route.Decision{Verdict: route.Null}
	hop := func(o ident.OnRamp, equal int) route.Decision {
		return route.Decision{Verdict: route.Via, NextHop: o, Equal: equal}
	}
	tests := []struct {
		name    string
		routes  []route.Route
		dst     string
		penalty route.Penalty
		want    route.Decision
	}{
		{"longest prefix beats priority (RT-1)", []route.Route{via("10.0.0.0/30", 1, 900), via("10.0.0.0/29", 2, 1)}, "10.0.0.1", nil, hop(1, 1)},
		{"shorter prefix beyond it", []route.Route{via("10.0.0.0/30", 1, 900), via("10.0.0.0/29", 2, 1)}, "10.0.0.4", nil, hop(2, 1)},
		{"lower priority wins (RT-2)", []route.Route{via("10.0.0.0/8", 1, 200), via("10.0.0.0/8", 2, 100)}, "10.0.0.1", nil, hop(2, 1)},
		{"static beats BGP (RT-3)", []route.Route{with(via("10.0.0.0/8", 1, 100), bgp), via("10.0.0.0/8", 2, 100)}, "10.0.0.1", nil, hop(2, 1)},
		{"better BGP beats static (RT-3)", []route.Route{with(via("10.0.0.0/8", 1, 100), bgp), via("10.0.0.0/8", 2, 101)}, "10.0.0.1", nil, hop(1, 1)},
		{"ZT beats WAN at equal length (RT-12)", []route.Route{via("10.0.0.0/24", 1, 1), with(via("10.0.0.0/24", 2, 500), zt)}, "10.0.0.1", nil, hop(2, 1)},
		{"longer WAN beats ZT (RT-12)", []route.Route{via("10.0.0.0/28", 1, 900), with(via("10.0.0.0/24", 2, 1), zt)}, "10.0.0.1", nil, hop(1, 1)},
		{"penalty moves to the next (RT-9)", []route.Route{via("10.0.0.0/8", 1, 100), via("10.0.0.0/8", 2, 200)}, "10.0.0.1", sick(map[ident.OnRamp]int{1: 1000000}), hop(2, 1)},
		{"all down: the least bad (RT-11)", []route.Route{via("10.0.0.0/8", 1, 100), via("10.0.0.0/8", 2, 200)}, "10.0.0.1", sick(map[ident.OnRamp]int{1: 1000000, 2: 1000000}), hop(1, 1)},
		{"penalty never removes a longer prefix", []route.Route{via("10.0.0.0/24", 1, 100), via("10.0.0.0/8", 2, 100)}, "10.0.0.1", sick(map[ident.OnRamp]int{1: 1000000}), hop(1, 1)},
		{"penalty and source", []route.Route{via("10.0.0.0/8", 1, 100), with(via("10.0.0.0/8", 2, 100), bgp)}, "10.0.0.1", sick(map[ident.OnRamp]int{1: 500000}), hop(2, 1)},
		{"null route", []route.Route{via("203.0.113.0/24", 0, 1)}, "203.0.113.1", nil, route.Decision{Verdict: route.Null, Equal: 1}},
		{"null route beside a longer one", []route.Route{via("10.0.0.0/8", 0, 1), via("10.1.0.0/16", 3, 1)}, "10.1.0.1", nil, hop(3, 1)},
		{"default route", []route.Route{via("0.0.0.0/0", 4, 1)}, "203.0.113.1", nil, hop(4, 1)},
		{"host bits are cut off", []route.Route{via("10.0.0.7/8", 5, 1)}, "10.200.0.1", nil, hop(5, 1)},
		{"ipv6", []route.Route{via("2001:db8::/32", 6, 1)}, "2001:db8::1", nil, hop(6, 1)},
		{"public without a route (RT-8)", nil, "198.51.100.1", nil, internet},
		{"private without a route (RT-8)", nil, "10.9.9.9", nil, null},
		{"shared without a route (RT-8)", nil, "100.120.0.1", nil, null},
		{"ipv6 local without a route", nil, "fd00::1", nil, null},
		{"ipv6 public without a route", nil, "2606:4700::1", nil, internet},
		{"other vnet", []route.Route{with(via("10.0.0.0/8", 1, 1), func(r *route.Route) { r.VNet = 2 })}, "10.0.0.1", nil, null},
		{"other tenant", []route.Route{with(via("10.0.0.0/8", 1, 1), func(r *route.Route) { r.Tenant = 2 })}, "10.0.0.1", nil, null},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table, err := route.New(1, tt.routes)
			if err != nil {
				t.Fatal(err)
			}
			for hash := range uint64(5) {
				if got := table.Lookup(1, 1, netip.MustParseAddr(tt.dst), hash, tt.penalty); got != tt.want {
					t.Fatalf("got %+v, want %+v", got, tt.want)
				}
			}
		})
	}
}

// TestEqualWeights: equal weights are the same as none: hash mod N, in next-hop
// order. SEMANTICS 2.4.
func TestEqualWeights(t *testing.T) {
	for _, weight := range []int{0, 1, 64, 256} {
		var routes []route.Route
		for _, hop := range []ident.OnRamp{3, 1, 2} {
			routes = append(routes, with(via("10.0.0.0/8", hop, 1), func(r *route.Route) { r.Weight = weight }))
		}
		table, err := route.New(1, routes)
		if err != nil {
			t.Fatal(err)
		}
		for hash := range uint64(20) {
			want := route.Decision{Verdict: route.Via, NextHop: ident.OnRamp(1 + hash%3), Equal: 3}
			if got := table.Lookup(1, 1, netip.MustParseAddr("10.0.0.1"), hash, nil); got != want {
				t.Errorf("weight %d, hash %d: got %+v, want %+v", weight, hash, got, want)
			}
		}
	}
}

// TestHash: ports count for TCP and UDP only. SEMANTICS 2.5.
func TestHash(t *testing.T) {
	table, _ := route.New(1, nil)
	a, b := netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.1:2")
	dst := netip.MustParseAddrPort("10.0.0.9:3")
	for proto, same := range map[uint8]bool{1: true, 6: false, 17: false, 47: true, 50: true} {
		if got := table.Hash(a, dst, proto) == table.Hash(b, dst, proto); got != same {
			t.Errorf("protocol %d: same hash for two ports %v, want %v", proto, got, same)
		}
	}
	if table.Hash(a, dst, 1) == table.Hash(a, netip.MustParseAddrPort("10.0.0.8:3"), 1) {
		t.Error("the destination does not matter")
	}
}

// TestNewRefuses: identical routes are duplicates (1014), equal prefixes with
// different next hops are not; every mistake is in the error. SEMANTICS 3.1.
func TestNewRefuses(t *testing.T) {
	a, b := with(via("10.0.0.0/8", 1, 100), func(r *route.Route) { r.ID = "a" }), with(via("10.3.0.0/8", 1, 200), func(r *route.Route) { r.ID = "b" })
	_, err := route.New(1, []route.Route{a, b, with(a, func(r *route.Route) { r.Weight = 300; r.ID = "c" })})
	var d *route.DuplicateError
	if !errors.Is(err, route.ErrDuplicate) || !errors.As(err, &d) || d.First.ID != "a" || d.Second.ID != "b" {
		t.Errorf("got %v, want b to be a duplicate of a", err)
	}
	if !strings.Contains(err.Error(), "weight") {
		t.Errorf("got %v, want the weight too", err)
	}
	for name, r := range map[string]route.Route{
		"no prefix": {Tenant: 1, VNet: 1},
		"mapped":    {Tenant: 1, VNet: 1, Prefix: netip.MustParsePrefix("::ffff:10.0.0.0/104")},
		"no vnet":   {Tenant: 1, Prefix: netip.MustParsePrefix("10.0.0.0/8")},
		"source":    with(a, func(r *route.Route) { r.Source = "ospf" }),
		"plane":     with(a, func(r *route.Route) { r.Plane = "x" }),
	} {
		if _, err := route.New(1, []route.Route{r}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := route.New(1, []route.Route{a, with(b, func(r *route.Route) { r.NextHop = 2 }), with(a, func(r *route.Route) { r.VNet = 2 }), with(a, func(r *route.Route) { r.Tenant = 2 })}); err != nil {
		t.Errorf("different next hops, vnets and tenants: %v", err)
	}
}

// TestAgainstWalk: look-ups in random tables agree with a walk over all routes.
func TestAgainstWalk(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		addr := rapid.Custom(func(rt *rapid.T) netip.Addr {
			return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 10, 127, 128, 255}), 4, 4).Draw(rt, "addr")))
		})
		var routes []route.Route
		seen := make(map[string]bool)
		for range rapid.IntRange(0, 20).Draw(rt, "routes") {
			p := netip.PrefixFrom(addr.Draw(rt, "prefix"), rapid.SampledFrom([]int{0, 1, 8, 9, 15, 16, 24, 31, 32}).Draw(rt, "bits")).Masked()
			if seen[p.String()] {
				continue // ECMP is tested elsewhere
			}
			seen[p.String()] = true
			routes = append(routes, route.Route{Tenant: 1, VNet: 1, Prefix: p, NextHop: ident.OnRamp(len(routes) + 1)})
		}
		table, err := route.New(1, routes)
		if err != nil {
			rt.Fatal(err)
		}
		dst := addr.Draw(rt, "dst")
		best, longest := ident.OnRamp(0), -1
		for _, r := range routes {
			if r.Prefix.Contains(dst) && r.Prefix.Bits() > longest {
				best, longest = r.NextHop, r.Prefix.Bits()
			}
		}
		got := table.Lookup(1, 1, dst, 3, nil)
		if got.NextHop != best || (got.Verdict == route.Via) != (best != 0) {
			rt.Fatalf("%v: got %+v, want next hop %d", dst, got, best)
		}
	})
}
