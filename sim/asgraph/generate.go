package asgraph

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Shape is what a generated graph has: counts, which it meets exactly.
type Shape struct {
	ASes int
	// TransitLinks and PeerLinks are all links.
	TransitLinks, PeerLinks int
	// Stubs are ASes without customers.
	Stubs int
	// Tops are ASes without providers. The first Clique of them all peer with each
	// other; the others are networks that buy from nobody and peer widely.
	Tops, Clique int
}

// Internet is the Internet as seen in September 2025 (counts of CAIDA's serial-2
// AS relationships).
func Internet() Shape {
	return Shape{ASes: 78643, TransitLinks: 161166, PeerLinks: 409530, Stubs: 66243, Tops: 486, Clique: 16}
}

// Scaled is a shape of about that many ASes with the same proportions.
func (s Shape) Scaled(ases int) Shape {
	part := func(n int) int { return int(float64(n) * float64(ases) / float64(s.ASes)) }
	t := Shape{ASes: ases, TransitLinks: part(s.TransitLinks), PeerLinks: part(s.PeerLinks), Stubs: part(s.Stubs)}
	t.Clique = min(s.Clique, max(2, (ases-t.Stubs)/4))
	t.Tops = max(part(s.Tops), t.Clique)
	return t
}

// Atlas is where ASes can be at home. The zero value is one place.
type Atlas struct {
	// Weight of each place: how many are at home there, in proportion.
	Weight []float64
	// Region of each place, from 0: most links stay within one.
	Region []int
}

// How a generated graph comes by its tails. They are chosen so that the greatest
// degrees and the depth are like the Internet's; Fit prints both.
const (
	cliqueWeight = 30   // how many customers' worth of attraction the last of the clique begins with; the first has as many times that as there are members
	giants       = 60   // ASes that peer with whoever does: content networks, open peers; the first with the most
	giantShare   = 0.45 // of peer links that have a giant at one end
	transitPeers = 0.55 // share of transit ASes that are at exchanges at all
	stubPeers    = 0.12 // and of stubs
	local        = 0.8  // share of links, apart from the clique's and the giants', that stay in their region
)

// generator holds a graph in the making. ASes are numbered from 0 in the order of
// the hierarchy: clique, transit, stubs; numbers are given at the end.
type generator struct {
	Shape
	r      *rand.Rand
	links  [][2]int // transit first
	seen   map[[2]int]bool
	own    []int // ASes without provider, apart from the clique
	top    []bool
	home   []int
	region []int
	// Transit ASes, each once for what attracts customers to it: of each region, and
	// all together behind them.
	urns [][]int
}

// Generate draws a graph like the Internet: a clique at the top, customers that
// prefer providers who have many (Barabási, Albert 1999) and are near, and peers at
// exchanges among whom some peer with everybody. home is the place of each node.
// The same arguments make the same graph. The error says which counts of a shape
// exclude each other.
func Generate(s Shape, a Atlas, seed uint64) (_ *Graph, home []int, _ error) {
	if err := s.check(); err != nil {
		return nil, nil, err
	}
	g := &generator{Shape: s, r: rand.New(rand.NewPCG(seed, 0x6173)), seen: make(map[[2]int]bool, s.TransitLinks+s.PeerLinks), top: make([]bool, s.ASes)}
	if err := g.settle(a); err != nil {
		return nil, nil, err
	}
	g.crown()
	g.sell()
	if err := g.peer(); err != nil {
		return nil, nil, err
	}
	numbers := g.r.Perm(5 * s.ASes)[:s.ASes]
	links := make([]Link, len(g.links))
	for i, l := range g.links {
		links[i] = Link{ASN(numbers[l[0]] + 1), ASN(numbers[l[1]] + 1), Transit}
		if i >= s.TransitLinks {
			links[i].Relation = Peering
		}
	}
	made, err := New(links)
	if err != nil {
		return nil, nil, err
	}
	home = make([]int, s.ASes)
	for v, n := range numbers {
		at, _ := made.Lookup(ASN(n + 1))
		home[at] = g.home[v]
	}
	return made, home, nil
}

// settle gives every AS a home.
func (g *generator) settle(a Atlas) error {
	g.home, g.region = make([]int, g.ASes), make([]int, g.ASes)
	if len(a.Weight) == 0 {
		a = Atlas{Weight: []float64{1}, Region: []int{0}}
	}
	if len(a.Weight) != len(a.Region) {
		return fmt.Errorf("an atlas of %d weights and %d regions", len(a.Weight), len(a.Region))
	}
	upTo, sum := make([]float64, len(a.Weight)), 0.0
	for i, w := range a.Weight {
		sum += w
		upTo[i] = sum
	}
	if !(sum > 0) {
		return fmt.Errorf("an atlas whose places weigh %v in all", sum)
	}
	for v := range g.home {
		h, _ := slices.BinarySearch(upTo, sum*g.r.Float64())
		g.home[v] = min(h, len(upTo)-1)
		g.region[v] = a.Region[g.home[v]]
	}
	g.urns = make([][]int, slices.Max(a.Region)+2)
	return nil
}

