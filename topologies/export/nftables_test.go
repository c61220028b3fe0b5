package export_test

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/export"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// table is what a node's part of the script gives to nft.
var table = regexp.MustCompile(`(?s)nft -f - <<'END'\n(.*?)\nEND\n`)

// The shell reads it, nft takes every table of it, and there is one part for each
// server and edge.
func TestNFTables(t *testing.T) {
	shell, nft := need.Tool(t, "sh"), need.Tool(t, "nft")
	need.Root(t)
	written := 0
	for _, p := range plans(t) {
		if export.NFTables(io.Discard, p) != nil {
			continue // TestNFTablesRefuses
		}
		written++
		text := write(t, "nftables", p)
		cmd := exec.Command(shell, "-n")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: sh: %v\n%s", p.Scenario, err, out)
		}
		tables := table.FindAllStringSubmatch(text, -1)
		nodes := 0
		for i := range p.Nodes {
			if k := p.Nodes[i].Kind; k == plan.KindServer || k == plan.KindEdge {
				nodes++
				if !strings.Contains(text, "\n"+p.Nodes[i].ID+")\n") {
					t.Errorf("%s: nothing for %s", p.Scenario, p.Nodes[i].ID)
				}
			}
		}
		if len(tables) != nodes {
			t.Errorf("%s: %d tables, want one for each of %d nodes", p.Scenario, len(tables), nodes)
		}
		for _, m := range tables {
			cmd := exec.Command(nft, "--check", "-f", "-")
			cmd.Stdin = strings.NewReader(m[1])
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: nft: %v\n%s\n%s", p.Scenario, err, out, m[1])
			}
		}
	}
	if written < 3 {
		t.Errorf("%d shipped scenarios can be written, want 3 or more", written)
	}
}

// What the kernel's parts cannot do is named, never left out.
func TestNFTablesRefuses(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(p *plan.Plan, c *hub.Config)
	}{
		{"no servers", func(p *plan.Plan, _ *hub.Config) { p.Servers = nil }},
		{"is not GRE", func(_ *plan.Plan, c *hub.Config) { c.OnRamps[1].Kind = "device" }},
		{"flow key", func(_ *plan.Plan, c *hub.Config) { c.Tenants[0].FlowKey = hub.FlowKeyTuple }},
		{"policies", func(_ *plan.Plan, c *hub.Config) { c.Tenants[0].Policies.Firewall = make([]policy.Rule, 1) }},
		{"groups", func(_ *plan.Plan, c *hub.Config) { c.Groups = make([]hub.Group, 1) }},
		{"faults", func(p *plan.Plan, _ *hub.Config) { p.Faults = make([]plan.Fault, 1) }},
	} {
		p := named(t, "overlapping_branches")
		c.change(p, &p.Servers[0].Config)
		var b bytes.Buffer
		err := export.NFTables(&b, p)
		if !errors.Is(err, export.ErrInexpressible) || !strings.Contains(err.Error(), c.why) || b.Len() > 0 {
			t.Errorf("want a refusal that says %q and nothing written, got %v and %d bytes", c.why, err, b.Len())
		}
	}
}

// named is a shipped scenario's base.
func named(t *testing.T, name string) *plan.Plan {
	t.Helper()
	for _, p := range plans(t) {
		if p.Scenario == name {
			return p
		}
	}
	t.Fatalf("no scenario %s", name)
	return nil
}
