package export

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// Dot writes a graph for Graphviz (https://graphviz.org/doc/info/lang.html):
// sites and datacenters are clusters, tunnels are dashed.
func Dot(out io.Writer, p *plan.Plan) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "graph %s {\n", dotString(p.Scenario+"/"+p.Variant))
	fmt.Fprintf(w, "  label=%s;\n  layout=fdp;\n  overlap=prism;\n  node [shape=box, style=rounded, fontname=sans];\n  edge [fontname=sans, fontsize=9];\n", dotString(title(p)))
	for i, g := range groups(p) {
		if g.alone() {
			dotNode(w, "  ", g.nodes[0])
			continue
		}
		fmt.Fprintf(w, "  subgraph cluster_%d {\n    label=%s;\n", i, dotString(g.name))
		for _, n := range g.nodes {
			dotNode(w, "    ", n)
		}
		fmt.Fprint(w, "  }\n")
	}
	for i := range p.Links {
		l := &p.Links[i]
		fmt.Fprintf(w, "  %s -- %s [taillabel=%s, headlabel=%s, class=%s];\n",
			dotString(l.A.Node), dotString(l.B.Node), dotString(l.A.Interface), dotString(l.B.Interface), dotString(string(l.Class)))
	}
	for _, o := range onRamps(p) {
		fmt.Fprintf(w, "  %s -- %s [style=dashed, class=tunnel, label=%s];\n", dotString(o.from), dotString(o.to), dotString(o.name))
	}
	fmt.Fprint(w, "}\n")
	return w.Flush()
}

func dotNode(w io.Writer, indent string, n *plan.Node) {
	fmt.Fprintf(w, "%s%s [label=%s, class=%s];\n", indent, dotString(n.ID), dotString(strings.Join(label(n), "\n")), dotString(string(n.Kind)))
}

// dotString is a quoted ID. Graphviz knows one escape in those, of the quote;
// in labels a backslash begins others, so that ours are doubled.
func dotString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// title is the scenario's, or its name.
func title(p *plan.Plan) string {
	if p.Title != "" {
		return p.Title
	}
	return p.Scenario
}
