package steer_test

import (
	"math"
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"pgregory.net/rapid"
)

func live(n int) (servers []steer.Server) {
	for i := range n {
		servers = append(servers, steer.Server{ID: ident.Server(i + 1), Live: true, Was: 1})
	}
	return servers
}

// bucket is a hash in bucket b.
func bucket(b int) uint64 { return uint64(b)<<52 | 0xabcde }

// TestBalance: every server has as many buckets as every other, or one more, while
// all take part, and about as many while one does not (SEMANTICS 5.3).
func TestBalance(t *testing.T) {
	for _, n := range []int{1, 2, 8, 31, 1000} {
		servers := live(n)
		count := buckets(steer.New(7, servers))
		for id := range ident.Server(n) {
			if c := count[id+1]; c != steer.Buckets/n && c != steer.Buckets/n+1 {
				t.Errorf("of %d servers %d has %d buckets, want %d or one more", n, id+1, c, steer.Buckets/n)
			}
		}
		if n < 8 {
			continue
		}
		servers[3].Live = false
		mean := float64(steer.Buckets) / float64(n-1)
		for id, c := range buckets(steer.New(7, servers)) {
			if math.Abs(float64(c)-mean) > 5*math.Sqrt(mean) {
				t.Errorf("of %d servers without one %d has %d buckets, want about %.0f", n, id, c, mean)
			}
		}
	}
}

// buckets counts those of each server.
func buckets(table *steer.Table) map[ident.Server]int {
	count := map[ident.Server]int{}
	for b := range steer.Buckets {
		count[table.Home(bucket(b))]++
	}
	return count
}

// TestMinimalChange: a server that leaves loses its buckets and nobody else
// does; its buckets name it as the second hop; one that joins takes buckets from
// all and gives none away.
func TestMinimalChange(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		servers := live(rapid.IntRange(2, 10).Draw(rt, "servers"))
		seed := rapid.Uint64().Draw(rt, "seed")
		before := steer.New(seed, servers)
		gone := rapid.IntRange(0, len(servers)-1).Draw(rt, "gone")
		servers[gone].Live = false
		after := steer.New(seed, servers)
		for b := range steer.Buckets {
			was, is, second := before.Home(bucket(b)), after.Home(bucket(b)), after.SecondHop(bucket(b))
			moved := was == servers[gone].ID
			if moved && (is == was || second != was) || !moved && (is != was || second != 0) {
				rt.Fatalf("bucket %d moved from %d to %d, second hop %d, when %d left", b, was, is, second, servers[gone].ID)
			}
		}
	})
}

// TestSecondHopStays: a bucket's second hop is whose it was before it was last
// reassigned, whatever became of other buckets since (SEMANTICS 5.3); who is asked
// for nothing any more is no second hop, and the one before it is.
func TestSecondHopStays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 6).Draw(rt, "servers")
		servers, seed := live(n), rapid.Uint64().Draw(rt, "seed")
		for i := range servers {
			servers[i].Was = 0
		}
		var first, second [steer.Buckets]ident.Server
		for range rapid.IntRange(1, 8).Draw(rt, "changes") {
			table := steer.New(seed, servers)
			for b := range steer.Buckets {
				if home := table.Home(bucket(b)); home != first[b] {
					first[b], second[b] = home, first[b]
				}
				if got := table.SecondHop(bucket(b)); got != second[b] {
					rt.Fatalf("bucket %d: second hop %d, want %d; servers %+v", b, got, second[b], servers)
				}
			}
			for i := range servers {
				servers[i].Was <<= 1
				if servers[i].Live {
					servers[i].Was |= 1
				}
			}
			x := &servers[rapid.IntRange(0, n-1).Draw(rt, "who")]
			x.Live = !x.Live
			if !slices.ContainsFunc(servers, func(s steer.Server) bool { return s.Live }) {
				x.Live = true
			}
		}
	})
	s := []steer.Server{{ID: 1, Was: 0b10}, {ID: 2, Was: 0b00}, {ID: 3, Live: true, Was: 0b11}} // 1 went, then 2, whose flows are lost
	lost := steer.New(7, s)
	for b := range steer.Buckets {
		if second := lost.SecondHop(bucket(b)); second == 2 {
			t.Fatalf("bucket %d: second hop is a server without flows", b)
		}
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	servers := live(5)
	a := steer.New(1, servers)
	servers[0], servers[4], servers[2] = servers[4], servers[2], servers[0]
	b := steer.New(1, servers)
	for i := range steer.Buckets {
		if a.Home(bucket(i)) != b.Home(bucket(i)) {
			t.Fatalf("bucket %d depends on the order of the servers", i)
		}
	}
	if got := steer.New(1, nil).Home(1); got != 0 {
		t.Errorf("nobody live, home %d", got)
	}
}

