package policy

import (
	"encoding/json"
	"net/netip"
	"testing"
)

// FuzzCompile: whatever JSON is read either fails or compiles to what a linear
// scan says, for subjects at the edges of the rules' own values; and written
// and read again it decides the same.
func FuzzCompile(f *testing.F) {
	for _, p := range []Policies{
		{},
		{Firewall: []Rule{{ID: "a", Match: Match{Source: somePrefixes, Destination: somePrefixes}, Action: Block}, {ID: "b", Action: Allow}}},
		{Firewall: []Rule{{ID: "a", Precedence: 2, Match: Match{Port: []PortRange{{0, 65535}, Port(443), {65535, 65535}}, Protocol: someProtocols}, Action: Block}, {ID: "b", Precedence: 1, Match: Match{Port: []PortRange{Port(80)}}, Action: Allow}}},
		{Firewall: []Rule{{ID: "a", Match: Match{Country: someCountries, SourceCountry: someCountries, User: someUsers, VNet: someVNets, OnRamp: someKinds}, Action: Block}}},
		{Egress: []Rule{{ID: "a", Action: Dedicated, IPv4: netip.MustParseAddr("198.51.100.7"), Fallback: netip.IPv4Unspecified()}}},
		{Network: []Rule{{ID: "a", Action: "nothing"}, {Precedence: -1}}},
	} {
		text, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"firewall":[{"id":"a","action":"block","match":{"source":["","::ffff:1.2.3.4/128"],"protocol":null,"port":[{"first":9}]}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var p Policies
		if json.Unmarshal(text, &p) != nil {
			return
		}
		s, err := Compile(p)
		if (err == nil) != (s != nil) {
			t.Fatalf("got %v and error %v, want exactly one", s, err)
		}
		if err != nil {
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var q Policies
		if err := json.Unmarshal(again, &q); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		twin := mustCompile(t, q)
		for _, sub := range probes(p.Firewall) {
			agree(t, s.Firewall(&sub), p.Firewall, &sub)
			agree(t, twin.Firewall(&sub), p.Firewall, &sub)
		}
	})
}

// probes are subjects that each rule's values suggest: all of the first values
// together, and then one edge at a time.
func probes(rules []Rule) []Subject {
	all := []Subject{{}, laptop()}
	for i := range rules[:min(len(rules), 8)] {
		m := &rules[i].Match
		at := laptop()
		vary := func(change func(*Subject)) {
			sub := at
			change(&sub)
			all = append(all, sub)
		}
		for _, v := range m.Country {
			vary(func(s *Subject) { s.Country = v })
			at.Country = v
		}
		for _, v := range m.SourceCountry {
			at.SourceCountry = v
		}
		for _, v := range m.User {
			at.User = v
		}
		for _, v := range m.VNet {
			at.VNet = v
		}
		for _, v := range m.OnRamp {
			at.OnRamp = v
		}
		for _, p := range m.Protocol {
			vary(func(s *Subject) { s.Proto = p })
		}
		for _, p := range m.Source {
			for _, a := range edges(p) {
				vary(func(s *Subject) { s.Src = netip.AddrPortFrom(a, 1) })
			}
			at.Src = netip.AddrPortFrom(p.Addr(), 1)
		}
		for _, p := range m.Destination {
			for _, a := range edges(p) {
				vary(func(s *Subject) { s.Dst = netip.AddrPortFrom(a, 443) })
			}
			at.Dst = netip.AddrPortFrom(p.Addr(), at.Dst.Port())
		}
		for _, r := range m.Port {
			for _, port := range []uint16{r.First - 1, r.First, r.Last, r.Last + 1} {
				vary(func(s *Subject) { s.Dst = netip.AddrPortFrom(s.Dst.Addr(), port) })
			}
		}
		all = append(all, at)
	}
	return all
}
