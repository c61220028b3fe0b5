package catchment

import (
	"slices"

	"github.com/homeward-lab/homeward/sim/asgraph"
)

// Nowhere is the site of a node without a route.
const Nowhere = -1

// Landing is where a node lands, and by which route.
type Landing struct {
	// Site is an index, or Nowhere.
	Site int16
	// Class and Length of the node's route: Class is asgraph.Unreachable without one.
	Class  asgraph.Class
	Length uint8
}

// Finder says of single guesses where every node lands. It may be used by several
// goroutines. Use NewFinder.
type Finder struct {
	world *World
	in    []entry
	near  *nearest
}

// NewFinder prepares the sites of a world. The error is ErrNoSites if they announce
// to nobody.
func NewFinder(w *World, sites []Site) (*Finder, error) {
	in := entries(sites)
	if len(in) == 0 {
		return nil, ErrNoSites
	}
	return &Finder{world: w, in: in, near: newNearest(w, sites, in)}, nil
}

// Guess is the preference of one guess, numbered by a seed.
func Guess(seed uint64) asgraph.Preference { return Ensemble{Members: 2, Seed: seed}.member(0) }

// Land is where every node lands while some sites are down, as one guess has it.
func (f *Finder) Land(down Scenario, p asgraph.Preference) ([]Landing, error) {
	var all []asgraph.Announcement
	var which []int
	for i, e := range f.in {
		if slices.ContainsFunc(e.sites, func(s int) bool { return down == nil || !down[s] }) {
			all, which = append(all, e.Announcement), append(which, i)
		}
	}
	land := make([]Landing, f.world.Graph.Len())
	r := asgraph.NewRoutes(f.world.Graph)
	if len(all) > 0 {
		if err := r.Spread(all, p); err != nil {
			return nil, err
		}
	}
	for v := range land {
		land[v] = Landing{Site: Nowhere}
		if len(all) == 0 {
			continue
		}
		if at := r.At(asgraph.Node(v)); at.Class != asgraph.Unreachable {
			site := f.near.walk(f.world.Home[v], which[at.Entry], down)
			land[v] = Landing{int16(site), at.Class, at.Length}
		}
	}
	return land, nil
}
