package asgraph

import (
	"math/rand/v2"
	"testing"
)

// TestBatchEqualsRoutes: each lane is what Routes finds for the announcements that
// the lane has.
func TestBatchEqualsRoutes(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 2))
		g := small(r)
		all := announcements(r, g)
		p := Preference(seed % 3)
		b, err := NewBatch(g, all, p)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			made := make([]uint64, len(all))
			for i := range made {
				for l := range Lanes {
					if r.IntN(4) > 0 {
						made[i] |= Lane(l)
					}
				}
			}
			b.Spread(made)
			for l := range Lanes {
				equalLane(t, seed, b, all, made, p, l)
			}
		}
	}
}

func equalLane(t *testing.T, seed uint64, b *Batch, all []Announcement, made []uint64, p Preference, l int) {
	t.Helper()
	var some []Announcement
	var which []uint16
	for i, a := range all {
		if made[i]&Lane(l) != 0 {
			some, which = append(some, a), append(which, uint16(i))
		}
	}
	routes := NewRoutes(b.g)
	if err := routes.Spread(some, p); err != nil {
		t.Fatal(err)
	}
	for v := range Node(b.g.Len()) {
		length, entry, ok := b.At(v, l)
		for other := range uint16(len(all)) {
			if got, want := b.Differ(v, other, true)&Lane(l) != 0, !ok || entry != other; got != want {
				t.Fatalf("seed %d, lane %d, %v: differs from %d is %v with %d (%v)", seed, l, b.g.ASN(v), other, got, entry, ok)
			}
		}
		if got := b.Differ(v, 0, false)&Lane(l) != 0; got != ok {
			t.Fatalf("seed %d, lane %d, %v: has a route is %v, want %v", seed, l, b.g.ASN(v), got, ok)
		}
		want := routes.At(v)
		if ok != (want.Class != Unreachable) || ok && (length != want.Length || entry != which[want.Entry]) {
			t.Fatalf("seed %d, lane %d, %v: length %d by %d (%v), want %+v", seed, l, b.g.ASN(v), length, entry, ok, want)
		}
	}
}

// TestBatchOfTheInternet compares where lanes are many and paths long, with entries
// of both bytes.
func TestBatchOfTheInternet(t *testing.T) {
	g, _, err := Generate(Internet().Scaled(5000), Atlas{}, 3)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	all := make([]Announcement, 600)
	for i := range all {
		all[i] = Announcement{To: Node(r.IntN(g.Len())), Class: FromProvider + Class(r.IntN(3)), Length: uint8(1 + r.IntN(4))}
	}
	b, err := NewBatch(g, all, 9)
	if err != nil {
		t.Fatal(err)
	}
	made := make([]uint64, len(all))
	for i := range made {
		made[i] = r.Uint64()
		for l := range Lanes { // all of a lane or nothing
			if made[i]&Lane(l) != 0 && r.IntN(2) == 0 {
				made[i] |= Lane(l)
			} else {
				made[i] &^= Lane(l)
			}
		}
	}
	b.Spread(made)
	for l := range Lanes {
		equalLane(t, 0, b, all, made, 9, l)
	}
}

func TestBatchAllocatesNothing(t *testing.T) {
	g := small(rand.New(rand.NewPCG(4, 1)))
	b, err := NewBatch(g, []Announcement{{To: 0, Class: FromCustomer, Length: 1}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	made := []uint64{Every}
	if n := testing.AllocsPerRun(10, func() { b.Spread(made) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// BenchmarkBatch is eight scenarios at a time: ns/scenario is what counts.
func BenchmarkBatch(b *testing.B) {
	g, all := benchmark(b)
	batch, err := NewBatch(g, all, 0)
	if err != nil {
		b.Fatal(err)
	}
	made := make([]uint64, len(all))
	for i := range made {
		made[i] = Every &^ Lane(i%Lanes)
	}
	n := 0
	for b.Loop() {
		batch.Spread(made)
		n += Lanes
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/scenario")
}
