package export_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/export"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// plans are what ships, and one whose title has every character that a language
// could stumble over.
func plans(t *testing.T) []*plan.Plan {
	t.Helper()
	shipped, err := topologies.List()
	if err != nil {
		t.Fatal(err)
	}
	var all []*plan.Plan
	for _, s := range shipped {
		doc, err := topologies.Load(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := doc.Resolve("base", nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := plan.CompileVariant(r, "base")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	odd := *all[0]
	odd.Title = "a \"b\" \\ <c> #d; `e` --> [f] {g} | end\n: - é\\N"
	return append(all, &odd)
}

func write(t *testing.T, format string, p *plan.Plan) string {
	t.Helper()
	var b bytes.Buffer
	if known, err := export.To(&b, format, p); !known || err != nil {
		t.Fatalf("%s: known %t, %v", format, known, err)
	}
	var again bytes.Buffer
	if _, err := export.To(&again, format, p); err != nil || again.String() != b.String() {
		t.Errorf("%s of %s differs from one time to the next", format, p.Scenario)
	}
	return b.String()
}

// Graphviz reads it, and finds every node and edge.
func TestDot(t *testing.T) {
	tool := need.Tool(t, "dot")
	for _, p := range plans(t) {
		if len(p.Nodes) > 150 {
			continue // the layout of hundreds takes long; the language is the same
		}
		cmd := exec.Command(tool, "-Tsvg", "-Kdot")
		cmd.Stdin = strings.NewReader(write(t, "dot", p))
		var out, said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &said
		if err := cmd.Run(); err != nil || said.Len() > 0 {
			t.Errorf("%s: %v\n%s", p.Scenario, err, &said)
			continue
		}
		// The svg's own classes: "node host", "edge lan".
		nodes := len(regexp.MustCompile(`class="node `).FindAllString(out.String(), -1))
		edges := len(regexp.MustCompile(`class="edge `).FindAllString(out.String(), -1))
		if tunnels := tunnelsOf(p); nodes != len(p.Nodes) || edges != len(p.Links)+tunnels {
			t.Errorf("%s: %d nodes and %d edges drawn, want %d and %d+%d", p.Scenario, nodes, edges, len(p.Nodes), len(p.Links), tunnels)
		}
	}
}

func tunnelsOf(p *plan.Plan) int {
	n := 0
	for i := range p.Branches {
		n += len(p.Branches[i].Tunnels)
	}
	return n
}

// Lines of the part of Mermaid's flowchart language that is used.
var (
	quoted  = `"(?:[^"<>#` + "`" + `]|#(?:quot|lt|gt|\d+);|<br/>)*"`
	mNode   = regexp.MustCompile(`^ *(n\d+)(\[` + quoted + `\]|\(` + quoted + `\))$`)
	mGroup  = regexp.MustCompile(`^  subgraph g\d+\[` + quoted + `\]$`)
	mLink   = regexp.MustCompile(`^  (n\d+) (?:---|-\.-\|` + quoted + `\|) (n\d+)$`)
	mHeader = regexp.MustCompile(`^---\ntitle: .*\n---\nflowchart LR\n`)
)

// Every line is one of the language's, nodes come before their links, subgraphs
// are closed.
func TestMermaid(t *testing.T) {
	for _, p := range plans(t) {
		text := write(t, "mermaid", p)
		head := mHeader.FindString(text)
		if head == "" {
			t.Fatalf("%s: no header:\n%.200s", p.Scenario, text)
		}
		var front struct{ Title string }
		if err := yaml.Unmarshal([]byte(strings.TrimSuffix(strings.TrimPrefix(head, "---\n"), "---\nflowchart LR\n")), &front); err != nil || front.Title == "" {
			t.Errorf("%s: title %q, %v", p.Scenario, front.Title, err)
		}
		known, links, open := map[string]bool{}, 0, 0
		for line := range strings.Lines(text[len(head):]) {
			line = strings.TrimSuffix(line, "\n")
			if m := mNode.FindStringSubmatch(line); m != nil {
				known[m[1]] = true
			} else if mGroup.MatchString(line) {
				open++
			} else if line == "  end" {
				open--
			} else if m := mLink.FindStringSubmatch(line); m != nil && known[m[1]] && known[m[2]] {
				links++
			} else {
				t.Errorf("%s: not of the language, or of nodes unknown: %s", p.Scenario, line)
			}
		}
		if len(known) != len(p.Nodes) || links != len(p.Links)+tunnelsOf(p) || open != 0 {
			t.Errorf("%s: %d nodes, %d links, %d open subgraphs", p.Scenario, len(known), links, open)
		}
	}
}

// mermaidBundle is where `make tools` puts Mermaid.
const mermaidBundle = "/usr/local/share/homeward-judges/mermaid-11.12.2.min.js"

// Mermaid's own parser reads all of it, and finds every node, group and edge, and
// the words as they were.
func TestMermaidReadsIt(t *testing.T) {
	node := need.Tool(t, "node")
	if _, err := os.Stat(mermaidBundle); err != nil {
		need.Proven(t, "tools", fmt.Errorf("mermaid (make tools): %w", err))
	}
	dir, args := t.TempDir(), []string{"testdata/mermaid.mjs", mermaidBundle}
	all := plans(t)
	for i, p := range all {
		args = append(args, filepath.Join(dir, fmt.Sprintf("%d.mmd", i)))
		if err := os.WriteFile(args[len(args)-1], []byte(write(t, "mermaid", p)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	bad := filepath.Join(dir, "bad.mmd") // that the judge can say no
	if err := os.WriteFile(bad, []byte("flowchart LR\n  a --> end\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, append(args, bad)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	type found struct {
		Error, Type    string
		Edges          int
		Groups, Labels []string
	}
	d := json.NewDecoder(bytes.NewReader(out))
	for _, p := range all {
		var f found
		if err := d.Decode(&f); err != nil {
			t.Fatal(err)
		}
		if f.Error != "" || f.Type != "flowchart-v2" || len(f.Labels) != len(p.Nodes) || f.Edges != len(p.Links)+tunnelsOf(p) {
			t.Errorf("%s: %s %q, %d nodes and %d edges, want %d and %d", p.Scenario, f.Type, f.Error, len(f.Labels), f.Edges, len(p.Nodes), len(p.Links)+tunnelsOf(p))
		}
		if len(f.Groups) == 0 || slices.ContainsFunc(f.Labels, func(l string) bool { return l == "" }) {
			t.Errorf("%s: groups %q, labels %q", p.Scenario, f.Groups, f.Labels)
		}
	}
	var f found
	if err := d.Decode(&f); err != nil || f.Error == "" {
		t.Errorf("a node called end: %+v, %v, want an error of the parser", f, err)
	}
}

// It reads back as what containerlab's schema knows: names, kinds, links of two
// endpoints on nodes that exist, each interface once.
func TestContainerlab(t *testing.T) {
	name := regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)
	for _, p := range plans(t) {
		var file struct {
			Name     string
			Topology struct {
				Nodes map[string]struct {
					Kind, Image string
					NetworkMode string `yaml:"network-mode"`
					Labels      map[string]string
					Exec        []string
				}
				Links []struct{ Endpoints []string }
			}
		}
		text := write(t, "containerlab", p)
		d := yaml.NewDecoder(strings.NewReader(text))
		d.KnownFields(true)
		if err := d.Decode(&file); err != nil {
			t.Fatalf("%s: %v\n%s", p.Scenario, err, text)
		}
		if !name.MatchString(file.Name) || len(file.Topology.Nodes) != len(p.Nodes) || len(file.Topology.Links) != len(p.Links) {
			t.Errorf("%s: %d nodes, %d links", file.Name, len(file.Topology.Nodes), len(file.Topology.Links))
		}
		used := map[string]bool{}
		for _, l := range file.Topology.Links {
			if len(l.Endpoints) != 2 {
				t.Errorf("link %v, want two endpoints", l.Endpoints)
			}
			for _, e := range l.Endpoints {
				node, face, ok := strings.Cut(e, ":")
				n, exists := file.Topology.Nodes[node]
				if !ok || !exists || face == "" || len(face) > 15 || used[e] {
					t.Errorf("endpoint %q of %s", e, p.Scenario)
				}
				used[e] = true
				if !slices.ContainsFunc(n.Exec, func(c string) bool { return strings.HasPrefix(c, "ip link set dev "+face+" mtu ") }) {
					t.Errorf("nobody brings up %s", e)
				}
			}
		}
		for id, n := range file.Topology.Nodes {
			if !name.MatchString(id) || n.Kind != "linux" || n.Image == "" || n.NetworkMode != "none" {
				t.Errorf("node %q: %+v", id, n)
			}
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	if known, err := export.To(&bytes.Buffer{}, "visio", &plan.Plan{}); known || err != nil {
		t.Errorf("visio: %t, %v", known, err)
	}
	if got := export.Formats(); !slices.Equal(got, []string{"containerlab", "dot", "mermaid", "nftables"}) {
		t.Errorf("formats %v", got)
	}
}
