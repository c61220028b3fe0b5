package egress_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"pgregory.net/rapid"
)

func pool(n int) (addresses []netip.Addr) {
	for i := range n {
		addresses = append(addresses, netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}))
	}
	return addresses
}

func numbered(n int) (servers []ident.Server) {
	for i := range n {
		servers = append(servers, ident.Server(i+1))
	}
	return servers
}

// TestAssign: server i owns slice i of every address of its group, no slice has
// two owners, slice 0 has none, and every server has the same or one address
// less than any other.
func TestAssign(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		servers := rapid.OneOf(rapid.IntRange(0, 100), rapid.SampledFrom([]int{30, 31, 32, 62, 63})).Draw(rt, "servers")
		addresses := rapid.IntRange(0, 12).Draw(rt, "addresses")
		assigned, err := egress.Assign(3, pool(addresses), numbered(servers))
		if groups := (servers + 30) / 31; addresses < groups {
			if !errors.Is(err, egress.ErrTooFewAddresses) {
				rt.Fatalf("%d addresses for %d servers: %v", addresses, servers, err)
			}
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		slices := make([]int, servers+1)
		for _, a := range assigned {
			if a.Datacenter != 3 || a.Owner[0] != 0 {
				rt.Fatalf("address %+v", a)
			}
			for k, owner := range a.Owner {
				if owner != 0 {
					slices[owner]++
					if want := (int(owner)-1)%31 + 1; k != want {
						rt.Fatalf("server %d owns slice %d, want %d", owner, k, want)
					}
				}
			}
		}
		for s := 2; s <= servers; s++ {
			if d := slices[s] - slices[1]; d > 0 || d < -1 {
				rt.Fatalf("server %d has %d slices, server 1 %d", s, slices[s], slices[1])
			}
		}
	})
}

