package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// MaxRules is the most rules that a stage may have. It bounds the memory of a
// compiled stage: one bit per rule for each prefix, port boundary and value.
const MaxRules = 4096

var (
	// ErrDuplicate is wrapped where two rules of a stage have one id.
	ErrDuplicate = errors.New("id is taken")
	// ErrPrecedence is wrapped where two rules of a stage claim one place.
	ErrPrecedence = errors.New("precedence is taken")
)

// RuleError is one mistake in one rule.
type RuleError struct {
	Stage Stage
	// Position of the rule in its list, from 0.
	Position int
	// ID of the rule; may be empty, which is itself a mistake.
	ID  string
	Err error
}

// Error implements error.
func (e *RuleError) Error() string {
	return fmt.Sprintf("%s rule %q (number %d): %v", e.Stage, e.ID, e.Position+1, e.Err)
}

// Unwrap is the mistake itself.
func (e *RuleError) Unwrap() error { return e.Err }

// actions of each stage.
func actions(stage Stage) [2]Action {
	if stage == Egress {
		return [...]Action{Default, Dedicated}
	}
	return [...]Action{Allow, Block}
}

// check returns every mistake in the rules of a stage.
func check(stage Stage, rules []Rule) []error {
	if len(rules) > MaxRules {
		return []error{fmt.Errorf("%s: want at most %d rules, got %d", stage, MaxRules, len(rules))}
	}
	var errs []error
	ids := make(map[string]int, len(rules))
	places := make(map[int]string, len(rules))
	for i := range rules {
		r := &rules[i]
		fail := func(err error) {
			errs = append(errs, &RuleError{Stage: stage, Position: i, ID: r.ID, Err: err})
		}
		if first, taken := ids[r.ID]; r.ID == "" {
			fail(errors.New("want an id, got none"))
		} else if taken {
			fail(fmt.Errorf("%w by rule number %d", ErrDuplicate, first+1))
		} else {
			ids[r.ID] = i
		}
		if first, taken := places[r.Precedence]; r.Precedence < 0 {
			fail(fmt.Errorf("want a precedence of 0 or more, got %d", r.Precedence))
		} else if taken {
			fail(fmt.Errorf("%w: rule %q has %d already", ErrPrecedence, first, r.Precedence))
		} else if r.Precedence > 0 {
			places[r.Precedence] = r.ID
		}
		if may := actions(stage); !slices.Contains(may[:], r.Action) {
			fail(fmt.Errorf("want action %q or %q, got %q", may[0], may[1], r.Action))
		}
		r.checkAddresses(fail)
		r.Match.check(fail)
	}
	return errs
}

// checkAddresses wants addresses where the action is dedicated, and only there.
func (r *Rule) checkAddresses(fail func(error)) {
	if r.Action != Dedicated {
		if r.IPv4.IsValid() || r.Fallback.IsValid() {
			fail(fmt.Errorf("want ipv4 and fallback with action %q alone, got action %q", Dedicated, r.Action))
		}
		return
	}
	if !r.IPv4.Is4() || r.IPv4.IsUnspecified() {
		fail(fmt.Errorf("want an IPv4 address to leave from, got %v", r.IPv4))
	}
	if r.Fallback.IsValid() && !r.Fallback.Is4() {
		fail(fmt.Errorf("want an IPv4 address or 0.0.0.0 as fallback, got %v", r.Fallback))
	}
	if r.Fallback.IsValid() && r.Fallback == r.IPv4 {
		fail(fmt.Errorf("want a fallback in another place, got %v again", r.Fallback))
	}
}

// check reports selectors that cannot be meant. A wrong value that was let
// through would never match, and make a block rule an open door.
func (m *Match) check(fail func(error)) {
	checkPrefixes("source", m.Source, fail)
	checkPrefixes("destination", m.Destination, fail)
	for _, p := range m.Port {
		if p == (PortRange{}) || p.First > p.Last {
			fail(fmt.Errorf("port: want a range from low to high, got %d to %d", p.First, p.Last))
		}
	}
	checkCountries("country", m.Country, fail)
	checkCountries("source_country", m.SourceCountry, fail)
	if slices.Contains(m.User, "") {
		fail(errors.New("user: want a name, got none"))
	}
	if slices.Contains(m.VNet, 0) {
		fail(errors.New("vnet: want a virtual network, got 0"))
	}
	kinds := []tunnel.Kind{tunnel.GRE, tunnel.Interconnect, tunnel.Device, tunnel.Connector, tunnel.IPsec}
	for _, k := range m.OnRamp {
		if !slices.Contains(kinds, k) {
			fail(fmt.Errorf("onramp: want one of %q, got %q", kinds, k))
		}
	}
}

func checkPrefixes(selector string, prefixes []netip.Prefix, fail func(error)) {
	for _, p := range prefixes {
		switch {
		case !p.IsValid():
			fail(fmt.Errorf("%s: want a prefix such as 10.0.1.0/24, got an invalid one", selector))
		case p.Addr().Is4In6():
			fail(fmt.Errorf("%s: want a plain IPv4 prefix, got the mapped %v", selector, p))
		}
	}
}

func checkCountries(selector string, codes []string, fail func(error)) {
	letter := func(c byte) bool { return 'A' <= c && c <= 'Z' }
	for _, c := range codes {
		if code := countryOf(c); !letter(code[0]) || !letter(code[1]) {
			fail(fmt.Errorf("%s: want two letters such as GB, got %q", selector, c))
		}
	}
}
