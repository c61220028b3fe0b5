package hub_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// rule is one about a destination port.
func rule(id string, action policy.Action, port uint16) policy.Rule {
	return policy.Rule{ID: id, Action: action, Match: policy.Match{Port: []policy.PortRange{policy.Port(port)}}}
}

func policed(p policy.Policies) func(*hub.Config) {
	return func(c *hub.Config) {
		c.Tenants = slices.Clone(c.Tenants)
		c.Tenants[0].Policies = p
	}
}

// TestPolicies: firewall, egress, network, each asked once and in this order; a
// block ends the questions, is recorded, and a client of TCP is told of the last
// with a reset. GW-1, GW-3, GW-5.
func TestPolicies(t *testing.T) {
	all := policy.Policies{
		Firewall: []policy.Rule{rule("fw_dns", policy.Block, 53), rule("fw_web", policy.Allow, 443), rule("fw_web_too_late", policy.Block, 443)},
		Egress:   []policy.Rule{{ID: "any", Name: "Anything", Action: policy.Default}},
		Network:  []policy.Rule{rule("nw_smtp", policy.Block, 25), rule("nw_dns", policy.Allow, 53)},
	}
	anything := hub.Rule{ID: "any", Name: "Anything"}
	tests := []struct {
		port  uint16
		rules hub.Rules
		// leaves and reset are what is sent for a SYN.
		leaves, reset bool
	}{
		{53, hub.Rules{Firewall: hub.Rule{ID: "fw_dns", Name: "fw_dns"}}, false, false},
		{443, hub.Rules{Firewall: hub.Rule{ID: "fw_web", Name: "fw_web"}, Egress: anything}, true, false},
		{25, hub.Rules{Egress: anything, Network: hub.Rule{ID: "nw_smtp", Name: "nw_smtp"}}, false, true},
		{80, hub.Rules{Egress: anything}, true, false},
	}
	for _, tt := range tests {
		n := alone(t, policed(all))
		p := hubtest.IP{Src: hubtest.Till, Dst: netip.AddrPortFrom(hubtest.Web.Addr(), tt.port)}
		syn, udp := n.FromSite(1, p.TCP(hubtest.Flags{SYN: true}, 1, 0, 0)), n.FromSite(1, p.UDP())
		if got := len(toInternet(syn)); (got == 1) != tt.leaves || len(toInternet(udp)) != got {
			t.Errorf("port %d: %d SYNs and %d datagrams left, want %v", tt.port, got, len(toInternet(udp)), tt.leaves)
		}
		home := toSites(syn)
		if (len(home) == 1) != tt.reset || len(toSites(udp)) != 0 {
			t.Errorf("port %d: %d packets home for a SYN, want a reset: %v", tt.port, len(home), tt.reset)
		}
		for _, a := range home {
			if v := hubtest.Decode(a.Packet); v.TCP == nil || !v.TCP.RST || !v.Sound || v.Src != p.Dst || v.Dst != p.Src {
				t.Errorf("port %d: %+v came home, want a reset", tt.port, v.TCP)
			}
		}
		sessions, c := append(starts(n), refusals(n)...), n.Counters()
		if len(sessions) != 2 || tt.leaves != (c.FlowsStarted == 2) || tt.leaves == (c.Drops[drop.PolicyDenied] == 2) {
			t.Fatalf("port %d: %d sessions, %d flows, %d denied", tt.port, len(sessions), c.FlowsStarted, c.Drops[drop.PolicyDenied])
		}
		for _, s := range sessions {
			if s.Rules != tt.rules || s.Refused == drop.PolicyDenied == tt.leaves {
				t.Errorf("port %d: session names %+v, refused %v, want %+v", tt.port, s.Rules, s.Refused, tt.rules)
			}
		}
	}
}

