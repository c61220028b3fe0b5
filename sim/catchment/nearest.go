package catchment

import (
	"cmp"
	"slices"

	"github.com/homeward-lab/homeward/topologies/place"
)

// nearest says which of an entry's sites a user meets: the nearest to the user's
// home that is up. An AS that several sites announce to hands packets over where
// they are (hot potato), and that is near their source.
type nearest struct {
	// order[h] is the sites by distance from place h.
	order [][]uint16
	// has[e] is the sites of an entry, a bit each.
	has [][]uint64
	// only[e] is them as a list.
	only [][]int
	// first[h*entries+e] is the answer while every site is up, and 1 more; 0 is not
	// known yet.
	first []uint16
}

func newNearest(w *World, sites []Site, in []entry) *nearest {
	n := &nearest{order: make([][]uint16, len(w.Places)), has: make([][]uint64, len(in)), only: make([][]int, len(in)), first: make([]uint16, len(w.Places)*len(in))}
	for h, from := range w.Places {
		metres := make([]float64, len(sites))
		order := make([]uint16, len(sites))
		for i, s := range sites {
			metres[i], order[i] = place.Distance(from, s.At), uint16(i)
		}
		slices.SortStableFunc(order, func(a, b uint16) int { return cmp.Compare(metres[a], metres[b]) })
		n.order[h] = order
	}
	for i, e := range in {
		n.only[i] = e.sites
		n.has[i] = make([]uint64, (len(sites)+63)/64)
		for _, s := range e.sites {
			n.has[i][s/64] |= 1 << (s % 64)
		}
	}
	return n
}

// of is the site at which packets from a place enter. The entry has one that is up.
func (n *nearest) of(home, entry int, down Scenario) int {
	known := &n.first[home*len(n.has)+entry]
	if *known == 0 {
		*known = uint16(n.walk(home, entry, nil) + 1)
	}
	if s := int(*known - 1); down == nil || !down[s] {
		return s
	}
	return n.walk(home, entry, down)
}

func (n *nearest) walk(home, entry int, down Scenario) int {
	if only := n.only[entry]; len(only) == 1 && (down == nil || !down[only[0]]) {
		return only[0]
	}
	has := n.has[entry]
	for _, s := range n.order[home] {
		if has[s/64]&(1<<(s%64)) != 0 && (down == nil || !down[s]) {
			return int(s)
		}
	}
	panic("catchment: an entry without a site was announced")
}
