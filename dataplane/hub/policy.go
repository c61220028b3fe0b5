package hub

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Rule names a policy rule that matched a session; the zero value is none.
type Rule struct {
	ID string `json:"id"`
	// Name is for people: the id again if the rule has no other.
	Name string `json:"name"`
}

// Rules are the rules that matched a session, by stage, whether they allowed it
// or not. A stage that was not asked, because one before it blocked, has none.
type Rules struct {
	Firewall Rule `json:"firewall,omitzero"`
	Egress   Rule `json:"egress,omitzero"`
	Network  Rule `json:"network,omitzero"`
}

// policies are those of one tenant, compiled.
type policies struct {
	set *policy.Set
	// named are the combinations of rules that sessions of this configuration
	// name, so that naming one again takes no memory. A session keeps its own
	// when the configuration changes.
	named map[matched]*Rules
}

// matched is the rule of each stage, nil for none.
type matched struct{ firewall, egress, network *policy.Rule }

// newPolicies compiles a tenant's policies; nil if it has none.
func newPolicies(p policy.Policies) (*policies, error) {
	if len(p.Firewall)+len(p.Egress)+len(p.Network) == 0 {
		return nil, nil
	}
	set, err := policy.Compile(p)
	if err != nil {
		return nil, err
	}
	return &policies{set: set, named: make(map[matched]*Rules)}, nil
}

// rules names what matched; nil if nothing did.
func (p *policies) rules(m matched) *Rules {
	if m == (matched{}) {
		return nil
	}
	r := p.named[m]
	if r == nil {
		r = &Rules{Firewall: nameOf(m.firewall), Egress: nameOf(m.egress), Network: nameOf(m.network)}
		p.named[m] = r
	}
	return r
}

func nameOf(r *policy.Rule) Rule {
	if r == nil {
		return Rule{}
	}
	return Rule{ID: r.ID, Name: r.DisplayName()}
}

// subject is what policies are asked about.
func (h *Hub) subject(w *work) policy.Subject {
	m := &w.meta
	return policy.Subject{
		Src: netip.AddrPortFrom(m.Src, m.SrcPort), Dst: netip.AddrPortFrom(m.Dst, m.DstPort), Proto: m.Proto,
		Country: h.v.country(m.Dst), SourceCountry: w.ramp.Country, User: w.ramp.User,
		VNet: w.vnet, OnRamp: w.ramp.Kind,
	}
}

// admitted asks the tenant's policies about a packet that is of no flow, and
// drops it if they say so. The order is that of SEMANTICS 7.2: firewall, egress
// (which is recorded and refuses nothing), network. What goes from site to site
// has no flow and passes the firewall alone, each packet by itself; packets that
// neither open a flow nor go to a site are nobody's to judge.
//
// At layer 3 the hub asks the origin nothing before the network policies
// decide, so that the origin never learns of what they block, where a proxy
// would have connected to it (GW-1). What the client sees is the same: a reset.
// What the firewall blocks is dropped without an answer.
func (h *Hub) admitted(now vt.Instant, w *work, tracked bool, out *Out) bool {
	opens := w.keyed && h.opens(w)
	if tracked && !opens {
		return true
	}
	p, sub := w.ramp.policies, h.subject(w)
	firewall := p.set.Firewall(&sub)
	blocked := firewall.Action == policy.Block
	if !tracked {
		if blocked {
			h.dropped(now, w, drop.PolicyDenied, out)
		}
		return !blocked
	}
	if blocked {
		w.rules = p.rules(matched{firewall: firewall.Rule})
		h.refused(now, w, drop.PolicyDenied, out)
		h.dropped(now, w, drop.PolicyDenied, out)
		return false
	}
	egress, network := p.set.Egress(&sub), p.set.Network(&sub)
	w.rules, w.leaves = p.rules(matched{firewall.Rule, egress.Rule, network.Rule}), egress.Rule
	if network.Action == policy.Block {
		h.refuse(now, w, drop.PolicyDenied, out)
		return false
	}
	return true
}

// remember keeps the rules of a flow's session, for as long as the flow lives:
// policies that change later are not asked about it (ARR-13).
func (h *Hub) remember(i flow.Index, r *Rules) {
	if int(i) >= len(h.rules) {
		if r == nil {
			return
		}
		h.rules = append(h.rules, make([]*Rules, int(i)+1-len(h.rules))...)
	}
	h.rules[i] = r
}

// rulesOf are the rules that a flow's session was set up under.
func (h *Hub) rulesOf(i flow.Index) Rules {
	if int(i) >= len(h.rules) || h.rules[i] == nil {
		return Rules{}
	}
	return *h.rules[i]
}
