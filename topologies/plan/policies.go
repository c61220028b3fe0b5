package plan

import (
	"errors"

	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// policies are an account's policies for the servers, by the ids that the file
// gives them, so that a record names the same rule in every run.
func (b *builder) policies(a account) policy.Policies {
	all := policy.Policies{
		Firewall: b.rules(a, policy.Firewall, a.Policies.Firewall),
		Egress:   b.rules(a, policy.Egress, a.Policies.Egress),
		Network:  b.rules(a, policy.Network, a.Policies.Network),
	}
	_, err := policy.Compile(all)
	for _, e := range unjoin(err) {
		path := a.path + ".policies"
		var rule *policy.RuleError
		if errors.As(e, &rule) {
			path, e = at(path+"."+string(rule.Stage), rule.Position), rule.Err
		}
		b.fail(path, "%v", e)
	}
	return all
}

// unjoin is the errors that errors.Join joined.
func unjoin(err error) []error {
	switch joined, ok := err.(interface{ Unwrap() []error }); {
	case err == nil:
		return nil
	case ok:
		return joined.Unwrap()
	}
	return []error{err}
}

// rules are those of one stage, in file order: the first that matches decides.
func (b *builder) rules(a account, stage policy.Stage, list []spec.Policy) []policy.Rule {
	var all []policy.Rule
	for i := range list {
		p := &list[i]
		all = append(all, policy.Rule{
			ID: p.ID, Name: p.Name, Action: policy.Action(p.Action), IPv4: p.IPv4, Fallback: p.Fallback,
			Match: b.match(a, at(a.path+".policies."+string(stage), i)+".match", &p.Match),
		})
	}
	return all
}

// match is a rule's selectors, words turned into numbers.
func (b *builder) match(a account, path string, m *spec.Match) policy.Match {
	out := policy.Match{
		Source: m.Source, Destination: b.hostAddresses(path, m),
		Country: m.Country, SourceCountry: m.SourceCountry, User: m.User,
	}
	for i, port := range m.Port {
		if port < 1 || port > 65535 {
			b.fail(at(path+".port", i), "port %d: want 1 to 65535", port)
			continue
		}
		out.Port = append(out.Port, policy.Port(uint16(port)))
	}
	for i, word := range m.Protocol {
		n, err := spec.ParseProtocol(word)
		if err != nil {
			b.fail(at(path+".protocol", i), "%v", err)
		}
		out.Protocol = append(out.Protocol, n)
	}
	for i, name := range m.VNet {
		v, ok := a.vnet(name)
		if !ok {
			b.fail(at(path+".vnet", i), "no virtual network is called %q", name)
			continue
		}
		out.VNet = append(out.VNet, v.ID)
	}
	for _, kind := range m.OnRamp {
		out.OnRamp = append(out.OnRamp, tunnel.Kind(kind))
	}
	return out
}
