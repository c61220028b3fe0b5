package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/internal/need"
)

// Every address of a table as large as it may be is in reach, however alike they
// are, and a table that is too full says so.
func TestTablesHoldWhatTheyMay(t *testing.T) {
	for name, prefix := range map[string]string{"IPv4": "198.51.100.0", "IPv6": "2001:db8:100::", "site by site": "10.0.0.1"} {
		for _, n := range []int{1, 50, 3000} {
			var entries []dataplanePlace
			a := netip.MustParseAddr(prefix)
			for range n {
				entries = append(entries, dataplanePlace{Address: address(a), Kind: placeEgress})
				if a = a.Next(); name == "site by site" {
					b := a.As4()
					a = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(b[:])+1<<8)))
				}
			}
			laid, err := lay(tableSize(more(n)), entries, (*dataplanePlace).hash)
			if err != nil {
				t.Errorf("%s, %d: %v", name, n, err)
			}
			for i := range entries {
				if !reached(laid, &entries[i]) {
					t.Fatalf("%s, %d: entry %d is not where the programs look", name, n, i)
				}
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	var entries []dataplaneTunnelEntry
	for range 64 {
		entries = append(entries, dataplaneTunnelEntry{Src: r.Uint32(), Ramp: 1})
	}
	if _, err := lay(32, entries, (*dataplaneTunnelEntry).hash); !errors.Is(err, errReach) {
		t.Errorf("64 entries in 32: %v, want %v", err, errReach)
	}
}

// reached is the programs' look-up.
func reached(half []dataplanePlace, e *dataplanePlace) bool {
	for i := range uint32(tableProbes) {
		switch at := &half[(e.hash()+i)&uint32(len(half)-1)]; {
		case at.Kind == placeNone:
			return false
		case at.Address == e.Address:
			return *at == *e
		}
	}
	return false
}

// A configuration replaces the one before as often as it may, and what it leaves
// out is gone.
func TestTablesAreReplaced(t *testing.T) {
	need.BPF(t)
	p := newPlane(t, hubtest.Options{Sites: 3}, Spec{})
	all := p.spec.Config
	egress := netip.MustParseAddrPort("198.51.101.1:2049")
	packet := hubtest.IP{Src: netip.MustParseAddrPort("203.0.113.9:80"), Dst: egress, Payload: []byte("x")}.UDP()
	for turn := range 5 {
		c := all
		want := LeftMiss
		if turn%2 == 1 {
			c.Egress, c.OnRamps = nil, slices.Clone(c.OnRamps[:1])
			want = LeftElsewhere
		}
		if err := p.Configure(c); err != nil {
			t.Fatal(err)
		}
		if _, got := p.send(packet); got != want {
			t.Errorf("turn %d: a reply is %v, want %v", turn, got, want)
		}
		for site := 1; site <= 3; site++ {
			want := LeftMiss
			if turn%2 == 1 && site > 1 {
				want = Outcome(drop.UnknownTunnel)
			}
			if _, got := p.bySite(site, hubtest.IP{Src: hubtest.Till, Dst: netip.MustParseAddrPort("203.0.113.9:7"), Payload: []byte(fmt.Sprint(turn))}.UDP()); got != want {
				t.Errorf("turn %d: a packet of site %d is %v, want %v", turn, site, got, want)
			}
		}
	}
}

// A tunnel that differs in anything from one whose place in the table its hash
// shares is not that one.
func TestTunnelsThatShareAPlace(t *testing.T) {
	p := newPlane(t, hubtest.Options{Sites: 1}, Spec{})
	inner := hubtest.IP{Src: hubtest.Till, Dst: netip.MustParseAddrPort("203.0.113.9:7"), Payload: []byte("x")}.UDP()
	mask := tableSize(p.spec.onRamps()) - 1
	own := dataplaneTunnelEntry{Src: wire4(hubSite(1).Remote), Dst: wire4(hubtest.Tunnel)}
	alike := func(change func(e *dataplaneTunnelEntry, n uint32)) dataplaneTunnelEntry {
		for n := uint32(1); ; n++ {
			e := own
			if change(&e, n); e.hash()&mask == own.hash()&mask {
				return e
			}
		}
	}
	four := func(a uint32) netip.Addr { return netip.AddrFrom4([4]byte(binary.NativeEndian.AppendUint32(nil, a))) }
	const unknownTunnel = Outcome(drop.UnknownTunnel)
	for name, c := range map[string]struct {
		e    dataplaneTunnelEntry
		want Outcome
	}{
		"itself":                 {own, LeftMiss},
		"another source":         {alike(func(e *dataplaneTunnelEntry, n uint32) { e.Src += n << 8 }), unknownTunnel},
		"another destination":    {alike(func(e *dataplaneTunnelEntry, n uint32) { e.Dst += n << 8 }), LeftElsewhere},
		"a key":                  {alike(func(e *dataplaneTunnelEntry, n uint32) { e.Key, e.HasKey = n, 1 }), unknownTunnel},
		"a key that is there, 0": {alike(func(e *dataplaneTunnelEntry, _ uint32) { e.HasKey = 1 }), unknownTunnel},
	} {
		var key *uint32
		if c.e.HasKey == 1 {
			key = ptr(binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, c.e.Key)))
		}
		if _, got := p.send(hubtest.GRE(four(c.e.Src), four(c.e.Dst), key, inner)); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	c := p.spec.Config
	c.OnRamps = slices.Clone(c.OnRamps)
	c.OnRamps[0].Key = ptr(7)
	if err := p.Configure(c); err != nil {
		t.Fatal(err)
	}
	own.Key, own.HasKey = binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, 7)), 1
	other := alike(func(e *dataplaneTunnelEntry, n uint32) { e.Key += n })
	for key, want := range map[uint32]Outcome{own.Key: LeftMiss, other.Key: unknownTunnel} {
		key := binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, key))
		if _, got := p.send(hubtest.GRE(hubSite(1).Remote, hubtest.Tunnel, &key, inner)); got != want {
			t.Errorf("key %d: %v, want %v", key, got, want)
		}
	}
}