// TestPolicyReload: flows that live keep what was decided about them, to their
// record's end; new ones meet the new policies. ARR-13.
func TestPolicyReload(t *testing.T) {
	n := alone(t, policed(policy.Policies{Network: []policy.Rule{rule("before", policy.Allow, 443)}}))
	n.Origin = hubtest.Echo
	live, fresh := client(1), client(2)
	n.FromSite(1, live.UDP())
	n.Reconfigure(policed(policy.Policies{Network: []policy.Rule{rule("after", policy.Block, 443)}}))
	if got := returned(t, n.FromSite(1, live.UDP())); got != 1 {
		t.Errorf("the live flow's reply went to %d, want 1", got)
	}
	if out := n.FromSite(1, fresh.UDP()); len(out) != 0 {
		t.Errorf("a new flow sent %+v", out)
	}
	n.Now = vt.Instant(10 * time.Minute)
	if out := n.FromSite(1, live.UDP()); len(out) != 0 {
		t.Errorf("after the flow's end its client sent %+v", out)
	}
	e, r := ends(n), refusals(n)
	if len(e) != 1 || e[0].Rules.Network.ID != "before" || len(r) != 2 || r[0].Rules.Network.ID != "after" {
		t.Errorf("ended %+v, refused %+v", e, r)
	}
	n.Reconfigure(policed(policy.Policies{}))
	n.FromSite(1, live.UDP())
	if s := starts(n); len(s) != 2 || s[1].Rules != (hub.Rules{}) {
		t.Errorf("without policies: %+v", s)
	}
}

// TestPolicySites: what goes from site to site has no flow: the firewall judges
// each packet, network policies none. What is dropped anyway keeps its reason.
func TestPolicySites(t *testing.T) {
	n := alone(t, func(c *hub.Config) {
		c.Routes = []route.Route{{Tenant: 1, VNet: 1, Prefix: netip.MustParsePrefix("10.9.0.0/16"), NextHop: 2}}
		policed(policy.Policies{
			Firewall: []policy.Rule{rule("fw", policy.Block, 53), {ID: "no_pongs", Action: policy.Block, Match: policy.Match{Protocol: []uint8{pkt.ProtoICMP}}}},
			Network:  []policy.Rule{rule("nw", policy.Block, 80)},
		})(c)
	})
	to := func(addr string) hubtest.IP {
		return hubtest.IP{Src: hubtest.Till, Dst: netip.MustParseAddrPort(addr)}
	}
	ack := hubtest.Flags{ACK: true}
	for name, tt := range map[string]struct {
		packet []byte
		reason drop.Reason
	}{
		"firewall":               {to("10.9.0.1:53").UDP(), drop.PolicyDenied},
		"firewall mid-flow":      {to("10.9.0.1:53").TCP(ack, 1, 1, 0), drop.PolicyDenied},
		"firewall without flow":  {to("10.9.0.1:0").Pong(), drop.PolicyDenied},
		"network":                {to("10.9.0.1:80").UDP(), drop.None},
		"network, no route":      {to("10.8.0.1:80").UDP(), drop.NullRouted},
		"firewall, no route":     {to("10.8.0.1:53").UDP(), drop.PolicyDenied},
		"mid-flow, to the world": {to("203.0.113.9:53").TCP(ack, 1, 1, 0), drop.Orphan},
	} {
		before := n.Counters()
		out := n.FromSite(1, tt.packet)
		after := n.Counters()
		if tt.reason == drop.None {
			if returned(t, out) != 2 {
				t.Errorf("%s: sent %+v", name, out)
			}
		} else if len(out) != 0 || after.Drops[tt.reason] != before.Drops[tt.reason]+1 {
			t.Errorf("%s: sent %+v, dropped %v, want %v", name, out, after.Drops, tt.reason)
		}
	}
	if r := refusals(n); len(r) != 0 {
		t.Errorf("%d sessions of packets that have none", len(r))
	}
}

// TestPolicyMistakes: what cannot be meant is refused by name, and changes
// nothing.
func TestPolicyMistakes(t *testing.T) {
	for _, bad := range []policy.Policies{
		{Firewall: []policy.Rule{{ID: "wrong", Action: "perhaps"}}},
		{Egress: []policy.Rule{{ID: "wrong", Action: policy.Dedicated, IPv4: netip.MustParseAddr("198.51.100.9")}}},
	} {
		c := hubtest.Options{Edit: policed(bad)}.Config()
		_, err := hub.New(c)
		if err == nil || !strings.Contains(err.Error(), `tenant "acme"`) || !strings.Contains(err.Error(), "wrong") {
			t.Errorf("%+v: got %v, want the tenant's and the rule's name", bad, err)
		}
		h, err := hub.New(hubtest.Options{}.Config())
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Reconfigure(0, c); err == nil || len(h.Config().Tenants[0].Policies.Firewall) != 0 {
			t.Errorf("%+v: Reconfigure says %v", bad, err)
		}
	}
}

