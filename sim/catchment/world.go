package catchment

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/homeward-lab/homeward/sim/asgraph"
	"github.com/homeward-lab/homeward/topologies/place"
)

// Draw makes a world like ours of a number of ASes: a generated graph whose ASes are
// at home in the world's cities as people are, and have users by a heavy tail.
func Draw(ases int, seed uint64) (*World, error) {
	cities := place.Cities()
	w := &World{Places: make([]place.Place, len(cities))}
	regions := place.Regions()
	atlas := asgraph.Atlas{}
	for i, c := range cities {
		w.Places[i] = c.Place
		atlas.Weight = append(atlas.Weight, c.People)
		atlas.Region = append(atlas.Region, slices.Index(regions, c.Region()))
	}
	var err error
	if w.Graph, w.Home, err = asgraph.Generate(asgraph.Internet().Scaled(ases), atlas, seed); err != nil {
		return nil, err
	}
	w.populate(cities, seed)
	return w, nil
}

// tail is the exponent of how many users ASes have: Zipf within each country.
const tail = 1.1

// populate divides each country's people among the ASes that are at home there, who
// are not at the very top: the first drawn has the most.
func (w *World) populate(cities []place.City, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0x75736572))
	w.Users = make([]float64, w.Graph.Len())
	of := map[string][]asgraph.Node{}
	for v := range asgraph.Node(w.Graph.Len()) {
		if len(w.Graph.Providers(v)) > 0 {
			country := w.Places[w.Home[v]].Country
			of[country] = append(of[country], v)
		}
	}
	people := map[string]float64{}
	for _, c := range cities {
		people[c.Country] += c.People
	}
	countries := make([]string, 0, len(of))
	for c := range of {
		countries = append(countries, c)
	}
	slices.Sort(countries)
	for _, c := range countries {
		nodes := of[c]
		r.Shuffle(len(nodes), func(i, k int) { nodes[i], nodes[k] = nodes[k], nodes[i] })
		sum := 0.0
		for i := range nodes {
			sum += zipf(i)
		}
		for i, v := range nodes {
			w.Users[v] = people[c] * zipf(i) / sum
		}
	}
}

// Attach gives each site neighbours: transit from the greatest providers, and peers
// among the ASes at home near it that peer at all.
type Attach struct {
	// Transit is how many of the clique the network buys from, at every site, so that
	// each of them hands over near a packet's source; 0 means 3.
	Transit int
	// Peers is the share of the ASes within Radius with which it peers; 0 means 0.4.
	Peers float64
	// Radius in metres; 0 means 500 km.
	Radius float64
	Seed   uint64
}

// Attach makes sites of places, with the neighbours that the world has for them.
func (w *World) Attach(ids []string, places []place.Place, a Attach) ([]Site, error) {
	if len(ids) != len(places) {
		return nil, fmt.Errorf("%d ids of %d places", len(ids), len(places))
	}
	a.Transit, a.Peers, a.Radius = cmp.Or(a.Transit, 3), cmp.Or(a.Peers, 0.4), cmp.Or(a.Radius, 500e3)
	tops := w.tops()
	r := rand.New(rand.NewPCG(a.Seed, hash("transit")))
	r.Shuffle(len(tops), func(i, k int) { tops[i], tops[k] = tops[k], tops[i] })
	byHome := make([][]asgraph.Node, len(w.Places))
	for v := range asgraph.Node(w.Graph.Len()) {
		if len(w.Graph.Peers(v)) > 0 && len(w.Graph.Providers(v)) > 0 {
			byHome[w.Home[v]] = append(byHome[w.Home[v]], v)
		}
	}
	sites := make([]Site, len(ids))
	for i, id := range ids {
		// Draws of a site are its own, so that one more changes no other.
		r = rand.New(rand.NewPCG(a.Seed, hash(id)))
		s := Site{ID: id, At: places[i]}
		for _, v := range tops[:min(a.Transit, len(tops))] {
			s.Sessions = append(s.Sessions, Session{To: v, Class: asgraph.FromCustomer})
		}
		for h, p := range w.Places {
			if place.Distance(p, s.At) > a.Radius {
				continue
			}
			for _, v := range byHome[h] {
				if r.Float64() < a.Peers {
					s.Sessions = append(s.Sessions, Session{To: v, Class: asgraph.FromPeer})
				}
			}
		}
		sites[i] = s
	}
	return sites, nil
}

// tops are the ASes without provider that have the most customers, at most sixteen.
func (w *World) tops() []asgraph.Node {
	var tops []asgraph.Node
	for v := range asgraph.Node(w.Graph.Len()) {
		if len(w.Graph.Providers(v)) == 0 {
			tops = append(tops, v)
		}
	}
	slices.SortStableFunc(tops, func(a, b asgraph.Node) int {
		return len(w.Graph.Customers(b)) - len(w.Graph.Customers(a))
	})
	return tops[:min(16, len(tops))]
}

func zipf(i int) float64 { return math.Pow(float64(i+1), -tail) }

// hash is FNV-1a.
func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}
