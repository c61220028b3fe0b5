package html

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/homeward-lab/homeward/reports/fixture"
	"github.com/homeward-lab/homeward/reports/record"
)

// TestDecisions: sessions that were treated alike are one row, with the kind of
// their on-ramp and not only what the session log calls it.
func TestDecisions(t *testing.T) {
	rec := &record.Records{Run: record.Run{Variant: "base", Topology: record.Topology{Links: []record.TopologyLink{
		{ID: "shop.1.wan", Class: "tunnel", Kind: "gre"}, {ID: "plant.1.fibre", Class: "interconnect", Kind: "interconnect"}, {ID: "shop.1.router-transit.lhr", Class: "access"},
	}}}}
	for _, s := range []record.Session{
		{AccountID: "acme", OnRamp: "shop.1.wan", OnrampType: "MAGIC", VNet: "default", Offramp: "INTERNET"},
		{AccountID: "acme", OnRamp: "shop.1.wan", OnrampType: "MAGIC", VNet: "default", Offramp: "INTERNET"},
		{AccountID: "acme", OnRamp: "plant.1.fibre", OnrampType: "MAGIC", VNet: "default", Offramp: "INTERNET"},
		{AccountID: "acme", OnRamp: "shop.1.wan", VNet: "red", OffRamp: "db", Offramp: "CFD_TUNNEL", Rules: []string{"firewall known", "network rest"}},
		{AccountID: "acme", OnRamp: "shop.1.wan", VNet: "red", OffRamp: "laptop.7", Offramp: "WARP"},
		{AccountID: "acme", OnRamp: "shop.1.wan", VNet: "red", OffRamp: "laptop.8", Offramp: "WARP"},
		{AccountID: "acme", OnRamp: "elsewhere", OnrampType: "CF1_CLIENT", Offramp: "INTERNET", Rules: []string{"firewall no_mail"}, Refused: "policy_denied"},
	} {
		rec.Sessions = append(rec.Sessions, s)
	}
	want := []decision{
		{Run: "base", Account: "acme", Kind: "CF1_CLIENT", Rules: "firewall no_mail", Refused: "policy_denied", Sessions: 1},
		{Run: "base", Account: "acme", Kind: "gre", VNet: "default", OffRamp: "internet", Sessions: 2},
		{Run: "base", Account: "acme", Kind: "gre", VNet: "red", OffRamp: "db", Rules: "firewall known, network rest", Sessions: 1},
		{Run: "base", Account: "acme", Kind: "gre", VNet: "red", OffRamp: "laptop", Sessions: 2},
		{Run: "base", Account: "acme", Kind: "interconnect", VNet: "default", OffRamp: "internet", Sessions: 1},
	}
	if diff := cmp.Diff(want, decisions([]*record.Records{rec})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	text := page1(t, &record.Results{Runs: []*record.Records{rec}})
	for _, want := range []string{"Who asked, and what was decided", "firewall known, network rest", "policy_denied"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// TestNothingDecided: where all sessions are of one kind, there is nothing to tell.
func TestNothingDecided(t *testing.T) {
	if got := decisions(fixture.Results().Runs); got != nil {
		t.Errorf("got %v, want nothing", got)
	}
}

// TestConfigurations: runs are compared by what had to be written, on one scale.
func TestConfigurations(t *testing.T) {
	run := func(variant string, config map[string]int64) *record.Records {
		rec := &record.Records{Run: record.Run{Variant: variant, Metrics: record.Metrics{Config: config}}}
		for _, site := range []string{"a.1", "a.2"} {
			rec.Run.Topology.Nodes = append(rec.Run.Topology.Nodes, record.TopologyNode{ID: site + ".router", Kind: "branch", Site: site})
		}
		return rec
	}
	base, byHand := run("base", map[string]int64{"onramps": 2, "networks": 1, "routes": 0}), run("by_hand", map[string]int64{"onramps": 2, "networks": 4, "routes": 4})
	want := []written{
		{Run: "base", Total: 3, Sites: 2, Parts: []part{{"on-ramps", 2, 20, 0}, {"prefixes", 1, 10, 1}}},
		{Run: "by_hand", Total: 10, Sites: 2, Parts: []part{{"on-ramps", 2, 20, 0}, {"prefixes", 4, 40, 1}, {"routes", 4, 40, 2}}},
	}
	got := configurations([]*record.Records{base, byHand})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if each := got[1].Each(); each != 5 {
		t.Errorf("got %v for each site, want 5", each)
	}
	text := page1(t, &record.Results{Runs: []*record.Records{base, byHand}})
	for _, want := range []string{"What somebody has to write", `aria-label="2 on-ramps, 4 prefixes, 4 routes"`, "5.0 per site"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if got := configurations([]*record.Records{base, base}); got != nil {
		t.Errorf("equal runs: got %v, want nothing to compare", got)
	}
	if got := configurations(fixture.Results().Runs); got != nil {
		t.Errorf("runs that say nothing: got %v", got)
	}
}

// TestChosen: a table that cannot hold all flows holds those that went wrong.
func TestChosen(t *testing.T) {
	var flows []record.Flow
	for n := 1; n <= 10; n++ {
		f := record.Flow{N: n, Result: record.OK}
		if n == 5 || n == 9 {
			f.Result = record.Lost
		}
		flows = append(flows, f)
	}
	for n, want := range map[int][]int{0: nil, 1: {5}, 2: {5, 9}, 4: {1, 2, 5, 9}, 10: {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}} {
		var got []int
		for _, f := range chosen(flows, n) {
			got = append(got, f.N)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d of them (-want +got):\n%s", n, diff)
		}
	}
}
