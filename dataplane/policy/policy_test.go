package policy

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"pgregory.net/rapid"
)

func mustCompile(tb testing.TB, p Policies) *Set {
	tb.Helper()
	s, err := Compile(p)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// laptop asks for HTTPS at an origin in Britain.
func laptop() Subject {
	return Subject{
		Src: netip.MustParseAddrPort("10.1.2.3:50000"), Dst: netip.MustParseAddrPort("203.0.113.9:443"), Proto: 6,
		Country: "GB", SourceCountry: "MX", User: "ada", VNet: 2, OnRamp: tunnel.Device,
	}
}

// TestSelectors: each selector alone holds for its values and for no others.
func TestSelectors(t *testing.T) {
	prefixes := func(s ...string) []netip.Prefix { return parse(netip.MustParsePrefix, s...) }
	same := func(*Subject) {}
	for _, tc := range []struct {
		name  string
		match Match
		from  func(*Subject)
		want  bool
	}{
		{"nothing asked", Match{}, same, true},
		{"nothing asked, nothing known", Match{}, func(s *Subject) { *s = Subject{} }, true},
		{"source", Match{Source: prefixes("192.0.2.0/24", "10.1.0.0/16")}, same, true},
		{"other source", Match{Source: prefixes("10.2.0.0/16")}, same, false},
		{"source mapped into IPv6", Match{Source: prefixes("10.1.0.0/16")}, func(s *Subject) { s.Src = netip.MustParseAddrPort("[::ffff:10.1.2.3]:1") }, true},
		{"all of IPv6 is no IPv4", Match{Source: prefixes("::/0")}, same, false},
		{"no source known", Match{Source: prefixes("0.0.0.0/0", "::/0")}, func(s *Subject) { s.Src = netip.AddrPort{} }, false},
		{"bits past the length", Match{Destination: prefixes("203.0.113.77/24")}, same, true},
		{"destination", Match{Destination: prefixes("203.0.113.9/32")}, same, true},
		{"other destination", Match{Destination: prefixes("203.0.113.8/32")}, same, false},
		{"port", Match{Port: []PortRange{Port(80), Port(443)}}, same, true},
		{"first of a range", Match{Port: []PortRange{{443, 500}}}, same, true},
		{"last of a range", Match{Port: []PortRange{{1, 443}}}, same, true},
		{"past a range", Match{Port: []PortRange{{1, 442}, {444, 65535}}}, same, false},
		{"overlapping ranges", Match{Port: []PortRange{{1, 442}, {400, 450}, {410, 420}}}, same, true},
		{"the source port is not asked", Match{Port: []PortRange{Port(50000)}}, same, false},
		{"highest port", Match{Port: []PortRange{{1, 65535}}}, func(s *Subject) { s.Dst = netip.MustParseAddrPort("203.0.113.9:65535") }, true},
		{"UDP has ports", Match{Port: []PortRange{Port(443)}}, func(s *Subject) { s.Proto = 17 }, true},
		{"ICMP has no ports", Match{Port: []PortRange{{0, 65535}}}, func(s *Subject) { s.Proto = 1 }, false},
		{"protocol", Match{Protocol: Protocols{17, 6}}, same, true},
		{"other protocol", Match{Protocol: Protocols{17}}, same, false},
		{"country", Match{Country: []string{"US", "GB"}}, same, true},
		{"country in small letters", Match{Country: []string{"gb"}}, same, true},
		{"the source's country is another thing", Match{Country: []string{"MX"}}, same, false},
		{"no country known", Match{Country: []string{"GB"}}, func(s *Subject) { s.Country = "" }, false},
		{"source country", Match{SourceCountry: []string{"MX"}}, same, true},
		{"other source country", Match{SourceCountry: []string{"GB"}}, same, false},
		{"user", Match{User: []string{"ada", "grace"}}, same, true},
		{"user to the letter", Match{User: []string{"Ada"}}, same, false},
		{"no user known", Match{User: []string{"ada"}}, func(s *Subject) { s.User = "" }, false},
		{"vnet", Match{VNet: []ident.VNet{2}}, same, true},
		{"other vnet", Match{VNet: []ident.VNet{1, 3}}, same, false},
		{"on-ramp", Match{OnRamp: []tunnel.Kind{tunnel.Device}}, same, true},
		{"other on-ramp", Match{OnRamp: []tunnel.Kind{tunnel.GRE}}, same, false},
		{"two that hold", Match{VNet: []ident.VNet{2}, User: []string{"ada"}}, same, true},
		{"one of two fails", Match{VNet: []ident.VNet{2}, User: []string{"eve"}}, same, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := mustCompile(t, Policies{Firewall: []Rule{{ID: "r", Match: tc.match, Action: Block}}})
			sub := laptop()
			tc.from(&sub)
			d := s.Firewall(&sub)
			if got := d.Action == Block; got != tc.want || (d.Rule != nil) != tc.want {
				t.Errorf("%+v decided %v by %v, want a match: %v", sub, d.Action, d.Rule, tc.want)
			}
			if got := holds(&tc.match, &sub); got != tc.want {
				t.Errorf("the oracle says %v, want %v", got, tc.want)
			}
		})
	}
}