func (s Shape) check() error {
	transit := s.ASes - s.Stubs
	switch {
	case s.Clique < 1 || s.Tops < s.Clique || transit < s.Clique || s.Tops > s.ASes/2:
		return fmt.Errorf("%d ASes, of which %d stubs, %d without provider and %d in the clique: want clique ≤ without provider ≤ half, and clique ≤ ASes that are no stubs", s.ASes, s.Stubs, s.Tops, s.Clique)
	case s.TransitLinks < s.ASes-s.Tops+transit || s.TransitLinks > 8*s.ASes:
		return fmt.Errorf("%d transit links, want %d to %d: a provider for each AS, a customer for each that is no stub, at most eight each", s.TransitLinks, s.ASes-s.Tops+transit, 8*s.ASes)
	case s.PeerLinks < s.Clique*s.Clique/2+s.Tops || s.PeerLinks > 8*s.ASes:
		return fmt.Errorf("%d peer links, want %d to %d: the clique's, one for each AS without provider, at most eight each", s.PeerLinks, s.Clique*s.Clique/2+s.Tops, 8*s.ASes)
	case transit-s.Tops < s.Clique/2 || s.Stubs < transit:
		return fmt.Errorf("%d stubs of %d ASes, want at least half of them and fewer than all without a provider leave", s.Stubs, s.ASes)
	}
	return nil
}

func (g *generator) join(a, b int) bool {
	key := [2]int{min(a, b), max(a, b)}
	if a == b || g.seen[key] {
		return false
	}
	g.seen[key] = true
	g.links = append(g.links, [2]int{a, b})
	return true
}

// crown chooses who has no provider: the clique, and a few of everybody.
func (g *generator) crown() {
	for v := range g.Clique {
		g.top[v] = true
	}
	for len(g.own) < g.Tops-g.Clique {
		if v := g.Clique + g.r.IntN(g.ASes-g.Clique); !g.top[v] {
			g.top[v] = true
			g.own = append(g.own, v)
		}
	}
	slices.Sort(g.own)
}

// sell gives every other AS a provider, every transit AS a customer, and then the
// rest of the links.
func (g *generator) sell() {
	transit := g.ASes - g.Stubs
	everywhere := len(g.urns) - 1
	for v := range g.Clique {
		for range cliqueWeight * (g.Clique - v) {
			g.urns[everywhere] = append(g.urns[everywhere], v)
		}
		for region := range everywhere {
			for range 1 + cliqueWeight*(g.Clique-v)/everywhere {
				g.urns[region] = append(g.urns[region], v)
			}
		}
	}
	var buyers []int
	for v := g.Clique; v < g.ASes; v++ {
		if !g.top[v] {
			g.buy(v)
			if v >= transit {
				buyers = append(buyers, v)
			}
		}
		if v < transit {
			g.attract(v)
		}
	}
	sells := make([]bool, g.ASes)
	for _, l := range g.links {
		sells[l[0]] = true
	}
	for v := range transit {
		for !sells[v] {
			sells[v] = g.join(v, buyers[g.r.IntN(len(buyers))])
		}
	}
	// Those with several providers have them by chance, transit ASes more often.
	for len(g.links) < g.TransitLinks {
		v := buyers[g.r.IntN(len(buyers))]
		if g.r.IntN(4) == 0 {
			v = g.Clique + g.r.IntN(transit-g.Clique)
		}
		if !g.top[v] {
			g.buy(v)
		}
	}
}

// buy links v to a provider before it in the hierarchy, if the draw finds one.
func (g *generator) buy(v int) {
	for range 100 {
		urn := g.urns[len(g.urns)-1]
		if g.r.Float64() < local {
			urn = g.urns[g.region[v]]
		}
		p := urn[g.r.IntN(len(urn))]
		if p < v && g.join(p, v) {
			g.attract(p)
			return
		}
	}
}

// attract has customers find a provider more often.
func (g *generator) attract(p int) {
	for _, urn := range []int{g.region[p], len(g.urns) - 1} {
		g.urns[urn] = append(g.urns[urn], p)
	}
}

// peer links the clique, everybody without a provider, and those at exchanges.
func (g *generator) peer() error {
	for a := range g.Clique {
		for b := range a {
			g.join(a, b)
		}
	}
	for _, v := range g.own {
		for !g.join(v, g.r.IntN(g.Clique)) {
		}
	}
	members, open := g.exchanges()
	near := make([][]int, len(g.urns)) // of each region, and all behind them
	for _, v := range members {
		near[g.region[v]] = append(near[g.region[v]], v)
	}
	near[len(near)-1] = members
	// Earlier members are greater: they are at more exchanges.
	early := func(list []int) int { return list[int(float64(len(list))*g.r.Float64()*g.r.Float64())] }
	all := g.TransitLinks + g.PeerLinks
	for tries := 0; len(g.links) < all; tries++ {
		if tries > 100*g.PeerLinks+1000 {
			return fmt.Errorf("%d peer links are too many for %d members of exchanges", g.PeerLinks, len(members))
		}
		with := early(members)
		switch chance := g.r.Float64(); {
		case chance < giantShare:
			g.join(early(open), with)
		case chance < giantShare+(1-giantShare)*local:
			g.join(early(near[g.region[with]]), with)
		default:
			g.join(early(members), with)
		}
	}
	return nil
}

// exchanges says who peers, and who of them with everybody. In a small graph more
// do, so that there are far more pairs than links.
func (g *generator) exchanges() (members, open []int) {
	transit := g.ASes - g.Stubs
	stubPeers, transitPeers := stubPeers, transitPeers
	for m := 0.0; m*m < 16*float64(g.PeerLinks) && stubPeers < 1; {
		stubPeers, transitPeers = 1.1*stubPeers, 1.1*transitPeers
		m = stubPeers*float64(g.Stubs) + min(transitPeers, 1)*float64(transit)
	}
	for v := g.Clique; v < g.ASes; v++ {
		share := stubPeers
		if v < transit {
			share = transitPeers
		}
		if g.top[v] || g.r.Float64() < share {
			members = append(members, v)
		}
	}
	for range min(giants, len(members)) {
		open = append(open, members[g.r.IntN(len(members))])
	}
	return members, open
}