func TestDirectory(t *testing.T) {
	assigned, _ := egress.Assign(1, pool(2), numbered(2))
	d, err := egress.NewDirectory(assigned)
	if err != nil {
		t.Fatal(err)
	}
	for port, owner := range map[uint16]ident.Server{0: 0, 2047: 0, 2048: 1, 4095: 1, 4096: 2, 6143: 2, 6144: 0, 65535: 0} {
		at := netip.AddrPortFrom(pool(1)[0], port)
		if got := d.Lookup(at.Addr()).OwnerOf(port); got != owner {
			t.Errorf("port %d is owned by %d, want %d", port, got, owner)
		}
		if got := d.Owns(1, at); got != (owner == 1) {
			t.Errorf("server 1 owns port %d: %v", port, got)
		}
	}
	if d.Lookup(netip.MustParseAddr("203.0.113.1")) != nil {
		t.Error("a stranger's address is in the directory")
	}
	twice := append(assigned[:1:1], assigned[0])
	zero := append(assigned[:0:0], assigned...)
	zero[0].Owner[0] = 1
	for name, bad := range map[string][]egress.Address{"twice": twice, "slice 0": zero, "mapped": {{Addr: netip.MustParseAddr("::ffff:192.0.2.1")}}, "none": {{}}, "IPv6 in slices": {{Addr: netip.MustParseAddr("2001:db8::1"), Owner: [egress.Slices]ident.Server{1: 1}}}} {
		if _, err := egress.NewDirectory(bad); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// divided is who owns which slices, of addresses among servers numbered from 1.
func divided(t testing.TB, addresses []netip.Addr, servers int) *egress.Directory {
	t.Helper()
	assigned, err := egress.Assign(1, addresses, numbered(servers))
	if err != nil {
		t.Fatal(err)
	}
	d, err := egress.NewDirectory(assigned)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// flows is a table whose flows live an hour in every state.
func flows(bound int) *flow.Table {
	return flow.New(7, bound, flow.NewTimeouts(time.Hour, time.Hour, time.Hour, time.Hour, time.Hour, time.Hour, time.Hour))
}

// allocation is an allocator of server 2 with its table.
func allocation(t testing.TB, addresses int) (*egress.Allocator, *flow.Table) {
	t.Helper()
	return egress.NewAllocator(7, divided(t, pool(addresses), 3), 2), flows(1 << 20)
}

func key(n int, proto uint8, dst netip.AddrPort) flow.Key {
	m := pkt.Meta{Src: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), SrcPort: uint16(n), Dst: dst.Addr(), DstPort: dst.Port(), Proto: proto}
	return flow.ForwardKey(1, 1, 1, &m)
}

var web = netip.MustParseAddrPort("203.0.113.9:443")

// TestAllocate: every port of the whole pool is handed out once per remote end
// and protocol, then none; another remote end has them all again; and a freed
// one is found, the only one among thousands.
func TestAllocate(t *testing.T) {
	for _, addresses := range []int{1, 3} {
		a, table := allocation(t, addresses)
		total := addresses * egress.SliceSize
		if a.Size(web.Addr(), egress.From{}) != total {
			t.Fatalf("pool of %d, want %d", a.Size(web.Addr(), egress.From{}), total)
		}
		take := func(n int, proto uint8, dst netip.AddrPort) (netip.AddrPort, bool) {
			k := key(n, proto, dst)
			at, ok := a.Allocate(table, &k, egress.From{}, egress.Pool)
			if ok {
				if egress.Slice(at.Port()) != 2 {
					t.Fatalf("flow %d got %v, outside of slice 2", n, at)
				}
				if _, f := table.Insert(0, k, at); f == nil {
					t.Fatalf("flow %d got %v, which is taken", n, at)
				}
				a.Took(proto, at, dst)
			}
			return at, ok
		}
		per := make(map[netip.Addr]int)
		for n := range total {
			at, ok := take(n, 6, web)
			if !ok {
				t.Fatalf("exhausted after %d of %d", n, total)
			}
			per[at.Addr()]++
		}
		for addr, n := range per {
			if n != egress.SliceSize {
				t.Errorf("%v served %d, want %d", addr, n, egress.SliceSize)
			}
		}
		if at, ok := take(total, 6, web); ok {
			t.Fatalf("one more than the pool: %v", at)
		}
		if _, ok := take(total, 17, web); !ok {
			t.Error("UDP was refused for want of TCP ports")
		}
		if _, ok := take(total, 6, netip.AddrPortFrom(web.Addr(), 80)); !ok {
			t.Error("another port of the remote end was refused")
		}
		for _, n := range []int{0, total / 2, total - 1} {
			k := key(n, 6, web)
			i, f := table.Forward(&k, flow.Hash(7, &k))
			freed := f.Egress()
			a.Freed(6, freed, web)
			table.Remove(i)
			if at, ok := take(total+1+n, 6, web); !ok || at != freed {
				t.Errorf("got %v, %v, want the freed %v", at, ok, freed)
			}
		}
	}
}

// TestAllocateSpreads: flows spread over the addresses of the pool and over the
// slice, as keyed hashes do.
func TestAllocateSpreads(t *testing.T) {
	a, table := allocation(t, 4)
	perAddr, perEighth := make(map[netip.Addr]int), make(map[uint16]int)
	const flows = 8000
	for n := range flows {
		k := key(n, 17, netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(n)}), 53))
		at, ok := a.Allocate(table, &k, egress.From{}, egress.Pool)
		if !ok {
			t.Fatal("exhausted")
		}
		perAddr[at.Addr()]++
		perEighth[at.Port()/256]++
	}
	for addr, n := range perAddr {
		if n < 1800 || n > 2200 {
			t.Errorf("%v got %d of %d, want about a quarter", addr, n, flows)
		}
	}
	for part, n := range perEighth {
		if n < 850 || n > 1150 {
			t.Errorf("ports from %d got %d of %d, want about an eighth", part*256, n, flows)
		}
	}
	if len(perAddr) != 4 || len(perEighth) != 8 {
		t.Errorf("%d addresses and %d eighths were used", len(perAddr), len(perEighth))
	}
}

// TestAllocatorForgets: a bit map that was built while the table was full does
// not outlive other destinations that displace it, and is never wrong.
func TestAllocatorForgets(t *testing.T) {
	a, table := allocation(t, 1)
	fill := func(dst netip.AddrPort, n int) {
		for i := range n {
			k := key(i, 6, dst)
			at, ok := a.Allocate(table, &k, egress.From{}, egress.Pool)
			if !ok {
				t.Fatalf("%v: exhausted at %d", dst, i)
			}
			table.Insert(0, k, at)
			a.Took(6, at, dst)
		}
	}
	for port := range uint16(80) { // more busy destinations than there are lines
		fill(netip.AddrPortFrom(web.Addr(), 1000+port), 2048)
	}
	for port := range uint16(80) {
		dst := netip.AddrPortFrom(web.Addr(), 1000+port)
		k := key(9999, 6, dst)
		if at, ok := a.Allocate(table, &k, egress.From{}, egress.Pool); ok {
			t.Fatalf("%v got %v from a full slice", dst, at)
		}
	}
}

func TestNoPool(t *testing.T) {
	d, _ := egress.NewDirectory(nil)
	a := egress.NewAllocator(1, d, 1)
	_, table := allocation(t, 1)
	k := key(1, 6, web)
	if at, ok := a.Allocate(table, &k, egress.From{}, egress.Pool); ok || a.Size(web.Addr(), egress.From{}) != 0 {
		t.Errorf("got %v from nothing", at)
	}
}