// TestIndependent: which bucket a flow is in says nothing about its place in a
// hash table, which uses the low bits.
func TestIndependent(t *testing.T) {
	table := steer.New(1, live(2))
	odd := 0
	const n = 10000
	for i := range uint64(n) {
		h := flow.Mix(i)
		if table.Home(h) == 1 {
			odd += int(h & 1)
		} else {
			odd += 1 - int(h&1)
		}
	}
	if odd < n/2-300 || odd > n/2+300 {
		t.Errorf("%d of %d agree, want half", odd, n)
	}
}

// TestContext: the key carries on-ramp, hops and mark, and nothing else.
func TestContext(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		key := rapid.OneOf(rapid.Uint32(), rapid.SampledFrom([]uint32{0, 1 << 24, 1<<24 - 1, 1<<27 - 1, 1 << 27, 1<<25 | 1<<26, 0xffffffff})).Draw(rt, "key")
		c, ok := steer.ParseContext(key)
		if want := key>>27 == 0 && key>>24&3 != 0; ok != want {
			rt.Fatalf("key %#x: ok %v, want %v", key, ok, want)
		}
		if ok && c.Key() != key {
			rt.Fatalf("key %#x comes back as %#x", key, c.Key())
		}
	})
	c := steer.Context{OnRamp: 0x123456, Hops: 2, SecondHop: true}
	if got := c.Key(); got != 0x06123456 {
		t.Errorf("key %#x, want 0x06123456", got)
	}
}

// TestOwner: any server works out the home in another datacenter as that
// datacenter's own table has it.
func TestOwner(t *testing.T) {
	servers := []steer.Server{{ID: 9, Live: true}, {ID: 4, Live: true}, {ID: 7, Was: 1}, {ID: 2, Live: true}}
	table, live := steer.New(3, servers), []ident.Server{2, 4, 9}
	division := steer.Divide(3, []ident.Server{2, 4, 7, 9})
	for b := range uint64(steer.Buckets) {
		hash := b<<(64-12) | b
		if got, want := division.Owner(3, hash, live), table.Home(hash); got != want {
			t.Fatalf("bucket %d: server %d, want %d", b, got, want)
		}
	}
	if got := division.Owner(3, 1, nil); got != 0 {
		t.Errorf("nobody lives, and %d owns", got)
	}
}

// FuzzContext: a key that is read is written as it was; any other is one that
// Key never makes.
func FuzzContext(f *testing.F) {
	for bit := range 32 {
		f.Add(uint32(1)<<bit, uint8(bit))
		f.Add(uint32(1)<<bit|1<<24, uint8(bit))
	}
	f.Fuzz(func(t *testing.T, key uint32, hops uint8) {
		if c, ok := steer.ParseContext(key); ok && c.Key() != key {
			t.Fatalf("key %#x comes back as %#x", key, c.Key())
		}
		made := steer.Context{OnRamp: ident.OnRamp(key) & ident.MaxOnRamp, Hops: 1 + hops%steer.MaxHops, SecondHop: key>>31 == 1}
		if got, ok := steer.ParseContext(made.Key()); !ok || got != made {
			t.Fatalf("%+v comes back as %+v, %v", made, got, ok)
		}
	})
}