// TestPolicyWhere: rules name the country of the destination, the longest prefix
// deciding, the country of the client and who it is. What is not known fulfils
// no such selector. SEMANTICS 6.2.
func TestPolicyWhere(t *testing.T) {
	match := func(id string, m policy.Match) policy.Rule {
		return policy.Rule{ID: id, Action: policy.Block, Match: m}
	}
	n := alone(t, func(c *hub.Config) {
		c.OnRamps = slices.Clone(c.OnRamps)
		c.OnRamps[0].Country, c.OnRamps[0].User = "DE", "ana@example.com"
		c.Countries = []hub.Country{
			{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Code: "GB"},
			{Prefix: netip.MustParsePrefix("203.0.113.128/25"), Code: "FR"},
			{Prefix: netip.MustParsePrefix("2001:db8:9::/48"), Code: "FR"},
		}
		policed(policy.Policies{Network: []policy.Rule{
			match("to_france", policy.Match{Country: []string{"fr"}}),
			match("ana_mails", policy.Match{User: []string{"ana@example.com"}, Port: []policy.PortRange{policy.Port(25)}}),
			match("germans_ask", policy.Match{SourceCountry: []string{"DE"}, Port: []policy.PortRange{policy.Port(53)}}),
		}})(c)
	})
	for _, tt := range []struct {
		site ident.OnRamp
		dst  string
		rule string
	}{
		{1, "203.0.113.9:80", ""}, {1, "203.0.113.200:80", "to_france"}, {2, "203.0.113.200:80", "to_france"}, {1, "192.0.2.200:80", ""},
		{1, "[2001:db8:9::1]:80", "to_france"}, {1, "[2001:db8:8::1]:80", ""},
		{1, "203.0.113.9:25", "ana_mails"}, {2, "203.0.113.9:25", ""}, {1, "203.0.113.9:53", "germans_ask"}, {2, "203.0.113.9:53", ""},
	} {
		n.Events = nil
		p := hubtest.IP{Src: hubtest.Till, Dst: netip.MustParseAddrPort(tt.dst)}
		if p.Dst.Addr().Is6() {
			p.Src = hubtest.Families()[1].Till
		}
		out := n.FromSite(tt.site, p.UDP())
		r := refusals(n)
		if tt.rule == "" {
			if len(out) != 1 || len(r) != 0 {
				t.Errorf("%s from site %d: %d packets, refused %d", tt.dst, tt.site, len(out), len(r))
			}
			continue
		}
		if len(out) != 0 || len(r) != 1 || r[0].Rules.Network.ID != tt.rule {
			t.Errorf("%s from site %d: %d packets, refused %+v, want by %s", tt.dst, tt.site, len(out), r, tt.rule)
		}
	}
}

// TestCountryMistakes: each is named.
func TestCountryMistakes(t *testing.T) {
	net := netip.MustParsePrefix("203.0.113.7/24")
	for want, bad := range map[string][]hub.Country{
		`country "GB": want a plain IPv4 or IPv6 prefix`: {{Code: "GB"}},
		`country "FR": want a plain IPv4 or IPv6 prefix`: {{Prefix: netip.MustParsePrefix("::ffff:203.0.113.0/120"), Code: "FR"}},
		`203.0.113.0/24: want two capital letters`:       {{Prefix: net, Code: "gb"}},
		`203.0.113.0/24 is said twice`:                   {{Prefix: net, Code: "GB"}, {Prefix: net.Masked(), Code: "FR"}},
	} {
		_, err := hub.New(hubtest.Options{Edit: func(c *hub.Config) { c.Countries = bad }}.Config())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %s", bad, err, want)
		}
	}
}