// TestOrder: first match wins (GW-3, EG-3), by precedence and then position.
func TestOrder(t *testing.T) {
	https := Match{Port: []PortRange{Port(443)}}
	for _, tc := range []struct {
		name  string
		rules []Rule
		want  string
	}{
		{"allow above block", []Rule{{ID: "a", Match: https, Action: Allow}, {ID: "b", Match: https, Action: Block}}, "a"},
		{"block above allow", []Rule{{ID: "b", Match: https, Action: Block}, {ID: "a", Match: https, Action: Allow}}, "b"},
		{"precedence before position", []Rule{{ID: "a", Precedence: 1001, Action: Allow}, {ID: "b", Precedence: 1000, Action: Block}}, "b"},
		{"no precedence comes first", []Rule{{ID: "a", Precedence: 1, Action: Allow}, {ID: "b", Action: Block}}, "b"},
		{"the first does not match", []Rule{{ID: "a", Match: Match{User: []string{"eve"}}, Action: Allow}, {ID: "b", Action: Block}}, "b"},
		{"rules without selectors", []Rule{{ID: "a", Action: Allow}, {ID: "b", Action: Block}}, "a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sub := laptop()
			d := mustCompile(t, Policies{Network: tc.rules}).Network(&sub)
			if d.Rule == nil || d.Rule.ID != tc.want || d.Action != d.Rule.Action {
				t.Errorf("got %v by %+v, want rule %q", d.Action, d.Rule, tc.want)
			}
		})
	}
}

// TestNoMatch: firewall and network let pass, egress has no rule; so do the
// empty set and nil. The stages do not see each other's rules.
func TestNoMatch(t *testing.T) {
	eve := Match{User: []string{"eve"}}
	sets := map[string]*Set{
		"nil":   nil,
		"empty": mustCompile(t, Policies{}),
		"others": mustCompile(t, Policies{
			Firewall: []Rule{{ID: "f", Match: eve, Action: Block}},
			Egress:   []Rule{{ID: "e", Match: eve, Action: Default}},
			Network:  []Rule{{ID: "n", Match: eve, Action: Block}},
		}),
	}
	for name, s := range sets {
		sub := laptop()
		for stage, want := range map[Stage]Action{Firewall: Allow, Egress: None, Network: Allow} {
			if got := s.ask(stage, &sub); got != (Decision{Action: want}) {
				t.Errorf("%s, %s: got %+v, want %q without a rule", name, stage, got, want)
			}
		}
		if name != "others" {
			continue
		}
		sub.User = "eve"
		for stage, want := range map[Stage]string{Firewall: "f", Egress: "e", Network: "n"} {
			if got := s.ask(stage, &sub).Rule; got == nil || got.ID != want {
				t.Errorf("%s, %s: got rule %+v, want %q", name, stage, got, want)
			}
		}
	}
}

