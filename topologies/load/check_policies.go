package load

import (
	"fmt"
	"slices"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// stage is one of the three lists of policies.
type stage struct {
	word    string
	list    []spec.Policy
	actions []string
}

func stages(p *spec.Policies) []stage {
	return []stage{
		{"firewall", p.Firewall, []string{"allow", "block"}},
		{"egress", p.Egress, []string{"default", "dedicated"}},
		{"network", p.Network, []string{"allow", "block"}},
	}
}

// policies checks the policies of an account.
func (r *resolver) policies(a accountAt) {
	for _, s := range stages(&a.account.Policies) {
		ids := map[string]bool{}
		for i := range s.list {
			p := &s.list[i]
			path := fmt.Sprintf("%s.policies.%s[%d]", a.path, s.word, i)
			switch {
			case p.ID == "":
				r.missing(path, "id", "a policy without id")
			case ids[p.ID]:
				r.fail(path+".id", "", "two policies of one stage are called %q", p.ID)
			default:
				r.word(path+".id", "id", p.ID)
			}
			ids[p.ID] = true
			r.action(path, s, p)
			r.dedicatedRule(path, a.account, p)
			r.match(path+".match", &p.Match, a.account)
		}
	}
}

// action checks what a policy does, and from which address.
func (r *resolver) action(path string, s stage, p *spec.Policy) {
	switch {
	case p.Action == "":
		r.missing(path, "action", "a policy without action, want one of "+oneOf(s.actions))
	case !slices.Contains(s.actions, p.Action):
		r.fail(path+".action", suggest(p.Action, s.actions), "action %q in stage %s, want one of %s", clip(p.Action), s.word, oneOf(s.actions))
	}
	if p.Action == "dedicated" {
		if !p.IPv4.IsValid() {
			r.missing(path, "ipv4", "action dedicated without ipv4")
		}
		return
	}
	for _, given := range []struct {
		word string
		is   bool
	}{{"ipv4", p.IPv4.IsValid()}, {"fallback", p.Fallback.IsValid()}} {
		if given.is {
			r.fail(path+"."+given.word, "", "%s belongs to action dedicated", given.word)
		}
	}
}

// match checks a policy's selectors. A value that can never hold would make a
// block an open door.
func (r *resolver) match(path string, m *spec.Match, a *spec.Account) {
	at := func(word string, i int) string { return fmt.Sprintf("%s.%s[%d]", path, word, i) }
	for i, port := range m.Port {
		r.port(at("port", i), "port", port)
	}
	for i, p := range m.Protocol {
		if _, err := spec.ParseProtocol(p); err != nil {
			r.fail(at("protocol", i), suggest(p, spec.Protocols()), "%v", err)
		}
	}
	for i, c := range m.Country {
		r.twoLetters(at("country", i), c)
	}
	for i, c := range m.SourceCountry {
		r.twoLetters(at("source_country", i), c)
	}
	for i, u := range m.User {
		if u == "" {
			r.fail(at("user", i), "", "a user without name")
		}
	}
	for i, v := range m.VNet {
		if v == "" {
			r.fail(at("vnet", i), "", "a virtual network without name, want one such as %q", defaultVNet)
		}
		r.vnet(at("vnet", i), v, a)
	}
	hosts := each(r.s.Internet, func(o spec.InternetHost) string {
		return called(o.ID, o.Instance)
	})
	for i, h := range m.Host {
		if !slices.ContainsFunc(hosts, func(id string) bool { return spec.Matches(h, id) }) {
			r.fail(at("host", i), suggest(h, hosts), "no host of internet is called %q%s", clip(h), wantOne(hosts))
		}
	}
	for i, kind := range m.OnRamp {
		if kind == "" {
			r.fail(at("onramp", i), "", "a kind of on-ramp without name, want one such as gre")
		}
	}
}

// twoLetters is country where a code must be given.
func (r *resolver) twoLetters(path, code string) {
	if code == "" {
		r.fail(path, "", "country %q, want a code of two letters such as GB", code)
		return
	}
	r.country(path, code)
}
