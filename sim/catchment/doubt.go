package catchment

import (
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/sim/asgraph"
)

// Doubted is a Finder over an Internet of which some relations are otherwise than
// believed. What is known of relations between ASes is inferred, and wrong for a few
// of a hundred: above all, links between peers are not seen from anywhere.
type Doubted struct {
	finder *Finder
	// of is the believed graph's node of each of the doubted one's, and n how many
	// there were.
	of []asgraph.Node
	n  int
}

// Doubt draws which relations are otherwise, so large a share of them: a peering is
// not there, or a provider is a peer in truth, as long as its customer has another.
// Nobody is cut off by that.
func (w *World) Doubt(sites []Site, share float64, seed uint64) (*Doubted, error) {
	g, err := asgraph.New(w.doubtful(share, seed))
	if err != nil {
		return nil, err
	}
	d := &Doubted{of: make([]asgraph.Node, g.Len()), n: w.Graph.Len()}
	other := &World{Graph: g, Home: make([]int, g.Len()), Places: w.Places, Users: make([]float64, g.Len())}
	for v := range asgraph.Node(g.Len()) {
		was, _ := w.Graph.Lookup(g.ASN(v))
		d.of[v], other.Home[v], other.Users[v] = was, w.Home[was], w.Users[was]
	}
	moved := make([]Site, len(sites))
	for i, s := range sites {
		moved[i] = Site{ID: s.ID, At: s.At}
		for _, n := range s.Sessions {
			// A neighbour that has no other link any more carries nobody's packets but its own.
			if to, there := g.Lookup(w.Graph.ASN(n.To)); there {
				n.To = to
				moved[i].Sessions = append(moved[i].Sessions, n)
			}
		}
	}
	d.finder, err = NewFinder(other, moved)
	return d, err
}

// doubtful are the links with some of them otherwise. Each is its own draw.
func (w *World) doubtful(share float64, seed uint64) (links []asgraph.Link) {
	g := w.Graph
	doubted := func(a, b asgraph.ASN) bool {
		return float64(flow.Combine(seed, uint64(a), uint64(b))>>11)/(1<<53) < share
	}
	for v := range asgraph.Node(g.Len()) {
		for i, p := range g.Providers(v) {
			l := asgraph.Link{A: g.ASN(p), B: g.ASN(v), Relation: asgraph.Transit}
			if i > 0 && doubted(l.A, l.B) {
				l.Relation = asgraph.Peering
			}
			links = append(links, l)
		}
		for _, p := range g.Peers(v) {
			// Who has no provider reaches the rest by its peers, and they are well known.
			known := len(g.Providers(v)) == 0 || len(g.Providers(p)) == 0
			if a, b := g.ASN(v), g.ASN(p); a < b && (known || !doubted(a, b)) {
				links = append(links, asgraph.Link{A: a, B: b, Relation: asgraph.Peering})
			}
		}
	}
	return links
}

// Land is Finder.Land, by the nodes of the believed graph.
func (d *Doubted) Land(down Scenario, p asgraph.Preference) ([]Landing, error) {
	found, err := d.finder.Land(down, p)
	if err != nil {
		return nil, err
	}
	land := make([]Landing, d.n)
	for v := range land {
		land[v].Site = Nowhere
	}
	for v, l := range found {
		land[d.of[v]] = l
	}
	return land, nil
}
