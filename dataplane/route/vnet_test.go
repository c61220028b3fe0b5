package route_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// account is a new account with more networks, numbered from 2.
func account(t *testing.T, names ...string) *route.VNets {
	t.Helper()
	v := route.NewVNets(1)
	for i, name := range names {
		id, err := v.Create(name, false)
		if err != nil || id != ident.VNet(i+2) {
			t.Fatalf("created %s as %d: %v, want %d", name, id, err, i+2)
		}
	}
	return v
}

// in adds a route and fails the test if it cannot be.
func in(t *testing.T, v *route.VNets, plane route.Plane, vnet ident.VNet, prefix string, hop ident.OnRamp) {
	t.Helper()
	if err := v.AddRoute(private(plane, vnet, prefix, hop)); err != nil {
		t.Fatal(err)
	}
}

func private(plane route.Plane, vnet ident.VNet, prefix string, hop ident.OnRamp) route.Route {
	return route.Route{ID: fmt.Sprint(prefix, " ", vnet), VNet: vnet, Prefix: netip.MustParsePrefix(prefix), NextHop: hop, Priority: 100, Plane: plane}
}

// reach is where a client in a network finds an address; 0 is nowhere.
func reach(t *testing.T, v *route.VNets, vnet ident.VNet, dst string) ident.OnRamp {
	t.Helper()
	table, err := v.Table(1)
	if err != nil {
		t.Fatal(err)
	}
	d := table.Lookup(1, vnet, netip.MustParseAddr(dst), 0, nil)
	if (d.Verdict == route.Via) != (d.NextHop != 0) {
		t.Fatalf("%s in %d: %+v", dst, vnet, d)
	}
	return d.NextHop
}

// TestVN1: one prefix in two virtual networks on two tunnels: each client
// reaches its own. SEMANTICS VN-1.
func TestVN1(t *testing.T) {
	v := account(t, "frankfurt", "sydney")
	in(t, v, route.ZT, 2, "10.1.0.0/16", 7)
	in(t, v, route.ZT, 3, "10.1.0.0/16", 8)
	for vnet, want := range map[ident.VNet]ident.OnRamp{1: 0, 2: 7, 3: 8} {
		if got := reach(t, v, vnet, "10.1.2.3"); got != want {
			t.Errorf("from network %d: on-ramp %d, want %d", vnet, got, want)
		}
	}
}

// TestVN2: the same prefix twice in one network is error 1014, whatever the
// connector; half of it is legal and preferred. SEMANTICS VN-2.
func TestVN2(t *testing.T) {
	v := account(t, "blue")
	in(t, v, route.ZT, 2, "10.1.0.0/16", 7)
	var d *route.DuplicateError
	err := v.AddRoute(private(route.ZT, 2, "10.1.0.0/16", 8))
	if !errors.Is(err, route.ErrDuplicate) || !errors.As(err, &d) || d.First.NextHop != 7 || d.Second.NextHop != 8 {
		t.Errorf("got %v, want error 1014", err)
	}
	in(t, v, route.ZT, 2, "10.1.128.0/17", 8)
	in(t, v, route.ZT, 1, "10.1.0.0/16", 9) // another network
	for dst, want := range map[string]ident.OnRamp{"10.1.1.1": 7, "10.1.200.1": 8} {
		if got := reach(t, v, 2, dst); got != want {
			t.Errorf("%s: on-ramp %d, want %d", dst, got, want)
		}
	}
}

// TestVN3: who chooses nothing is in the default network; a new default takes
// the flag away from the old one and has unpinned clients from their next
// connect on. SEMANTICS VN-3.
func TestVN3(t *testing.T) {
	v := account(t, "blue")
	connect := func(chosen, want ident.VNet) {
		t.Helper()
		if got, err := v.Connect(chosen); got != want || err != nil {
			t.Errorf("who chose %d is in %d (%v), want %d", chosen, got, err, want)
		}
	}
	connect(0, 1)
	connect(2, 2)
	if err := v.Promote(2); err != nil {
		t.Fatal(err)
	}
	connect(0, 2)
	connect(1, 1)
	red, err := v.Create("red", true)
	if err != nil {
		t.Fatal(err)
	}
	connect(0, red)
	for _, n := range v.All() {
		if n.Default != (n.ID == red) {
			t.Errorf("network %+v, want %d alone as the default", n, red)
		}
	}
	if _, err := v.Connect(9); !errors.Is(err, route.ErrNoVNet) {
		t.Errorf("network 9: got %v, want ErrNoVNet", err)
	}
	if err := v.Promote(9); !errors.Is(err, route.ErrNoVNet) || v.Default() != red {
		t.Errorf("promoting network 9: got %v, default %d", err, v.Default())
	}
	if _, err := v.Create("blue", false); !errors.Is(err, route.ErrNameTaken) {
		t.Errorf("a second blue: got %v, want ErrNameTaken", err)
	}
}

