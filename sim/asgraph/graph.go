// Package asgraph is the Internet as a graph of autonomous systems: who sells
// transit to whom, who peers with whom, and how a prefix spreads over it by the
// rules of Gao and Rexford (Stable Internet Routing Without Global Coordination,
// 2001): an AS prefers what its customers tell to what its peers tell to what
// its providers tell, then the shorter path, and it tells peers and providers of
// its customers' routes alone.
//
// It is a model, never the truth: such models find a third of the real paths
// exactly, and five of six once the first hop is known. Whoever shows a result
// says so, and asks many of them (sim/catchment).
//
// Its law: one set of announcements has one outcome, the one that a slow search
// for the stable state finds, however it is computed: Routes, Batch or Dynamics.
package asgraph

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// ASN is the number of an autonomous system (RFC 6793).
type ASN uint32

// String is the number as RFC 5396 writes it, with AS before it.
func (a ASN) String() string { return fmt.Sprintf("AS%d", uint32(a)) }

// Node is an AS by its place in a Graph's order: each after all its providers.
type Node int32

// Nowhere is no node.
const Nowhere Node = -1

// Relation is what two linked ASes are to each other.
type Relation int8

// The relations, with the numbers of CAIDA's files.
const (
	Transit Relation = -1 // A sells transit to B
	Peering Relation = 0
)

// Link joins two ASes.
type Link struct {
	A, B ASN
	Relation
}

// MaxDepth is the longest chain of providers above an AS that a Graph may have,
// several times that of the Internet. It bounds every path to what a Batch's
// lanes of seven bits can count.
const MaxDepth = 50

// LinkError is a link that cannot be part of a Graph.
type LinkError struct {
	// Index is the link's in the list that New was given.
	Index int
	Err   error
}

func (e *LinkError) Error() string { return fmt.Sprintf("link %d: %v", e.Index, e.Err) }
func (e *LinkError) Unwrap() error { return e.Err }

// adjacency is the neighbours of each node in one relation, the lowest number
// first.
type adjacency struct {
	off []int32
	to  []Node
}

func (a *adjacency) of(v Node) []Node { return a.to[a.off[v]:a.off[v+1]] }

// Graph is ASes and their links. Use New, Read or Generate. It does not change;
// any number of goroutines may use it.
type Graph struct {
	asn  []ASN // by Node
	node map[ASN]Node
	// A node's neighbours, by what they are to it.
	providers, customers, peers adjacency
}

// New makes the graph of links. The error is a *LinkError where one link is to
// blame: one of an AS to itself, one that says something else than an earlier one
// of the same two, one that closes a circle of providers. The same link twice is
// one link.
func New(links []Link) (*Graph, error) {
	g := &Graph{node: make(map[ASN]Node, len(links)/6)}
	from := make([]Node, len(links))
	to := make([]Node, len(links))
	seen := make(map[[2]Node]int, len(links))
	var transit, peering []edge
	for i, l := range links {
		if l.A == l.B {
			return nil, &LinkError{i, fmt.Errorf("%v is linked to itself", l.A)}
		}
		from[i], to[i] = g.add(l.A), g.add(l.B)
		pair := [2]Node{min(from[i], to[i]), max(from[i], to[i])}
		if k, ok := seen[pair]; ok {
			same := links[k].Relation == l.Relation && (l.Relation == Peering || links[k].A == l.A)
			if !same {
				return nil, &LinkError{i, fmt.Errorf("%v and %v were linked otherwise before", l.A, l.B)}
			}
			continue
		}
		seen[pair] = i
		switch l.Relation {
		case Transit:
			transit = append(transit, edge{from[i], to[i], int32(i)})
		case Peering:
			peering = append(peering, edge{from[i], to[i], int32(i)})
		default:
			return nil, &LinkError{i, fmt.Errorf("relation %d, want %d (transit) or %d (peering)", l.Relation, Transit, Peering)}
		}
	}
	if err := g.sort(transit, peering); err != nil {
		return nil, err
	}
	g.join(transit, peering)
	return g, nil
}

// edge is a link between nodes, and which it was.
type edge struct {
	a, b Node
	link int32
}

func (g *Graph) add(a ASN) Node {
	v, ok := g.node[a]
	if !ok {
		v = Node(len(g.asn))
		g.node[a] = v
		g.asn = append(g.asn, a)
	}
	return v
}

