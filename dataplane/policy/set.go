package policy

import (
	"cmp"
	"errors"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// Set is the compiled policies of one tenant. It never changes and may be read
// by many at once; other policies are another Set. nil allows everything.
type Set struct {
	firewall, egress, network stage
}

// Compile prepares policies for matching and keeps no part of them. It refuses
// what cannot be meant: all mistakes joined in one error, each a *RuleError but
// for a stage that is too long.
func Compile(p Policies) (*Set, error) {
	if errs := slices.Concat(check(Firewall, p.Firewall), check(Egress, p.Egress), check(Network, p.Network)); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &Set{firewall: newStage(p.Firewall), egress: newStage(p.Egress), network: newStage(p.Network)}, nil
}

// Firewall says whether a packet may come in at all; without a match it may.
func (s *Set) Firewall(sub *Subject) Decision {
	if s == nil {
		return Decision{Action: Allow}
	}
	return s.firewall.decide(sub, Allow)
}

// Egress says how a flow leaves; without a match the action is None.
func (s *Set) Egress(sub *Subject) Decision {
	if s == nil {
		return Decision{Action: None}
	}
	return s.egress.decide(sub, None)
}

// Network says whether a flow may be set up; without a match it may
// (SEMANTICS 7.2).
func (s *Set) Network(sub *Subject) Decision {
	if s == nil {
		return Decision{Action: Allow}
	}
	return s.network.decide(sub, Allow)
}

// selectors is how many there are in Match.
const selectors = 9

// stage is one list of rules, compiled: for each selector that some rule uses,
// a map from a value to the rules that accept it. The first rule in all of the
// rows is the answer, so the cost is one look-up per selector in use and one
// word per 64 rules, however many prefixes and ports they name.
type stage struct {
	// rules in the order in which they are asked; bit i of a row is rules[i].
	rules         []Rule
	source        *prefixes
	destination   *prefixes
	port          *ports
	protocol      *values[uint8]
	country       *values[country]
	sourceCountry *values[country]
	user          *values[string]
	vnet          *values[ident.VNet]
	onramp        *values[tunnel.Kind]
}

// newStage compiles rules that check has found good.
func newStage(list []Rule) stage {
	rules := make([]Rule, len(list))
	for i := range list {
		rules[i] = list[i].clone()
	}
	slices.SortStableFunc(rules, func(a, b Rule) int { return cmp.Compare(a.Precedence, b.Precedence) })
	return stage{
		rules:         rules,
		source:        newPrefixes(rules, func(m *Match) []netip.Prefix { return m.Source }),
		destination:   newPrefixes(rules, func(m *Match) []netip.Prefix { return m.Destination }),
		port:          newPorts(rules),
		protocol:      newValues(rules, func(m *Match) []uint8 { return m.Protocol }),
		country:       newValues(rules, func(m *Match) []country { return countries(m.Country) }),
		sourceCountry: newValues(rules, func(m *Match) []country { return countries(m.SourceCountry) }),
		user:          newValues(rules, func(m *Match) []string { return m.User }),
		vnet:          newValues(rules, func(m *Match) []ident.VNet { return m.VNet }),
		onramp:        newValues(rules, func(m *Match) []tunnel.Kind { return m.OnRamp }),
	}
}

// clone shares nothing with r.
func (r *Rule) clone() Rule {
	c := *r
	c.Match = Match{
		Source: slices.Clone(r.Match.Source), Destination: slices.Clone(r.Match.Destination),
		Port: slices.Clone(r.Match.Port), Protocol: slices.Clone(r.Match.Protocol),
		Country: slices.Clone(r.Match.Country), SourceCountry: slices.Clone(r.Match.SourceCountry),
		User: slices.Clone(r.Match.User), VNet: slices.Clone(r.Match.VNet), OnRamp: slices.Clone(r.Match.OnRamp),
	}
	return c
}

func (s *stage) decide(sub *Subject, otherwise Action) Decision {
	if i := s.first(sub); i >= 0 {
		return Decision{Action: s.rules[i].Action, Rule: &s.rules[i]}
	}
	return Decision{Action: otherwise}
}

// first is the first rule whose every selector holds, or -1.
func (s *stage) first(sub *Subject) int {
	if len(s.rules) == 0 {
		return -1
	}
	var all [selectors]row
	rows := s.accepting(sub, all[:0])
	if len(rows) == 0 { // no rule uses any selector
		return 0
	}
	for i, word := range rows[0] {
		for _, r := range rows[1:] {
			word &= r[i]
		}
		if word != 0 {
			return i*64 + bits.TrailingZeros64(word)
		}
	}
	return -1
}

// accepting appends, for each selector in use, the rules that accept sub.
func (s *stage) accepting(sub *Subject, rows []row) []row {
	if s.source != nil {
		rows = append(rows, s.source.row(sub.Src.Addr()))
	}
	if s.destination != nil {
		rows = append(rows, s.destination.row(sub.Dst.Addr()))
	}
	if s.port != nil {
		rows = append(rows, s.port.row(sub.Proto, sub.Dst.Port()))
	}
	if s.protocol != nil {
		rows = append(rows, s.protocol.row(sub.Proto))
	}
	if s.country != nil {
		rows = append(rows, s.country.row(countryOf(sub.Country)))
	}
	if s.sourceCountry != nil {
		rows = append(rows, s.sourceCountry.row(countryOf(sub.SourceCountry)))
	}
	if s.user != nil {
		rows = append(rows, s.user.row(sub.User))
	}
	if s.vnet != nil {
		rows = append(rows, s.vnet.row(sub.VNet))
	}
	if s.onramp != nil {
		rows = append(rows, s.onramp.row(sub.OnRamp))
	}
	return rows
}

func hasPorts(proto uint8) bool { return proto == pkt.ProtoTCP || proto == pkt.ProtoUDP }