// TestVN4: a switch ends what is open and takes effect in each datacenter with
// its propagation; no datacenter ever has the client in two networks. SEMANTICS
// VN-4.
func TestVN4(t *testing.T) {
	const near, far, bound = 1, 2, 3 * time.Second
	s := route.Switch{From: 1, To: 2, At: vt.Instant(10 * time.Second), Propagation: func(dc ident.Datacenter) time.Duration {
		return map[ident.Datacenter]time.Duration{near: 200 * time.Millisecond, far: bound}[dc]
	}}
	at := func(seconds float64) vt.Instant { return vt.Instant(seconds * float64(time.Second)) }
	for _, tt := range []struct {
		dc   ident.Datacenter
		now  float64
		vnet ident.VNet
		ends vt.Instant
	}{
		{near, 9.9, 1, at(10)}, {near, 10, 1, at(10.2)}, {near, 10.2, 2, vt.Never},
		{far, 9.9, 1, at(10)}, {far, 10.2, 1, at(13)}, {far, 12.999, 1, at(13)}, {far, 13, 2, vt.Never},
	} {
		if got := s.VNet(tt.dc, at(tt.now)); got != tt.vnet {
			t.Errorf("at %vs datacenter %d opens in network %d, want %d", tt.now, tt.dc, got, tt.vnet)
		}
		if got := s.Ends(tt.dc, at(tt.now)); got != tt.ends {
			t.Errorf("opened at %vs at datacenter %d: ends %v, want %v", tt.now, tt.dc, got, tt.ends)
		}
	}
	for _, dc := range []ident.Datacenter{near, far} {
		for ms := 9000; ms < 14000; ms += 50 {
			now := at(float64(ms) / 1000)
			for began := 9000; began <= ms; began += 50 {
				b := at(float64(began) / 1000)
				if s.Ends(dc, b) > now && s.VNet(dc, b) != s.VNet(dc, now) {
					t.Fatalf("at %dms datacenter %d has flows in two networks", ms, dc)
				}
			}
		}
		if got := s.VNet(dc, s.At.Add(bound)); got != 2 {
			t.Errorf("after the bound datacenter %d opens in network %d", dc, got)
		}
	}
	if still := (&route.Switch{From: 1, To: 2, At: 5}); still.VNet(near, 4) != 1 || still.VNet(near, 5) != 2 {
		t.Error("without propagation the switch is not immediate")
	}
}

// TestVN5: what the chosen network does not know is looked up among the
// default network's WAN routes, and nowhere else. SEMANTICS VN-5.
func TestVN5(t *testing.T) {
	v := account(t, "blue", "red")
	in(t, v, route.WAN, 1, "10.1.0.0/16", 7)  // a WAN route of the default network
	in(t, v, route.ZT, 1, "10.2.0.0/16", 8)   // a connector of the default network
	in(t, v, route.ZT, 3, "10.3.0.0/16", 9)   // a connector of another network
	in(t, v, route.ZT, 1, "10.1.1.0/24", 8)   // a connector inside the WAN route
	in(t, v, route.WAN, 1, "10.1.2.0/24", 0)  // a null route inside it
	in(t, v, route.ZT, 2, "10.1.3.0/24", 6)   // the chosen network's own
	in(t, v, route.WAN, 1, "10.1.3.64/26", 7) // longer, but not a miss
	for dst, want := range map[string]ident.OnRamp{
		"10.1.9.9": 7, "10.2.9.9": 0, "10.3.9.9": 0, "10.1.1.9": 7, "10.1.2.9": 0, "10.1.3.70": 6, "10.9.9.9": 0,
	} {
		if got := reach(t, v, 2, dst); got != want {
			t.Errorf("%s: on-ramp %d, want %d", dst, got, want)
		}
	}
	if got := reach(t, v, 1, "10.1.1.9"); got != 8 {
		t.Errorf("from the default network: on-ramp %d, want the connector 8", got)
	}
	if err := v.AddRoute(private(route.WAN, 2, "10.4.0.0/16", 7)); !errors.Is(err, route.ErrDefaultOnly) {
		t.Errorf("a WAN route outside the default network: got %v, want ErrDefaultOnly", err)
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

// TestVN6: a network with routes is not deleted, nor is the default; an id is
// never used again. SEMANTICS VN-6.
func TestVN6(t *testing.T) {
	v := account(t, "blue")
	r := private(route.ZT, 2, "10.1.0.0/16", 7)
	if err := v.AddRoute(r); err != nil {
		t.Fatal(err)
	}
	if err := v.Delete(2); !errors.Is(err, route.ErrRoutesLeft) {
		t.Errorf("with a route: got %v, want ErrRoutesLeft", err)
	}
	if n := v.DeleteRoute(r.ID); n != 1 {
		t.Errorf("deleted %d routes, want 1", n)
	}
	if err := v.Delete(2); err != nil {
		t.Errorf("empty: got %v", err)
	}
	for id, want := range map[ident.VNet]error{1: route.ErrIsDefault, 2: route.ErrNoVNet} {
		if err := v.Delete(id); !errors.Is(err, want) {
			t.Errorf("deleting %d: got %v, want %v", id, err, want)
		}
	}
	if err := v.AddRoute(r); !errors.Is(err, route.ErrNoVNet) {
		t.Errorf("a route in a deleted network: got %v, want ErrNoVNet", err)
	}
	if id, err := v.Create("blue", false); id != 3 || err != nil {
		t.Errorf("a new blue is network %d (%v), want 3", id, err)
	}
}
