package asgraph

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// small draws a graph of at most a dozen ASes, some of them apart.
func small(r *rand.Rand) *Graph {
	n := 2 + r.IntN(11)
	numbers := r.Perm(100)[:n]
	var links []Link
	for a := range n {
		for b := a + 1; b < n; b++ {
			x, y := ASN(numbers[a]), ASN(numbers[b])
			switch r.IntN(5) {
			case 0, 1:
				links = append(links, Link{x, y, Transit})
			case 2:
				links = append(links, Link{y, x, Peering})
			}
		}
	}
	if len(links) == 0 {
		links = []Link{{ASN(numbers[0]), ASN(numbers[1]), Peering}}
	}
	g, err := New(links)
	if err != nil {
		panic(err) // links go down the order of numbers: there is no circle
	}
	return g
}

func announcements(r *rand.Rand, g *Graph) []Announcement {
	all := make([]Announcement, 1+r.IntN(5))
	for i := range all {
		a := Announcement{To: Node(r.IntN(g.Len())), Class: FromProvider + Class(r.IntN(4))}
		if a.Class != Own {
			a.Length = uint8(1 + r.IntN(3))
		}
		all[i] = a
	}
	return all
}

// path is a route of the oracle: the whole way, so that loops are seen.
type path struct {
	class Class
	nodes []Node // the neighbour first; empty from an announcement
	route Route
}

// better is how a node v chooses.
func better(g *Graph, p Preference, v Node, a, b *path) bool {
	if b == nil {
		return true
	}
	switch x, y := a.route, b.route; {
	case x.Class != y.Class:
		return x.Class > y.Class
	case x.Length != y.Length:
		return x.Length < y.Length
	case x.Next == Nowhere || y.Next == Nowhere:
		return x.Next == Nowhere && (y.Next != Nowhere || x.Entry < y.Entry)
	default:
		return p.rank(g.asn[v], g.asn[x.Next]) < p.rank(g.asn[v], g.asn[y.Next])
	}
}

// oracle has every node choose again and again among what its neighbours have
// chosen, whole paths and all, until nobody changes.
func oracle(t *testing.T, g *Graph, all []Announcement, p Preference) []Route {
	chosen := make([]*path, g.Len())
	for round := 0; ; round++ {
		if round > 10*g.Len()+100 {
			t.Fatal("the oracle does not come to rest")
		}
		changed := false
		for v := range Node(g.Len()) {
			best := choose(g, all, p, chosen, v)
			if fmt.Sprint(best) != fmt.Sprint(chosen[v]) {
				chosen[v], changed = best, true
			}
		}
		if !changed {
			break
		}
	}
	routes := make([]Route, g.Len())
	for v, c := range chosen {
		routes[v].Next = Nowhere
		if c != nil {
			routes[v] = c.route
		}
	}
	return routes
}

func choose(g *Graph, all []Announcement, p Preference, chosen []*path, v Node) *path {
	var best *path
	for i, a := range all {
		if a.To == v {
			if c := (&path{route: Route{a.Class, a.Length, Nowhere, uint16(i)}}); better(g, p, v, c, best) {
				best = c
			}
		}
	}
	told := func(from Node, class Class) {
		c := chosen[from]
		if c == nil || c.route.Class < FromCustomer && class != FromProvider {
			return
		}
		for _, w := range c.nodes {
			if w == v {
				return
			}
		}
		if n := (&path{nodes: append([]Node{from}, c.nodes...), route: Route{class, c.route.Length + 1, from, c.route.Entry}}); better(g, p, v, n, best) {
			best = n
		}
	}
	for _, w := range g.Customers(v) {
		told(w, FromCustomer)
	}
	for _, w := range g.Peers(v) {
		told(w, FromPeer)
	}
	for _, w := range g.Providers(v) {
		told(w, FromProvider)
	}
	return best
}

// TestRoutesEqualOracle compares three passes with a search for the stable state.
func TestRoutesEqualOracle(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 1))
		g := small(r)
		all := announcements(r, g)
		p := Preference(seed % 3)
		want := oracle(t, g, all, p)
		routes := NewRoutes(g)
		for range 2 { // the second time over what the first has left
			if err := routes.Spread(all, p); err != nil {
				t.Fatal(err)
			}
			if n := routes.Unstable(all, p); n != 0 {
				t.Fatalf("seed %d: %d nodes would choose otherwise", seed, n)
			}
			for v := range Node(g.Len()) {
				if got := routes.At(v); got != want[v] {
					t.Fatalf("seed %d, %v: %+v, want %+v", seed, g.ASN(v), got, want[v])
				}
			}
		}
	}
}

// TestUnstableSees: a route that is worse than another, or longer than it is.
func TestUnstableSees(t *testing.T) {
	g, err := New([]Link{{1, 2, Transit}, {1, 3, Transit}, {2, 4, Transit}, {3, 4, Transit}})
	if err != nil {
		t.Fatal(err)
	}
	top, _ := g.Lookup(1)
	last, _ := g.Lookup(4)
	three, _ := g.Lookup(3)
	all := []Announcement{{To: top, Class: Own}}
	r := NewRoutes(g)
	for name, spoil := range map[string]func(){
		"other neighbour": func() { r.next[last] = three },
		"length":          func() { r.length[last]++ },
		"none":            func() { r.class[last] = Unreachable },
	} {
		if err := r.Spread(all, 0); err != nil {
			t.Fatal(err)
		}
		if spoil(); r.Unstable(all, 0) == 0 {
			t.Errorf("%s: not seen", name)
		}
	}
}

func TestSpreadRefuses(t *testing.T) {
	g, err := New([]Link{{1, 2, Transit}})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []Announcement{
		{To: 2, Class: Own}, {To: -1, Class: Own}, {To: 0}, {To: 0, Class: Own + 1},
		{To: 0, Class: Own, Length: 1}, {To: 0, Class: FromPeer}, {To: 0, Class: FromPeer, Length: MaxLength + 1},
	} {
		if err := NewRoutes(g).Spread([]Announcement{a}, 0); err == nil {
			t.Errorf("%+v was not refused", a)
		}
	}
}

func TestSpreadAllocatesNothing(t *testing.T) {
	g := small(rand.New(rand.NewPCG(4, 1)))
	r, all := NewRoutes(g), []Announcement{{To: 0, Class: FromCustomer, Length: 1}, {To: 1, Class: FromPeer, Length: 2}}
	spread := func() {
		if err := r.Spread(all, 0); err != nil {
			t.Fatal(err)
		}
	}
	spread()
	if n := testing.AllocsPerRun(10, spread); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
