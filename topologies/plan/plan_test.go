package plan

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/internal/golden"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// overlapping is the scenario that names the project, resolved: three branches
// with one prefix, one host address, one source port.
func overlapping() *spec.Scenario {
	s := &spec.Scenario{
		Version: 1, Name: "overlapping_branches", Seed: 7,
		Datacenters: []spec.Datacenter{
			{ID: "lhr", Servers: 2, Egress: []spec.Egress{{Prefix: prefix("198.51.100.0/30")}}},
			{ID: "cdg", Servers: 2, Egress: []spec.Egress{{Prefix: prefix("198.51.100.4/30")}}},
		},
		Internet: []spec.InternetHost{{ID: "web", Address: addr("203.0.113.9"), Near: spec.Near{{Code: "lhr", Share: 1}}, Serve: []string{"http", "echo"}}},
		Traffic: []spec.Traffic{
			{ID: "same", From: "shop.*.till", To: "web", TCP: 443, SourcePort: 40000, Request: 1024, Response: 256 * unit.KiB},
			{ID: "ask", From: "shop.*.till", To: "web", UDP: 53, Flows: 2, Rate: 10},
			{ID: "ping", From: "shop.*.till", To: "web", ICMP: 7},
		},
		Checks: []spec.Check{{ID: "home", Expect: "same.misdelivered == 0"}},
	}
	for i, near := range []string{"lhr", "lhr", "cdg"} {
		s.Sites = append(s.Sites, spec.Site{
			ID: "shop", Instance: i + 1, Near: spec.Near{{Code: near, Share: 1}}, Lan: prefix("10.0.1.0/24"),
			Hosts:   map[string]spec.Host{"till": {Address: addr("10.0.1.5")}},
			OnRamps: []spec.OnRamp{{ID: "wan", Type: "gre", ARR: true}},
		})
	}
	return s
}

// compile fails the test if the scenario cannot be planned.
func compile(t testing.TB, s *spec.Scenario) *Plan {
	t.Helper()
	p, err := Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The whole plan of every variant of a file. Of the servers' configurations the
// first stands for all: TestPlanHoldsTogether sees to it that they are equal.
func TestGolden(t *testing.T) {
	doc, err := load.File(filepath.Join("testdata", "overlapping_branches.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range doc.Variants() {
		t.Run(name, func(t *testing.T) { wantGolden(t, doc, name, name+".json") })
	}
}

// The whole plan of a lab with every kind of on-ramp.
func TestGoldenConnected(t *testing.T) {
	doc, err := load.File(filepath.Join("testdata", "connected.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, doc, spec.Base, "connected.json")
}

// The whole plan of a small lab with IPv6.
func TestGoldenSix(t *testing.T) {
	doc, err := load.File(filepath.Join("testdata", "six.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, doc, spec.Base, "six.json")
}

// wantGolden compares the plan of a variant with a file.
func wantGolden(t *testing.T, doc *load.Doc, variant, file string) {
	t.Helper()
	s, err := doc.Resolve(variant, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := CompileVariant(s, variant)
	if err != nil {
		t.Fatal(err)
	}
	checkConfigs(t, p)
	for i := range p.Servers[1:] {
		p.Servers[i+1].Config = hub.Config{}
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	// Numbers of a list on one line: an address has 32 slices.
	text = regexp.MustCompile(`(\d,|\[)\n +(\d)`).ReplaceAll(text, []byte("$1 $2"))
	golden.Equal(t, filepath.Join("testdata", file), append(text, '\n'))
}

// A mistake that only planning sees still has its line in the file.
func TestMistakeHasItsLine(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "overlapping_branches.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := load.Bytes("f.yaml", bytes.Replace(text, []byte("flows: 2,"), []byte("flows: 900000,"), 1))
	if err != nil {
		t.Fatal(err)
	}
	s, err := doc.Resolve(spec.Base, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Compile(s)
	all := Errors(err)
	if len(all) == 0 {
		t.Fatal("planned 2,700,003 flows")
	}
	want := bytes.Count(text[:bytes.Index(text, []byte("flows: 2,"))], []byte("\n")) + 1
	if m := doc.MistakeIn(s, all[0].Path, all[0].Msg); m.Line != want {
		t.Errorf("mistake at line %d, want %d: %v", m.Line, want, m)
	}
}
