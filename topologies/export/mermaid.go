package export

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// Mermaid writes a flowchart (https://mermaid.js.org/syntax/flowchart.html),
// which GitHub and GitLab draw: sites and datacenters are subgraphs, tunnels are
// dotted. Nodes have numbers for ids, because "end" and others are words of the
// language.
func Mermaid(out io.Writer, p *plan.Plan) error {
	w := bufio.NewWriter(out)
	ids := map[string]string{}
	for i := range p.Nodes {
		ids[p.Nodes[i].ID] = fmt.Sprintf("n%d", i)
	}
	fmt.Fprintf(w, "---\ntitle: %s\n---\nflowchart LR\n", yamlString(title(p)))
	for i, g := range groups(p) {
		if g.alone() {
			mermaidNode(w, "  ", ids, g.nodes[0])
			continue
		}
		fmt.Fprintf(w, "  subgraph g%d[%s]\n", i, mermaidString(g.name))
		for _, n := range g.nodes {
			mermaidNode(w, "    ", ids, n)
		}
		fmt.Fprint(w, "  end\n")
	}
	for i := range p.Links {
		l := &p.Links[i]
		fmt.Fprintf(w, "  %s --- %s\n", ids[l.A.Node], ids[l.B.Node])
	}
	for _, o := range onRamps(p) {
		fmt.Fprintf(w, "  %s -.-|%s| %s\n", ids[o.from], mermaidString(o.name), ids[o.to])
	}
	return w.Flush()
}

func mermaidNode(w io.Writer, indent string, ids map[string]string, n *plan.Node) {
	lines := label(n)
	for i := range lines {
		lines[i] = mermaidEscape(lines[i])
	}
	open, shut := "[", "]"
	if n.Kind == plan.KindHost || n.Kind == plan.KindOrigin || n.Kind == plan.KindDevice {
		open, shut = "(", ")"
	}
	fmt.Fprintf(w, "%s%s%s\"%s\"%s\n", indent, ids[n.ID], open, strings.Join(lines, "<br/>"), shut)
}

func mermaidString(s string) string { return `"` + mermaidEscape(s) + `"` }

// mermaidEscape writes what quoted text cannot hold as entity codes.
func mermaidEscape(s string) string {
	return strings.NewReplacer("#", "#35;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "\n", " ", "`", "#96;").Replace(s)
}
