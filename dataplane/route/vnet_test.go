package route_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
)

func private(plane route.Plane, vnet ident.VNet, prefix string, hop ident.OnRamp) route.Route {
	return route.Route{ID: fmt.Sprint(prefix, " ", vnet), Tenant: 1, VNet: vnet, Prefix: netip.MustParsePrefix(prefix), NextHop: hop, Priority: 100, Plane: plane}
}

// reach is where a client in a network finds an address; 0 is nowhere.
func reach(t *testing.T, table *route.Table, vnet ident.VNet, dst string) ident.OnRamp {
	t.Helper()
	d := table.Lookup(1, vnet, netip.MustParseAddr(dst), 0, nil)
	if (d.Verdict == route.Via) != (d.NextHop != 0) {
		t.Fatalf("%s in %d: %+v", dst, vnet, d)
	}
	return d.NextHop
}

// TestVN1: one prefix in two virtual networks on two tunnels: each client
// reaches its own. SEMANTICS VN-1.
func TestVN1(t *testing.T) {
	r := table(t, private(route.ZT, 2, "10.1.0.0/16", 7), private(route.ZT, 3, "10.1.0.0/16", 8))
	for vnet, want := range map[ident.VNet]ident.OnRamp{1: 0, 2: 7, 3: 8} {
		if got := reach(t, r, vnet, "10.1.2.3"); got != want {
			t.Errorf("from network %d: on-ramp %d, want %d", vnet, got, want)
		}
	}
}

// TestVN2: the same prefix twice in one network is error 1014, whatever the
// connector; half of it is legal and preferred. SEMANTICS VN-2.
func TestVN2(t *testing.T) {
	first := private(route.ZT, 2, "10.1.0.0/16", 7)
	_, err := route.New(1, []route.Route{first, private(route.ZT, 2, "10.1.0.0/16", 8)})
	var d *route.DuplicateError
	if !errors.Is(err, route.ErrDuplicate) || !errors.As(err, &d) || d.First.NextHop != 7 || d.Second.NextHop != 8 {
		t.Errorf("got %v, want error 1014", err)
	}
	r := table(t, first, private(route.ZT, 2, "10.1.128.0/17", 8), private(route.ZT, 1, "10.1.0.0/16", 9))
	for dst, want := range map[string]ident.OnRamp{"10.1.1.1": 7, "10.1.200.1": 8} {
		if got := reach(t, r, 2, dst); got != want {
			t.Errorf("%s: on-ramp %d, want %d", dst, got, want)
		}
	}
}

// TestVN5: what the chosen network does not know is looked up among the
// default network's WAN routes, and nowhere else. SEMANTICS VN-5.
func TestVN5(t *testing.T) {
	r := table(t,
		private(route.WAN, 1, "10.1.0.0/16", 7),  // a WAN route of the default network
		private(route.ZT, 1, "10.2.0.0/16", 8),   // a connector of the default network
		private(route.ZT, 3, "10.3.0.0/16", 9),   // a connector of another network
		private(route.ZT, 1, "10.1.1.0/24", 8),   // a connector inside the WAN route
		private(route.WAN, 1, "10.1.2.0/24", 0),  // a null route inside it
		private(route.ZT, 2, "10.1.3.0/24", 6),   // the chosen network's own
		private(route.WAN, 1, "10.1.3.64/26", 7), // longer, but not a miss
	)
	for dst, want := range map[string]ident.OnRamp{
		"10.1.9.9": 7, "10.2.9.9": 0, "10.3.9.9": 0, "10.1.1.9": 7, "10.1.2.9": 0, "10.1.3.70": 6, "10.9.9.9": 0,
	} {
		if got := reach(t, r, 2, dst); got != want {
			t.Errorf("%s: on-ramp %d, want %d", dst, got, want)
		}
	}
	if got := reach(t, r, 1, "10.1.1.9"); got != 8 {
		t.Errorf("from the default network: on-ramp %d, want the connector 8", got)
	}
}

// TestFallbackFollowsTheDefault: New falls back to the network that it is told
// is the default, to 1 untold, and never to another tenant's.
func TestFallbackFollowsTheDefault(t *testing.T) {
	routes := []route.Route{
		{Tenant: 1, VNet: 1, Prefix: netip.MustParsePrefix("10.1.0.0/16"), NextHop: 1},
		{Tenant: 1, VNet: 2, Prefix: netip.MustParsePrefix("10.2.0.0/16"), NextHop: 2},
	}
	dst1, dst2 := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.2.0.1")
	untold, err1 := route.New(1, routes)
	told, err2 := route.New(1, routes, route.Default{Tenant: 1, VNet: 2})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	for _, tt := range []struct {
		name   string
		table  *route.Table
		tenant ident.Tenant
		dst    netip.Addr
		want   ident.OnRamp
	}{
		{"untold", untold, 1, dst1, 1}, {"untold", untold, 1, dst2, 0}, {"told", told, 1, dst1, 0}, {"told", told, 1, dst2, 2},
		{"other tenant", told, 2, dst2, 0}, {"other tenant", untold, 2, dst1, 0},
	} {
		if got := tt.table.Lookup(tt.tenant, 3, tt.dst, 0, nil).NextHop; got != tt.want {
			t.Errorf("%s: %v from network 3 goes to %d, want %d", tt.name, tt.dst, got, tt.want)
		}
	}
}
