package asgraph

import (
	"fmt"
	"slices"
	"strings"
)

// Fit is what can be counted in a graph, to be held against published counts.
type Fit struct {
	Shape
	// Components is how many parts are not linked to each other.
	Components int
	// Depth is the longest chain of providers.
	Depth int
	// Degrees of all kinds together, and customers alone: the quantiles 0.5, 0.9,
	// 0.99, 0.999 and the greatest.
	Degree, Customers [5]int
}

// Fit counts. Its Clique is how many ASes without provider all peer with each
// other, found by going from the one with the most customers on.
func (g *Graph) Fit() Fit {
	n := g.Len()
	f := Fit{Shape: Shape{ASes: n, TransitLinks: len(g.customers.to), PeerLinks: len(g.peers.to) / 2}}
	degree, customers, depth := make([]int, n), make([]int, n), make([]int, n)
	var tops []Node
	for v := range Node(n) {
		customers[v] = len(g.Customers(v))
		degree[v] = customers[v] + len(g.Peers(v)) + len(g.Providers(v))
		if customers[v] == 0 {
			f.Stubs++
		}
		if len(g.Providers(v)) == 0 {
			tops = append(tops, v)
		}
		for _, p := range g.Providers(v) {
			depth[v] = max(depth[v], depth[p]+1)
		}
		f.Depth = max(f.Depth, depth[v])
	}
	f.Tops, f.Clique, f.Components = len(tops), g.clique(tops), g.components()
	f.Degree, f.Customers = quantiles(degree), quantiles(customers)
	return f
}

func (g *Graph) clique(tops []Node) int {
	slices.SortStableFunc(tops, func(a, b Node) int { return len(g.Customers(b)) - len(g.Customers(a)) })
	var in []Node
	for _, v := range tops {
		if !slices.ContainsFunc(in, func(w Node) bool { return !slices.Contains(g.Peers(w), v) }) {
			in = append(in, v)
		}
	}
	return len(in)
}

func (g *Graph) components() int {
	seen, parts := make([]bool, g.Len()), 0
	var todo []Node
	for v := range Node(g.Len()) {
		if seen[v] {
			continue
		}
		parts++
		seen[v] = true
		for todo = append(todo[:0], v); len(todo) > 0; {
			w := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			for _, a := range []*adjacency{&g.providers, &g.customers, &g.peers} {
				for _, x := range a.of(w) {
					if !seen[x] {
						seen[x] = true
						todo = append(todo, x)
					}
				}
			}
		}
	}
	return parts
}

func quantiles(all []int) (q [5]int) {
	sorted := slices.Sorted(slices.Values(all))
	for i, part := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
		q[i] = sorted[int(part*float64(len(sorted)-1))]
	}
	return q
}

// Against is a table of the counts, those of a shape beside them.
func (f Fit) Against(want Shape) string {
	var b strings.Builder
	row := func(what string, got, want int) { fmt.Fprintf(&b, "%-28s %8d   published %8d\n", what, got, want) }
	row("ASes", f.ASes, want.ASes)
	row("provider-customer links", f.TransitLinks, want.TransitLinks)
	row("peer links", f.PeerLinks, want.PeerLinks)
	row("without customers", f.Stubs, want.Stubs)
	row("without providers", f.Tops, want.Tops)
	fmt.Fprintf(&b, "%-28s %8d\n%-28s %8d\n%-28s %8d\n", "clique", f.Clique, "components", f.Components, "longest chain of providers", f.Depth)
	fmt.Fprintf(&b, "%-28s %v\n%-28s %v\n", "degree p50 p90 p99 p99.9 max", f.Degree, "customers, the same", f.Customers)
	return b.String()
}
