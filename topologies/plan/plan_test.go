package plan

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/internal/golden"
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

func TestGolden(t *testing.T) {
	for name, change := range map[string]func(*spec.Scenario){
		"base": func(*spec.Scenario) {},
		"routes_only": func(s *spec.Scenario) {
			for i := range s.Sites {
				s.Sites[i].OnRamps[0].ARR = false
			}
			s.Routes = []spec.Route{{Prefix: prefix("10.0.1.0/24"), Via: "shop.*.wan"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := overlapping()
			change(s)
			text, err := json.MarshalIndent(compile(t, s), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden.Equal(t, filepath.Join("testdata", name+".json"), append(text, '\n'))
		})
	}
}