// sort renumbers all nodes so that each comes after its providers, and of those
// that could come the lowest number of the first written does (Kahn 1962).
func (g *Graph) sort(transit, peering []edge) error {
	n := len(g.asn)
	missing := make([]int32, n) // providers that are not in order yet
	depth := make([]int32, n)
	down := adjacent(n, transit, func(e edge) (Node, Node) { return e.a, e.b })
	for _, e := range transit {
		missing[e.b]++
	}
	order := make([]Node, 0, n)
	for v := range Node(n) {
		if missing[v] == 0 {
			order = append(order, v)
		}
	}
	for i := 0; i < len(order); i++ {
		v := order[i]
		for _, c := range down.of(v) {
			depth[c] = max(depth[c], depth[v]+1)
			if missing[c]--; missing[c] == 0 {
				order = append(order, c)
			}
		}
	}
	if len(order) < n {
		return g.circle(transit, missing)
	}
	if deepest := slices.Max(append(depth, 0)); deepest > MaxDepth {
		return fmt.Errorf("%v has a chain of %d providers above it, want at most %d", g.asn[slices.Index(depth, deepest)], deepest, MaxDepth)
	}
	place := make([]Node, n)
	asn := make([]ASN, n)
	for i, v := range order {
		place[v], asn[i] = Node(i), g.asn[v]
		g.node[g.asn[v]] = Node(i)
	}
	g.asn = asn
	for _, edges := range [][]edge{transit, peering} {
		for i, e := range edges {
			edges[i].a, edges[i].b = place[e.a], place[e.b]
		}
	}
	return nil
}

// circle says which ASes are each other's providers. missing is not zero for
// those on a circle and below one: going up from any of them ends in one.
func (g *Graph) circle(transit []edge, missing []int32) error {
	up := make(map[Node]edge, len(transit))
	for _, e := range transit {
		if missing[e.a] > 0 && missing[e.b] > 0 {
			up[e.b] = e
		}
	}
	v := transit[slices.IndexFunc(transit, func(e edge) bool { return missing[e.a] > 0 && missing[e.b] > 0 })].b
	met := map[Node]bool{}
	for ; !met[v]; v = up[v].a {
		met[v] = true
	}
	last := up[v] // of the circle's links the one that was written last
	for w := up[v].a; w != v; w = up[w].a {
		if up[w].link > last.link {
			last = up[w]
		}
	}
	names := []string{g.asn[last.b].String()}
	for w := last.a; w != last.b; w = up[w].a {
		names = append(names, g.asn[w].String())
	}
	names = append(names, g.asn[last.b].String())
	return &LinkError{int(last.link), fmt.Errorf("a circle of providers: %s", strings.Join(names, " buys from "))}
}

// join makes the lists of neighbours.
func (g *Graph) join(transit, peering []edge) {
	n := len(g.asn)
	g.customers = adjacent(n, transit, func(e edge) (Node, Node) { return e.a, e.b })
	g.providers = adjacent(n, transit, func(e edge) (Node, Node) { return e.b, e.a })
	both := make([]edge, 0, 2*len(peering))
	for _, e := range peering {
		both = append(both, e, edge{a: e.b, b: e.a})
	}
	g.peers = adjacent(n, both, func(e edge) (Node, Node) { return e.a, e.b })
	for _, a := range []*adjacency{&g.customers, &g.providers, &g.peers} {
		for v := range Node(n) {
			slices.SortFunc(a.of(v), func(x, y Node) int { return cmp.Compare(g.asn[x], g.asn[y]) })
		}
	}
}

// adjacent is the lists of edges, in their order.
func adjacent(n int, edges []edge, ends func(edge) (of, to Node)) adjacency {
	a := adjacency{make([]int32, n+1), make([]Node, len(edges))}
	for _, e := range edges {
		v, _ := ends(e)
		a.off[v+1]++
	}
	for i := range n {
		a.off[i+1] += a.off[i]
	}
	next := slices.Clone(a.off)
	for _, e := range edges {
		v, w := ends(e)
		a.to[next[v]] = w
		next[v]++
	}
	return a
}

// Len is how many ASes there are.
func (g *Graph) Len() int { return len(g.asn) }

// ASN is the number of a node.
func (g *Graph) ASN(v Node) ASN { return g.asn[v] }

// Lookup finds an AS.
func (g *Graph) Lookup(a ASN) (Node, bool) {
	v, ok := g.node[a]
	return v, ok
}

// Providers are the ASes that sell transit to v. The slice is the graph's own.
func (g *Graph) Providers(v Node) []Node { return g.providers.of(v) }

// Customers are the ASes that buy transit from v. The slice is the graph's own.
func (g *Graph) Customers(v Node) []Node { return g.customers.of(v) }

// Peers are the ASes that v peers with. The slice is the graph's own.
func (g *Graph) Peers(v Node) []Node { return g.peers.of(v) }
