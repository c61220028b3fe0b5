package asgraph

import (
	"testing"
)

func TestGenerateMeetsItsShape(t *testing.T) {
	world := Atlas{Weight: []float64{3, 1, 4, 1, 5}, Region: []int{0, 0, 1, 2, 2}}
	for _, s := range []Shape{Internet(), Internet().Scaled(2000), Internet().Scaled(300)} {
		g, home, err := Generate(s, world, 1)
		if err != nil {
			t.Fatal(err)
		}
		f := g.Fit()
		t.Log("\n" + f.Against(s))
		if f.Shape.Clique < s.Clique {
			t.Errorf("clique of %d, want at least %d", f.Clique, s.Clique)
		}
		f.Clique = s.Clique
		if f.Shape != s {
			t.Errorf("got %+v, want %+v", f.Shape, s)
		}
		if inside, all := within(g, home, world); all > 500 && 3*inside < 2*all { // fewer say nothing
			t.Errorf("%d of %d transit links below the top stay in a region, want most", inside, all)
		}
		if f.Components != 1 {
			t.Errorf("%d components, want 1", f.Components)
		}
	}
}

// within counts the transit links whose provider has providers itself, and those of
// them with both ends in one region.
func within(g *Graph, home []int, a Atlas) (inside, all int) {
	for v := range Node(g.Len()) {
		for _, p := range g.Providers(v) {
			if len(g.Providers(p)) == 0 {
				continue
			}
			all++
			if a.Region[home[v]] == a.Region[home[p]] {
				inside++
			}
		}
	}
	return inside, all
}

func TestGenerateIsDeterministic(t *testing.T) {
	s := Internet().Scaled(500)
	graphs := make([]*Graph, 3)
	for i, seed := range []uint64{5, 5, 6} {
		g, _, err := Generate(s, Atlas{}, seed)
		if err != nil {
			t.Fatal(err)
		}
		graphs[i] = g
	}
	equal := func(a, b *Graph) bool {
		for v := range Node(a.Len()) {
			if a.ASN(v) != b.ASN(v) || len(a.Peers(v)) != len(b.Peers(v)) || len(a.Customers(v)) != len(b.Customers(v)) {
				return false
			}
		}
		return true
	}
	if !equal(graphs[0], graphs[1]) {
		t.Error("the same seed gave two graphs")
	}
	if equal(graphs[0], graphs[2]) {
		t.Error("two seeds gave the same graph")
	}
}

func TestGenerateRefuses(t *testing.T) {
	for _, change := range []func(*Shape){
		func(s *Shape) { s.Clique = 0 },
		func(s *Shape) { s.TransitLinks = 10 },
		func(s *Shape) { s.PeerLinks = 9 * s.ASes },
		func(s *Shape) { s.Stubs = s.ASes },
		func(s *Shape) { s.Stubs = 10 },
	} {
		s := Internet().Scaled(1000)
		change(&s)
		if _, _, err := Generate(s, Atlas{}, 1); err == nil {
			t.Errorf("%+v was not refused", s)
		}
	}
}

func BenchmarkRoutes(b *testing.B) {
	g, all := benchmark(b)
	r := NewRoutes(g)
	for b.Loop() {
		if err := r.Spread(all, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// benchmark is an Internet, and twenty ASes that announce one anycast prefix.
func benchmark(tb testing.TB) (*Graph, []Announcement) {
	g, _, err := Generate(Internet(), Atlas{}, 1)
	if err != nil {
		tb.Fatal(err)
	}
	all := make([]Announcement, 20)
	for i := range all {
		all[i] = Announcement{To: Node(i * g.Len() / len(all)), Class: Own}
	}
	return g, all
}
