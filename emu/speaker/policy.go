package speaker

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v4/api"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// sets of communities that the policies speak of.
const (
	shutdownSet = "shutdown"
	localSet    = "local" // not beyond here
)

// policies puts the rules of dataplane/bgp into force: what a neighbour's paths
// are worth on the way in, and who is told what on the way out. They are for all
// that the router ever announces, and so never change.
func (g *gobgp) policies(ctx context.Context) error {
	r := &api.SetPoliciesRequest{DefinedSets: []*api.DefinedSet{
		{DefinedType: api.DefinedType_DEFINED_TYPE_COMMUNITY, Name: shutdownSet, List: []string{exactly(bgp.GracefulShutdown)}},
		{DefinedType: api.DefinedType_DEFINED_TYPE_COMMUNITY, Name: localSet, List: []string{exactly(bgp.NoExport), exactly(bgp.NoAdvertise)}},
	}}
	in, out := &api.Policy{Name: "in"}, &api.Policy{Name: "out"}
	in.Statements = append(in.Statements, &api.Statement{
		Name: "in-own", Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL}, Actions: &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	})
	for i := range g.Speaker.Sessions {
		s := &g.Speaker.Sessions[i]
		name := neighborSet(i)
		r.DefinedSets = append(r.DefinedSets, &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_NEIGHBOR, Name: name, List: []string{netip.PrefixFrom(s.Remote, s.Remote.BitLen()).String()}})
		in.Statements = append(in.Statements, imports(i, s)...)
		for k := range g.Speaker.Origins {
			o := &g.Speaker.Origins[k]
			set := &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX, Name: fmt.Sprintf("origin%d", k), Prefixes: []*api.Prefix{{
				IpPrefix: o.Prefix.String(), MaskLengthMin: uint32(o.Prefix.Bits()), MaskLengthMax: uint32(o.Prefix.Bits()),
			}}}
			if i == 0 {
				r.DefinedSets = append(r.DefinedSets, set)
			}
			if o.Tells(i) {
				out.Statements = append(out.Statements, g.origin(i, k, o))
			}
		}
		if !g.Relay {
			out.Statements = append(out.Statements, exports(i, s)...)
		}
		if s.Local6.IsValid() {
			out.Statements = slices.Insert(out.Statements, 0, nextHop6(i, s))
		}
	}
	r.Policies = []*api.Policy{in, out}
	if err := g.server.SetPolicies(ctx, r); err != nil {
		return fmt.Errorf("policies: %w", err)
	}
	for p, d := range map[*api.Policy]api.PolicyDirection{in: api.PolicyDirection_POLICY_DIRECTION_IMPORT, out: api.PolicyDirection_POLICY_DIRECTION_EXPORT} {
		a := &api.PolicyAssignment{Direction: d, Policies: []*api.Policy{{Name: p.Name}}, DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT}
		if err := g.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: a}); err != nil {
			return fmt.Errorf("policy %s: %w", p.Name, err)
		}
	}
	return nil
}

func neighborSet(i int) string { return fmt.Sprintf("neighbor%d", i) }

// exactly is a community as GoBGP's sets, which are regular expressions, want it.
func exactly(c route.Community) string { return "^" + c.String() + "$" }

func anyOf(name string) *api.MatchSet {
	return &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: name}
}

// imports give a neighbour's paths their preference and cost.
func imports(i int, s *plan.Session) []*api.Statement {
	accept := func(shutdown bool) *api.Actions {
		return &api.Actions{
			RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT,
			LocalPref:   &api.LocalPrefAction{Value: s.Relation.Preference(shutdown)},
			Med:         &api.MedAction{Type: api.MedAction_TYPE_REPLACE, Value: int64(s.Cost)},
		}
	}
	return []*api.Statement{
		{Name: fmt.Sprintf("in%d-shutdown", i), Conditions: &api.Conditions{NeighborSet: anyOf(neighborSet(i)), CommunitySet: anyOf(shutdownSet)}, Actions: accept(true)},
		{Name: fmt.Sprintf("in%d", i), Conditions: &api.Conditions{NeighborSet: anyOf(neighborSet(i))}, Actions: accept(false)},
	}
}

// origin tells a neighbour a prefix of the router's own.
func (g *gobgp) origin(i, k int, o *bgp.Origin) *api.Statement {
	a := &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT}
	if o.Prepend > 0 {
		a.AsPrepend = &api.AsPrependAction{Asn: g.Speaker.ASN, Repeat: uint32(o.Prepend)}
	}
	if len(o.Communities) > 0 {
		a.Community = &api.CommunityAction{Type: api.CommunityAction_TYPE_ADD}
		for _, c := range o.Communities {
			a.Community.Communities = append(a.Community.Communities, c.String())
		}
	}
	return &api.Statement{Name: fmt.Sprintf("out%d-origin%d", i, k), Actions: a, Conditions: &api.Conditions{
		NeighborSet: anyOf(neighborSet(i)), PrefixSet: anyOf(fmt.Sprintf("origin%d", k)), RouteType: api.Conditions_ROUTE_TYPE_LOCAL,
	}}
}

// nextHop6 has a neighbour go by this router's own address of IPv6: the session's is
// of IPv4, which GoBGP would write in the form of the other family.
func nextHop6(i int, s *plan.Session) *api.Statement {
	return &api.Statement{
		Name: fmt.Sprintf("out%d-hop6", i),
		Conditions: &api.Conditions{
			NeighborSet: anyOf(neighborSet(i)), AfiSafiIn: []*api.Family{{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST}},
		},
		Actions: &api.Actions{Nexthop: &api.NexthopAction{Address: s.Local6.String()}},
	}
}

// exports tell a neighbour what it may know of what others told.
func exports(i int, s *plan.Session) []*api.Statement {
	reject := &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_REJECT}
	accept := &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT}
	all := []*api.Statement{
		{Name: fmt.Sprintf("out%d-own", i), Conditions: &api.Conditions{NeighborSet: anyOf(neighborSet(i)), RouteType: api.Conditions_ROUTE_TYPE_LOCAL}, Actions: reject},
		{Name: fmt.Sprintf("out%d-local", i), Conditions: &api.Conditions{NeighborSet: anyOf(neighborSet(i)), CommunitySet: anyOf(localSet)}, Actions: reject},
	}
	for _, from := range []bgp.Relation{bgp.Customer, bgp.Peer, bgp.Provider} {
		for _, shutdown := range []bool{false, true} {
			if bgp.Exports(from, s.Relation) {
				all = append(all, &api.Statement{
					Name:       fmt.Sprintf("out%d-%s-%v", i, from, shutdown),
					Conditions: &api.Conditions{NeighborSet: anyOf(neighborSet(i)), LocalPrefEq: &api.LocalPrefEq{Value: from.Preference(shutdown)}},
					Actions:    accept,
				})
			}
		}
	}
	return all
}
