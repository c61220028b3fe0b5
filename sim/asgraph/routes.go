package asgraph

import (
	"cmp"
	"fmt"
	"slices"
)

// Class is from whom an AS has its route, worst first.
type Class uint8

const (
	Unreachable  Class = iota
	FromProvider       // told to customers alone
	FromPeer           // told to customers alone
	FromCustomer       // told to everybody
	Own                // the AS announces the prefix itself
)

// String is the class in words.
func (c Class) String() string {
	return [...]string{"unreachable", "from a provider", "from a peer", "from a customer", "own"}[c]
}

// MaxLength is the longest path of an announcement: its end may be seen at
// MaxDepth ASes up, one peer, and MaxDepth down.
const MaxLength = 20

// Announcement is a way by which a prefix comes to an AS first: a session with
// one that announces it and is no node of the graph, such as a datacenter of an
// anycast network, or (Class Own) the AS's own.
type Announcement struct {
	To Node
	// Class is what the announcer is to the AS: FromCustomer if the AS sells it
	// transit.
	Class Class
	// Length is the ASes on the path: 1 and one more for each time that the
	// announcer prepends its number; 0 for Own. At most MaxLength.
	Length uint8
}

// Route is how an AS reaches the prefix.
type Route struct {
	Class Class
	// Length is the ASes on the path, the announcer's prepending included.
	Length uint8
	// Next is the neighbour that told it; Nowhere if an Announcement did.
	Next Node
	// Entry is the Announcement at the path's end, by its place in the list.
	Entry uint16
}

const unset = 255 // the length of no route

// Routes is the stable state of one prefix over a Graph. Use NewRoutes. It is not
// safe for concurrent use, and is there to be used again: spreading allocates
// nothing.
type Routes struct {
	g       *Graph
	class   []Class
	length  []uint8
	next    []Node
	entry   []uint16
	order   []uint16 // announcements, the shortest first
	up      []Node   // nodes with customer routes or their own
	at, now []Node
}

// NewRoutes returns the routes over g when nothing is announced.
func NewRoutes(g *Graph) *Routes {
	n := g.Len()
	return &Routes{g: g, class: make([]Class, n), length: make([]uint8, n), next: make([]Node, n), entry: make([]uint16, n)}
}

// At is the route of a node.
func (r *Routes) At(v Node) Route {
	if r.class[v] == Unreachable {
		return Route{Next: Nowhere}
	}
	return Route{r.class[v], r.length[v], r.next[v], r.entry[v]}
}

// check says what is wrong with announcements.
func check(g *Graph, all []Announcement) error {
	if len(all) > 1<<16 {
		return fmt.Errorf("%d announcements, want at most %d", len(all), 1<<16)
	}
	for i, a := range all {
		switch {
		case a.To < 0 || int(a.To) >= g.Len():
			return fmt.Errorf("announcement %d to node %d, and the graph has %d", i, a.To, g.Len())
		case a.Class == Unreachable || a.Class > Own:
			return fmt.Errorf("announcement %d to %v has no class", i, g.asn[a.To])
		case (a.Length == 0) != (a.Class == Own), a.Length > MaxLength:
			return fmt.Errorf("announcement %d to %v, %v, has length %d; want 0 for its own, else 1 to %d", i, g.asn[a.To], a.Class, a.Length, MaxLength)
		}
	}
	return nil
}

// Spread finds the stable state for announcements in three passes: customers'
// routes upward breadth first, one step to peers, and downward from providers.
// An AS prefers an announcement to a neighbour's equally good route, and of equal
// announcements the first.
func (r *Routes) Spread(all []Announcement, p Preference) error {
	if err := check(r.g, all); err != nil {
		return err
	}
	for i := range r.length {
		r.length[i] = unset
	}
	clear(r.class)
	r.order = r.order[:0]
	for i := range all {
		r.order = append(r.order, uint16(i))
	}
	slices.SortStableFunc(r.order, func(i, k uint16) int { return cmp.Compare(all[i].Length, all[k].Length) })
	r.climb(all, p)
	r.cross(all, p)
	r.descend(all, p)
	return nil
}

// enter gives a node the route of an announcement, if it has none so good.
func (r *Routes) enter(i uint16, a Announcement) (first bool) {
	v := a.To
	if r.class[v] > a.Class || r.class[v] == a.Class && (r.length[v] < a.Length || r.length[v] == a.Length && r.next[v] == Nowhere) {
		return false
	}
	first = r.class[v] != a.Class
	r.class[v], r.length[v], r.next[v], r.entry[v] = a.Class, a.Length, Nowhere, i
	return first
}

// climb gives customers' routes to providers, all of one length at a time.
func (r *Routes) climb(all []Announcement, p Preference) {
	g := r.g
	asn, prov := g.asn, &g.providers
	r.up = r.up[:0]
	at, above, k := r.at[:0], r.now[:0], 0
	for length := uint8(0); ; length++ {
		for ; k < len(r.order) && all[r.order[k]].Length == length; k++ {
			a := all[r.order[k]]
			if a.Class >= FromCustomer && r.enter(r.order[k], a) {
				at = append(at, a.To)
			}
		}
		if len(at) == 0 && k == len(r.order) {
			break
		}
		r.up = append(r.up, at...)
		above = above[:0]
		for _, v := range at {
			entry := r.entry[v]
			for _, w := range prov.to[prov.off[v]:prov.off[v+1]] {
				if l := r.length[w]; l == unset {
					r.class[w], r.length[w], r.next[w], r.entry[w] = FromCustomer, length+1, v, entry
					above = append(above, w)
				} else if l == length+1 && r.next[w] != Nowhere && p.rank(asn[w], asn[v]) < p.rank(asn[w], asn[r.next[w]]) {
					r.next[w], r.entry[w] = v, entry
				}
			}
		}
		at, above = above, at
	}
	r.at, r.now = at, above
}

// cross gives customers' routes to peers.
func (r *Routes) cross(all []Announcement, p Preference) {
	g := r.g
	asn, peers := g.asn, &g.peers
	for _, i := range r.order {
		if all[i].Class == FromPeer {
			r.enter(i, all[i])
		}
	}
	for _, v := range r.up {
		length, entry := r.length[v]+1, r.entry[v]
		for _, w := range peers.to[peers.off[v]:peers.off[v+1]] {
			if r.class[w] > FromPeer {
				continue
			}
			l := r.length[w]
			if length < l || length == l && r.next[w] != Nowhere && p.rank(asn[w], asn[v]) < p.rank(asn[w], asn[r.next[w]]) {
				r.class[w], r.length[w], r.next[w], r.entry[w] = FromPeer, length, v, entry
			}
		}
	}
}

// descend has each node without a route ask its providers, which come before it.
func (r *Routes) descend(all []Announcement, p Preference) {
	g := r.g
	asn, prov := g.asn, &g.providers
	for _, i := range r.order {
		if all[i].Class == FromProvider {
			r.enter(i, all[i])
		}
	}
	for v := range Node(len(asn)) {
		if r.class[v] > FromProvider {
			continue
		}
		best, from := r.length[v], Nowhere
		for _, w := range prov.to[prov.off[v]:prov.off[v+1]] {
			l := r.length[w]
			if l == unset {
				continue
			}
			if l+1 < best || l+1 == best && from != Nowhere && p.rank(asn[v], asn[w]) < p.rank(asn[v], asn[from]) {
				best, from = l+1, w
			}
		}
		if from != Nowhere {
			r.class[v], r.length[v], r.next[v], r.entry[v] = FromProvider, best, from, r.entry[from]
		}
	}
}
