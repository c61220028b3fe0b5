package egress_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"pgregory.net/rapid"
)

var (
	prefix6 = netip.MustParsePrefix("2001:db8:6::/64")
	web6    = netip.MustParseAddrPort("[2001:db8:9::9]:443")
)

func hosts(t testing.TB, n int) []netip.Addr {
	t.Helper()
	all, err := egress.Hosts(prefix6, n)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestAssignWhole: every IPv6 address belongs to one server whole, every server
// has the same number or one less, slice 0 has no owner, and IPv4 beside it is
// divided as if alone.
func TestAssignWhole(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		servers := rapid.IntRange(0, 70).Draw(rt, "servers")
		six := rapid.IntRange(0, 150).Draw(rt, "IPv6 addresses")
		four := rapid.IntRange(0, 4).Draw(rt, "IPv4 addresses")
		mixed := append(hosts(t, six), pool(four)...)
		if six > 0 && rapid.Bool().Draw(rt, "IPv4 first") {
			mixed = append(pool(four), hosts(t, six)...)
		}
		assigned, err := egress.Assign(3, mixed, numbered(servers))
		few := six > 0 && six < servers || four > 0 && four < (servers+30)/31 || six+four == 0 && servers > 0
		if few {
			if !errors.Is(err, egress.ErrTooFewAddresses) {
				rt.Fatalf("%d and %d addresses for %d servers: %v", four, six, servers, err)
			}
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		whole := make([]int, servers+1)
		var sliced []egress.Address
		for i, a := range assigned {
			if a.Addr != mixed[i] || a.Owner[0] != 0 {
				rt.Fatalf("address %d is %+v, want %v", i, a, mixed[i])
			}
			if a.Addr.Is4() {
				sliced = append(sliced, a)
				continue
			}
			for k := 2; k < egress.Slices; k++ {
				if a.Owner[k] != a.Owner[1] {
					rt.Fatalf("%v is owned by %v, want one server", a.Addr, a.Owner)
				}
			}
			whole[a.Owner[1]]++
		}
		for s := 2; s <= servers; s++ {
			if d := whole[s] - whole[1]; d > 0 || d < -1 {
				rt.Fatalf("server %d has %d addresses, server 1 %d", s, whole[s], whole[1])
			}
		}
		if alone, _ := egress.Assign(3, pool(four), numbered(servers)); four > 0 {
			for i := range alone {
				if alone[i].Owner != sliced[i].Owner {
					rt.Fatalf("%v is owned by %v beside IPv6, by %v alone", alone[i].Addr, sliced[i].Owner, alone[i].Owner)
				}
			}
		}
	})
}

// TestHosts: the first addresses of a prefix but the routers', or an error.
func TestHosts(t *testing.T) {
	got := hosts(t, 2)
	if got[0] != netip.MustParseAddr("2001:db8:6::1") || got[1] != netip.MustParseAddr("2001:db8:6::2") {
		t.Errorf("got %v", got)
	}
	if got, err := egress.Hosts(netip.MustParsePrefix("2001:db8::fffe/126"), 3); err != nil || got[2] != netip.MustParseAddr("2001:db8::ffff") {
		t.Errorf("three of a /126: %v, %v", got, err)
	}
	for _, bad := range []string{"2001:db8::/126", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126"} {
		if _, err := egress.Hosts(netip.MustParsePrefix(bad), 4); !errors.Is(err, egress.ErrTooFewAddresses) {
			t.Errorf("four of %s: %v", bad, err)
		}
	}
	for _, bad := range []netip.Prefix{{}, netip.MustParsePrefix("198.51.100.0/24")} {
		if _, err := egress.Hosts(bad, 1); err == nil || errors.Is(err, egress.ErrTooFewAddresses) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// TestAllocateFamilies: a flow gets an address of its own family; of IPv6 a
// server has every port from 2,048 on; without one there is none.
func TestAllocateFamilies(t *testing.T) {
	d := divided(t, append(hosts(t, 3), pool(1)...), 3)
	a, table := egress.NewAllocator(7, d, 2), flows(1<<20)
	if four, six := a.Size(web.Addr(), egress.From{}), a.Size(web6.Addr(), egress.From{}); four != 2048 || six != 63488 {
		t.Errorf("%d ports of IPv4, %d of IPv6, want 2048 and 63488", four, six)
	}
	seen := make(map[int]bool)
	for n := range 2000 {
		for _, remote := range []netip.AddrPort{web, web6} {
			k := key(n, 17, remote)
			at, ok := a.Allocate(table, &k, egress.From{}, egress.Pool)
			if !ok || at.Addr().Is4() != remote.Addr().Is4() || !d.Owns(2, at) {
				t.Fatalf("flow %d to %v leaves as %v, %v", n, remote, at, ok)
			}
			if _, f := table.Insert(0, k, at); f == nil {
				t.Fatalf("flow %d got %v, which is taken", n, at)
			}
			a.Took(17, at, remote)
			if at.Addr().Is6() {
				seen[egress.Slice(at.Port())] = true
			}
		}
	}
	if len(seen) != egress.Owners {
		t.Errorf("flows of IPv6 use %d slices, want all %d", len(seen), egress.Owners)
	}
	k, four := key(1, 6, web6), divided(t, pool(1), 3)
	if at, ok := egress.NewAllocator(7, four, 2).Allocate(table, &k, egress.From{}, egress.Pool); ok {
		t.Errorf("a flow of IPv6 leaves as %v", at)
	}
}

// TestOneAddress: within the reach of one address a flow has the ports that its
// hash's address has for this server, of IPv6 all slices, and nothing of the
// server's others.
func TestOneAddress(t *testing.T) {
	d := divided(t, append(hosts(t, 2), pool(2)...), 1)
	for _, tt := range []struct {
		remote netip.AddrPort
		ports  int
	}{{web, egress.SliceSize}, {web6, egress.Owners * egress.SliceSize}} {
		a, table := egress.NewAllocator(7, d, 1), flows(1<<20)
		idle, none := egress.NewAllocator(7, d, 1), flows(1)
		per, refused := make(map[netip.Addr]int), 0
		for n := 0; refused < 50; n++ {
			k := key(n, 17, tt.remote)
			first, _ := idle.Allocate(none, &k, egress.From{}, egress.Pool) // nothing taken: the address of its hash
			at, ok := a.Allocate(table, &k, egress.From{}, egress.OneAddress)
			if ok && at.Addr() != first.Addr() || !ok && per[first.Addr()] != tt.ports {
				t.Fatalf("flow %d of %v got %v, %v; it hashes to %v, which has %d", n, tt.remote, at, ok, first.Addr(), per[first.Addr()])
			}
			if !ok {
				refused++
				continue
			}
			table.Insert(0, k, at)
			a.Took(17, at, tt.remote)
			per[at.Addr()]++
		}
		if len(per) != 2 {
			t.Errorf("flows to %v use %v, want both addresses", tt.remote, per)
		}
	}
}
