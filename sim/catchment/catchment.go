// Package catchment says who lands in which datacenter, when many announce one
// address: a probability for each AS and site, from an ensemble of guesses at what
// nobody outside can know.
//
// It is never one deterministic truth. Where ASes choose among equally good routes
// is a guess in each member of the ensemble, and so are a share of the relations
// themselves. What such models reach is published: a third of all AS paths exactly,
// five of six once the first hop is known, nineteen of twenty with geography.
//
// Its law: the shares of an AS that can reach the prefix sum to one, and a site that
// is down has none.
package catchment

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/homeward-lab/homeward/sim/asgraph"
	"github.com/homeward-lab/homeward/topologies/place"
)

// World is who is there.
type World struct {
	Graph *asgraph.Graph
	// Home of each node, an index of Places.
	Home   []int
	Places []place.Place
	// Users of each node.
	Users []float64
}

// Site is a datacenter that announces the prefix.
type Site struct {
	ID string
	At place.Place
	// Sessions are the neighbours that it announces to.
	Sessions []Session
}

// Session is one of a site's neighbours.
type Session struct {
	To asgraph.Node
	// Class is what the site is to it: FromCustomer where it sells the site transit,
	// FromPeer where they peer.
	Class asgraph.Class
	// Prepend is how often the site's number stands in the path beyond the first.
	Prepend uint8
}

// Ensemble is how many guesses are made.
type Ensemble struct {
	// Members is how many; 0 means 1, which prefers low numbers and trusts all
	// relations.
	Members int
	// Seed of all of them.
	Seed uint64
}

// member is the preference of one guess.
func (e Ensemble) member(i int) asgraph.Preference {
	if e.Members <= 1 {
		return 0
	}
	// Odd multiples never are zero, which would be the one that prefers low numbers.
	return asgraph.Preference((e.Seed<<1 | 1) * (2*uint64(i) + 1))
}

// Scenario is which sites are down: nil, none.
type Scenario []bool

// Catchments are who lands where, for each of some scenarios.
type Catchments struct {
	world   *World
	sites   []Site
	members int
	// users that land at each site, by scenario: the mean over members; the last is
	// those that reach none.
	users [][]float64
	// each member's.
	spread [][][]float64
	// at counts, for each scenario that keeps them, how many members have a node at a
	// site.
	at [][]uint16
}

// entry is an announcement to an AS by one or several sites: routing looks at what
// the AS sees, and which site a packet then meets is a matter of where it comes from.
type entry struct {
	asgraph.Announcement
	sites []int
}

// entries joins the sessions of all sites by AS, class and length.
func entries(sites []Site) []entry {
	var all []entry
	for i, s := range sites {
		for _, n := range s.Sessions {
			all = append(all, entry{asgraph.Announcement{To: n.To, Class: n.Class, Length: 1 + n.Prepend}, []int{i}})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.To, b.To), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Length, b.Length))
	})
	joined := all[:0]
	for _, e := range all {
		if n := len(joined); n > 0 && joined[n-1].Announcement == e.Announcement {
			joined[n-1].sites = append(joined[n-1].sites, e.sites...)
			continue
		}
		joined = append(joined, e)
	}
	return joined
}

// ErrNoSites is returned where nothing announces.
var ErrNoSites = errors.New("no site announces the prefix to anybody")

// Find computes the catchments of sites in scenarios, eight at once for each member
// of the ensemble. It keeps who lands where for the first scenario alone, and how
// many users for all.
func Find(w *World, sites []Site, scenarios []Scenario, e Ensemble) (*Catchments, error) {
	in := entries(sites)
	if len(in) == 0 {
		return nil, ErrNoSites
	}
	all := make([]asgraph.Announcement, len(in))
	for i, e := range in {
		all[i] = e.Announcement
	}
	for i, s := range scenarios {
		if s != nil && len(s) != len(sites) {
			return nil, fmt.Errorf("scenario %d speaks of %d sites, and there are %d", i, len(s), len(sites))
		}
	}
	c := &Catchments{world: w, sites: sites, members: max(1, e.Members)}
	c.users = make([][]float64, len(scenarios))
	c.spread = make([][][]float64, len(scenarios))
	c.at = make([][]uint16, w.Graph.Len())
	for i := range scenarios {
		c.users[i] = make([]float64, len(sites)+1)
	}
	near := newNearest(w, sites, in)
	for m := range c.members {
		b, err := asgraph.NewBatch(w.Graph, all, e.member(m))
		if err != nil {
			return nil, err
		}
		var f *landing
		for from := 0; from < len(scenarios); from += asgraph.Lanes {
			b.Spread(made(in, scenarios[from:min(from+asgraph.Lanes, len(scenarios))]))
			if from == 0 {
				f = c.first(b, near, scenarios[0])
			}
			c.land(b, f, near, scenarios, from)
		}
	}
	for i := range c.users {
		for k := range c.users[i] {
			c.users[i][k] /= float64(c.members)
		}
	}
	return c, nil
}

