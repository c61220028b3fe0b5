package plan

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Policies reach the servers in their order, words as numbers, and mean what
// the file says.
func TestPolicies(t *testing.T) {
	s := overlapping()
	s.Account = &spec.Account{
		VNets: []spec.VNet{{ID: "blue", Default: true}},
		Policies: spec.Policies{
			Firewall: []spec.Policy{
				{ID: "dns", Action: "allow", Match: spec.Match{Protocol: []string{"udp"}, Port: []int{53}}},
				{ID: "no_udp", Name: "No UDP", Action: "block", Match: spec.Match{Protocol: []string{"udp", "47"}, VNet: []string{"blue"}, OnRamp: []string{"gre"}}},
			},
			Egress:  []spec.Policy{{ID: "near", Action: "default", Match: spec.Match{Country: []string{"GB"}, SourceCountry: []string{"FR"}, User: []string{"ada"}}}},
			Network: []spec.Policy{{ID: "web", Action: "block", Match: spec.Match{Source: []netip.Prefix{prefix("10.0.1.5/32")}, Destination: []netip.Prefix{prefix("203.0.113.0/24")}}}},
		},
	}
	p := compile(t, s)
	all := p.Servers[3].Config.Tenants[0].Policies
	set, err := policy.Compile(all)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(proto uint8, dst string) *policy.Subject {
		return &policy.Subject{Src: netip.MustParseAddrPort("10.0.1.5:40000"), Dst: netip.MustParseAddrPort(dst), Proto: proto, VNet: 2, OnRamp: "gre", Country: "GB", SourceCountry: "FR", User: "ada"}
	}
	for _, tt := range []struct {
		name string
		got  policy.Decision
		want string
	}{
		{"udp to 53", set.Firewall(ask(17, "192.0.2.1:53")), "allow dns"},
		{"udp to 54", set.Firewall(ask(17, "192.0.2.1:54")), "block No UDP"},
		{"gre", set.Firewall(ask(47, "192.0.2.1:0")), "block No UDP"},
		{"tcp", set.Firewall(ask(6, "192.0.2.1:53")), "allow "},
		{"egress", set.Egress(ask(6, "192.0.2.1:53")), "default near"},
		{"network", set.Network(ask(6, "203.0.113.9:443")), "block web"},
	} {
		if got := string(tt.got.Action) + " " + tt.got.Rule.DisplayName(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	other := ask(17, "192.0.2.1:54")
	other.VNet = 1
	if got := set.Firewall(other).Action; got != policy.Allow {
		t.Errorf("from the other network: %s, want allow", got)
	}
}

func TestPolicyMistakes(t *testing.T) {
	for _, tt := range []struct {
		name      string
		rules     []spec.Policy
		path, msg string
	}{
		{"action", []spec.Policy{{ID: "a"}}, "account.policies.firewall[0]", `want action "allow" or "block"`},
		{"id twice", []spec.Policy{{ID: "a", Action: "block"}, {ID: "a", Action: "block"}}, "account.policies.firewall[1]", "taken"},
		{"protocol", []spec.Policy{{ID: "a", Action: "block", Match: spec.Match{Protocol: []string{"tcp", "tpc"}}}}, "account.policies.firewall[0].match.protocol[1]", `"tpc"`},
		{"port", []spec.Policy{{ID: "a", Action: "block", Match: spec.Match{Port: []int{65536}}}}, "account.policies.firewall[0].match.port[0]", "65536"},
		{"network", []spec.Policy{{ID: "a", Action: "block", Match: spec.Match{VNet: []string{"red"}}}}, "account.policies.firewall[0].match.vnet[0]", `"red"`},
		{"kind", []spec.Policy{{ID: "a", Action: "block", Match: spec.Match{OnRamp: []string{"shop.1.wan"}}}}, "account.policies.firewall[0]", `"shop.1.wan"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := overlapping()
			s.Account = &spec.Account{Policies: spec.Policies{Firewall: tt.rules}}
			_, err := Compile(s)
			if all := Errors(err); len(all) != 1 || all[0].Path != tt.path || !strings.Contains(all[0].Msg, tt.msg) {
				t.Errorf("got %v, want %s: … %s …", err, tt.path, tt.msg)
			}
		})
	}
}