// ask is the method of a stage.
func (s *Set) ask(stage Stage, sub *Subject) Decision {
	switch stage {
	case Firewall:
		return s.Firewall(sub)
	case Egress:
		return s.Egress(sub)
	}
	return s.Network(sub)
}

// TestDedicated: an egress rule brings its addresses along.
func TestDedicated(t *testing.T) {
	want := Rule{ID: "tokyo", Name: "Leave from Tokyo", Action: Dedicated, IPv4: netip.MustParseAddr("198.51.100.7"), Fallback: netip.IPv4Unspecified()}
	s := mustCompile(t, Policies{Egress: []Rule{want}})
	sub := laptop()
	d := s.Egress(&sub)
	if d.Action != Dedicated || d.Rule == nil || d.Rule.IPv4 != want.IPv4 || d.Rule.Fallback != want.Fallback {
		t.Errorf("got %v by %+v, want %+v", d.Action, d.Rule, want)
	}
	if got := d.Rule.DisplayName(); got != want.Name {
		t.Errorf("the rule's name is %q, want %q", got, want.Name)
	}
	if got := (&Rule{ID: "tokyo"}).DisplayName() + (*Rule)(nil).DisplayName(); got != "tokyo" {
		t.Errorf("without a name and without a rule: got %q, want the id and nothing", got)
	}
}

// TestSetIsItsOwn: changing what was compiled changes no decision.
func TestSetIsItsOwn(t *testing.T) {
	p := Policies{Firewall: []Rule{{ID: "r", Match: Match{User: []string{"ada"}}, Action: Block}}}
	s := mustCompile(t, p)
	p.Firewall[0].Match.User[0], p.Firewall[0].ID, p.Firewall[0].Action = "eve", "x", Allow
	sub := laptop()
	if d := s.Firewall(&sub); d.Action != Block || d.Rule.ID != "r" || d.Rule.Match.User[0] != "ada" {
		t.Errorf("got %v by %+v, want the rule as it was compiled", d.Action, d.Rule)
	}
}

// TestAgainstScan: the compiled stage and a linear scan agree, also beyond one
// and two words of rules.
func TestAgainstScan(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// A few matches, repeated under restrictions, fill long stages without
		// making every question the first rule's.
		pool := rapid.SliceOfN(match(), 1, 40).Draw(rt, "matches")
		n := rapid.SampledFrom([]int{1, 2, 10, 40, 63, 64, 65, 128, 129, 200}).Draw(rt, "rules")
		rules := make([]Rule, n)
		for i := range rules {
			rules[i] = Rule{ID: fmt.Sprint(i), Action: Block, Match: pool[i%len(pool)]}
			if i >= len(pool) {
				rules[i].Match.VNet = []ident.VNet{ident.VNet(i)}
			}
		}
		if rapid.Bool().Draw(rt, "precedence") {
			for i, at := range rapid.Permutation(indices(n)).Draw(rt, "order") {
				rules[i].Precedence = at // one of them has none
			}
		}
		s := mustCompile(t, Policies{Firewall: rules})
		for range 40 {
			sub := subject().Draw(rt, "subject")
			if rapid.Bool().Draw(rt, "far") {
				sub.VNet = ident.VNet(rapid.IntRange(0, n).Draw(rt, "vnet"))
			}
			agree(rt, s.Firewall(&sub), rules, &sub)
		}
	})
}

func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// agree compares a firewall decision with the linear scan's.
func agree(t interface{ Fatalf(string, ...any) }, got Decision, rules []Rule, sub *Subject) {
	want := scan(rules, sub)
	switch {
	case want == nil && got != Decision{Action: Allow}:
		t.Fatalf("%+v: got %q by %+v, want no rule", *sub, got.Action, got.Rule)
	case want != nil && (got.Rule == nil || got.Rule.ID != want.ID || got.Action != want.Action):
		t.Fatalf("%+v: got %q by %+v, want rule %q", *sub, got.Action, got.Rule, want.ID)
	}
}