// landing is where every node is in the first scenario, as one member has it.
type landing struct {
	entry []uint16
	site  []uint16 // the number of sites is nowhere
	users []float64
	down  Scenario
}

// first takes lane 0 of a batch.
func (c *Catchments) first(b *asgraph.Batch, near *nearest, down Scenario) *landing {
	n := c.world.Graph.Len()
	f := &landing{entry: make([]uint16, n), site: make([]uint16, n), users: make([]float64, len(c.sites)+1), down: down}
	for v := range asgraph.Node(n) {
		_, e, ok := b.At(v, 0)
		at := len(c.sites)
		if ok {
			at = near.of(c.world.Home[v], int(e), down)
		}
		f.entry[v], f.site[v] = e, uint16(at)
		f.users[at] += c.world.Users[v]
		c.count(v, at)
	}
	return f
}

// covers says whether a scenario has all those down that the first has.
func (f *landing) covers(down Scenario) bool {
	for s, d := range f.down {
		if d && (down == nil || !down[s]) {
			return false
		}
	}
	return true
}

// land adds up to eight scenarios of one member. Most nodes are where they are in
// the first scenario: only the others are looked at one by one.
func (c *Catchments) land(b *asgraph.Batch, f *landing, near *nearest, scenarios []Scenario, from int) {
	lanes := min(asgraph.Lanes, len(scenarios)-from)
	users := make([][]float64, lanes)
	var again, used uint64 // lanes in which every node is looked at, and all lanes
	gone := make([]uint64, len(c.sites)+1)
	for l := range lanes {
		users[l] = slices.Clone(f.users)
		used |= asgraph.Lane(l)
		if !f.covers(scenarios[from+l]) {
			again |= asgraph.Lane(l)
		}
		for s, d := range scenarios[from+l] {
			if d {
				gone[s] |= asgraph.Lane(l)
			}
		}
	}
	for v := range asgraph.Node(c.world.Graph.Len()) {
		was := int(f.site[v])
		look := (b.Differ(v, f.entry[v], was < len(c.sites)) | gone[was] | again) & used
		for look != 0 {
			l := bits.TrailingZeros64(look) / 8
			look &^= asgraph.Lane(l)
			at := len(c.sites)
			if _, e, ok := b.At(v, l); ok {
				at = near.of(c.world.Home[v], int(e), scenarios[from+l])
			}
			users[l][was] -= c.world.Users[v]
			users[l][at] += c.world.Users[v]
		}
	}
	for l, u := range users {
		for s := range u {
			if gone[s]&asgraph.Lane(l) != 0 {
				u[s] = 0 // not what rounding has left
			}
			c.users[from+l][s] += u[s]
		}
		c.spread[from+l] = append(c.spread[from+l], u)
	}
}

// made says in which lanes each announcement is made.
func made(in []entry, scenarios []Scenario) []uint64 {
	all := make([]uint64, len(in))
	for i, e := range in {
		for l, down := range scenarios {
			if slices.ContainsFunc(e.sites, func(s int) bool { return down == nil || !down[s] }) {
				all[i] |= asgraph.Lane(l)
			}
		}
	}
	return all
}

func (c *Catchments) count(v asgraph.Node, at int) {
	if c.at[v] == nil {
		// Pairs of site and count: few sites for each AS.
		c.at[v] = make([]uint16, 0, 4)
	}
	for i := 0; i < len(c.at[v]); i += 2 {
		if int(c.at[v][i]) == at {
			c.at[v][i+1]++
			return
		}
	}
	c.at[v] = append(c.at[v], uint16(at), 1)
}

// Share is how likely an AS lands at a site.
type Share struct {
	// Site is an index; the number of sites is nowhere.
	Site int
	P    float64
}

// Of is where a node lands in the first scenario, the likeliest first.
func (c *Catchments) Of(v asgraph.Node) []Share {
	var all []Share
	for i := 0; i < len(c.at[v]); i += 2 {
		all = append(all, Share{int(c.at[v][i]), float64(c.at[v][i+1]) / float64(c.members)})
	}
	slices.SortFunc(all, func(a, b Share) int { return cmp.Or(cmp.Compare(b.P, a.P), cmp.Compare(a.Site, b.Site)) })
	return all
}

// Users are how many land at each site in a scenario, the mean over the ensemble;
// the last are those that reach none.
func (c *Catchments) Users(scenario int) []float64 { return c.users[scenario] }

// Member is Users of one member of the ensemble.
func (c *Catchments) Member(scenario, member int) []float64 { return c.spread[scenario][member] }
