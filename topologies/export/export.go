// Package export writes the network of a plan for other tools: containerlab,
// Graphviz and Mermaid, and as nftables scripts that do the servers' work.
//
// It writes what those tools can hold: nodes, links, addresses, routes, tunnels.
// Servers there are routers without a brain, but for nftables, and nobody sends
// traffic. The law:
// the same plan gives the same bytes, and what is written is what the tool's own
// language allows, whatever names and titles say.
package export

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// formats by name.
var formats = []struct {
	name  string
	write func(w io.Writer, p *plan.Plan) error
}{
	{"containerlab", Containerlab},
	{"dot", Dot},
	{"mermaid", Mermaid},
	{"nftables", NFTables},
}

// Formats are the names that To takes.
func Formats() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// To writes the plan in a format; known says whether there is one of this name.
func To(w io.Writer, format string, p *plan.Plan) (known bool, err error) {
	for _, f := range formats {
		if f.name == format {
			return true, f.write(w, p)
		}
	}
	return false, nil
}

// group is what is drawn together: a site, a datacenter, or a node of its own.
type group struct {
	name  string
	nodes []*plan.Node
}

// groups are the plan's nodes by where they belong, in the order of names.
func groups(p *plan.Plan) []group {
	by := map[string]*group{}
	var order []string
	for i := range p.Nodes {
		n := &p.Nodes[i]
		name := n.Site
		if name == "" && (n.Kind == plan.KindEdge || n.Kind == plan.KindServer) {
			name = n.Datacenter
		}
		if name == "" {
			name = "." + n.ID // alone
		}
		if by[name] == nil {
			by[name] = &group{name: name}
			order = append(order, name)
		}
		by[name].nodes = append(by[name].nodes, n)
	}
	slices.Sort(order)
	out := make([]group, len(order))
	for i, name := range order {
		out[i] = *by[name]
	}
	return out
}

// alone says that a group is one node that belongs nowhere.
func (g group) alone() bool { return strings.HasPrefix(g.name, ".") }

// label is what a drawing says of a node: its id, and an address of its own.
func label(n *plan.Node) []string {
	lines := []string{n.ID}
	switch {
	case n.Address.IsValid():
		lines = append(lines, n.Address.String())
	case n.LAN.IsValid():
		lines = append(lines, n.LAN.String())
	}
	return lines
}

// onRamp is a tunnel as a drawing shows it: from a router to where it lands.
type onRamp struct{ name, from, to string }

// onRamps are the plan's tunnels. One that lands at a datacenter without an edge
// in the plan is not drawn.
func onRamps(p *plan.Plan) []onRamp {
	edges := map[string]string{} // by datacenter
	where := map[string]string{} // a node's datacenter
	for i := range p.Nodes {
		n := &p.Nodes[i]
		where[n.ID] = n.Datacenter
		if n.Kind == plan.KindEdge {
			edges[n.Datacenter] = n.ID
		}
	}
	var all []onRamp
	for i := range p.Branches {
		for _, t := range p.Branches[i].Tunnels {
			if to := edges[where[p.Branches[i].Node]]; to != "" {
				all = append(all, onRamp{fmt.Sprintf("%s (%s)", t.Name, t.Kind), p.Branches[i].Node, to})
			}
		}
	}
	return all
}
