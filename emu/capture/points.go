package capture

import "github.com/homeward-lab/homeward/topologies/plan"

// Points are where a plan's packets are seen once per hop: one end of every
// link, the one whose node only routes. What a program redirects past the
// network stack of a server or a branch still passes its neighbour's interface.
func Points(p *plan.Plan) []Point {
	kinds := make(map[string]plan.Kind, len(p.Nodes))
	for i := range p.Nodes {
		kinds[p.Nodes[i].ID] = p.Nodes[i].Kind
	}
	out := make([]Point, 0, len(p.Links))
	for i := range p.Links {
		e := &p.Links[i].A
		if rank(kinds[p.Links[i].B.Node]) > rank(kinds[e.Node]) {
			e = &p.Links[i].B
		}
		out = append(out, Point{Node: e.Node, Interface: e.Interface})
	}
	return out
}

// rank orders nodes by how surely a packet that passes one passes its interfaces.
func rank(k plan.Kind) int {
	switch k {
	case plan.KindTransit:
		return 4
	case plan.KindEdge:
		return 3
	case plan.KindBranch:
		return 2
	case plan.KindServer:
		return 1
	}
	return 0
}
