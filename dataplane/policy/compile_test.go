package policy

import (
	"encoding/json"
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"pgregory.net/rapid"
)

// TestMistakes: each mistake alone is refused and says where and what.
func TestMistakes(t *testing.T) {
	v4, v6 := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8::7")
	firewall := func(m Match) Policies { return Policies{Firewall: []Rule{{ID: "r", Match: m, Action: Block}}} }
	egress := func(r Rule) Policies { r.ID = "r"; return Policies{Egress: []Rule{r}} }
	for _, tc := range []struct {
		name string
		p    Policies
		want string
	}{
		{"no id", Policies{Network: []Rule{{Action: Allow}}}, `network rule "" (number 1): want an id, got none`},
		{"id twice", Policies{Network: []Rule{{ID: "a", Action: Allow}, {ID: "a", Action: Block}}}, `network rule "a" (number 2): id is taken by rule number 1`},
		{"precedence twice", Policies{Network: []Rule{{ID: "a", Precedence: 7, Action: Allow}, {ID: "b", Precedence: 7, Action: Block}}}, `network rule "b" (number 2): precedence is taken: rule "a" has 7 already`},
		{"negative precedence", Policies{Network: []Rule{{ID: "a", Precedence: -1, Action: Allow}}}, `network rule "a" (number 1): want a precedence of 0 or more, got -1`},
		{"no action", Policies{Firewall: []Rule{{ID: "a"}}}, `firewall rule "a" (number 1): want action "allow" or "block", got ""`},
		{"action of another stage", Policies{Firewall: []Rule{{ID: "a", Action: Default}}}, `firewall rule "a" (number 1): want action "allow" or "block", got "default"`},
		{"egress does not block", egress(Rule{Action: Block}), `egress rule "r" (number 1): want action "default" or "dedicated", got "block"`},
		{"dedicated without address", egress(Rule{Action: Dedicated}), `egress rule "r" (number 1): want an IPv4 address to leave from, got invalid IP`},
		{"dedicated to IPv6", egress(Rule{Action: Dedicated, IPv4: v6}), `egress rule "r" (number 1): want an IPv4 address to leave from, got 2001:db8::7`},
		{"dedicated to nothing", egress(Rule{Action: Dedicated, IPv4: netip.IPv4Unspecified()}), `egress rule "r" (number 1): want an IPv4 address to leave from, got 0.0.0.0`},
		{"fallback to IPv6", egress(Rule{Action: Dedicated, IPv4: v4, Fallback: netip.IPv6Unspecified()}), `egress rule "r" (number 1): want an IPv4 address or 0.0.0.0 as fallback, got ::`},
		{"fallback to itself", egress(Rule{Action: Dedicated, IPv4: v4, Fallback: v4}), `egress rule "r" (number 1): want a fallback in another place, got 198.51.100.7 again`},
		{"default with address", egress(Rule{Action: Default, IPv4: v4}), `egress rule "r" (number 1): want ipv4 and fallback with action "dedicated" alone, got action "default"`},
		{"block with address", Policies{Firewall: []Rule{{ID: "r", Action: Block, Fallback: v4}}}, `firewall rule "r" (number 1): want ipv4 and fallback with action "dedicated" alone, got action "block"`},
		{"no prefix", firewall(Match{Source: []netip.Prefix{{}}}), `firewall rule "r" (number 1): source: want a prefix such as 10.0.1.0/24, got an invalid one`},
		{"prefix too long", firewall(Match{Destination: []netip.Prefix{netip.PrefixFrom(v4, 33)}}), `firewall rule "r" (number 1): destination: want a prefix such as 10.0.1.0/24, got an invalid one`},
		{"mapped prefix", firewall(Match{Destination: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}}), `firewall rule "r" (number 1): destination: want a plain IPv4 prefix, got the mapped ::ffff:10.0.0.0/104`},
		{"range upside down", firewall(Match{Port: []PortRange{{First: 90, Last: 80}}}), `firewall rule "r" (number 1): port: want a range from low to high, got 90 to 80`},
		{"no range", firewall(Match{Port: []PortRange{{}}}), `firewall rule "r" (number 1): port: want a range from low to high, got 0 to 0`},
		{"country of three letters", firewall(Match{Country: []string{"GBR"}}), `firewall rule "r" (number 1): country: want two letters such as GB, got "GBR"`},
		{"country of digits", firewall(Match{SourceCountry: []string{"44"}}), `firewall rule "r" (number 1): source_country: want two letters such as GB, got "44"`},
		{"no user", firewall(Match{User: []string{""}}), `firewall rule "r" (number 1): user: want a name, got none`},
		{"vnet 0", firewall(Match{VNet: []ident.VNet{0}}), `firewall rule "r" (number 1): vnet: want a virtual network, got 0`},
		{"unknown on-ramp", firewall(Match{OnRamp: []tunnel.Kind{"gere"}}), `firewall rule "r" (number 1): onramp: want one of ["gre" "interconnect" "device" "connector" "ipsec"], got "gere"`},
		{"too many", Policies{Egress: make([]Rule, MaxRules+1)}, `egress: want at most 4096 rules, got 4097`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := Compile(tc.p)
			if err == nil || s != nil {
				t.Fatalf("got %v and error %v, want an error alone", s, err)
			}
			if got := err.Error(); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestAllMistakesAtOnce: nothing hides behind the first mistake, and callers
// can ask which rule it was.
func TestAllMistakesAtOnce(t *testing.T) {
	_, err := Compile(Policies{
		Firewall: []Rule{{ID: "a", Action: "allwo", Match: Match{Port: []PortRange{{}}}}, {ID: "a", Action: Block}},
		Egress:   []Rule{{ID: "b", Action: Dedicated}},
		Network:  []Rule{{ID: "c", Precedence: 1, Action: Allow}, {ID: "d", Precedence: 1, Action: Allow}},
	})
	if err == nil {
		t.Fatal("got no error, want five")
	}
	if got := strings.Count(err.Error(), "\n") + 1; got != 5 {
		t.Errorf("got %d mistakes, want 5:\n%v", got, err)
	}
	if !errors.Is(err, ErrDuplicate) || !errors.Is(err, ErrPrecedence) {
		t.Errorf("want both ErrDuplicate and ErrPrecedence in:\n%v", err)
	}
	var first *RuleError
	if !errors.As(err, &first) || first.Stage != Firewall || first.ID != "a" || first.Position != 0 {
		t.Errorf("the first mistake is %+v, want rule a of the firewall", first)
	}
}

// TestSameIDInTwoStages: an id is a stage's own.
func TestSameIDInTwoStages(t *testing.T) {
	mustCompile(t, Policies{Firewall: []Rule{{ID: "a", Action: Block}}, Network: []Rule{{ID: "a", Action: Block}}})
}

// netipValues makes netip's values comparable for cmp.
var netipValues = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

// TestJSON: what is written is read again, and numbers are numbers.
func TestJSON(t *testing.T) {
	text := `{"firewall":[{"id":"ssh","name":"No SSH","precedence":1000,"match":{"source":["10.0.0.0/8"],"destination":["::/0"],` +
		`"port":[{"first":22,"last":23}],"protocol":[6,17],"country":["GB"],"source_country":["MX"],"user":["ada"],"vnet":[2],"onramp":["gre"]},"action":"block"}],` +
		`"egress":[{"id":"tokyo","action":"dedicated","ipv4":"198.51.100.7","fallback":"0.0.0.0"}]}`
	var p Policies
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(p); err != nil || string(got) != text {
		t.Errorf("got  %s (%v)\nwant %s", got, err, text)
	}
	for _, bad := range []string{`[256]`, `[-1]`, `[1.5]`, `"BhE="`, `{}`} {
		if err := json.Unmarshal([]byte(bad), new(Protocols)); err == nil {
			t.Errorf("protocols %s were read, want an error", bad)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		want := match().Draw(rt, "match")
		text, err := json.Marshal(want)
		if err != nil {
			rt.Fatal(err)
		}
		var got Match
		if err := json.Unmarshal(text, &got); err != nil {
			rt.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got, netipValues); diff != "" {
			rt.Fatalf("%s came back changed (-want +got):\n%s", text, diff)
		}
	})
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestRuleUUID(t *testing.T) {
	for _, tc := range []struct{ tenant, rule, want string }{
		{"acme", "", NilUUID},
		{"acme", "F174E90A-FAFE-4643-BBBC-4A0ED4FC8415", "f174e90a-fafe-4643-bbbc-4a0ed4fc8415"},
		// Worked out apart, in Python, from the definition of FNV-1a.
		{"default", "tokyo", "cbe95c4f-1340-8ffb-9436-df5625a742a8"},
	} {
		if got := RuleUUID(tc.tenant, tc.rule); got != tc.want {
			t.Errorf("RuleUUID(%q, %q) = %s, want %s", tc.tenant, tc.rule, got, tc.want)
		}
	}
	seen := map[string]string{}
	for _, tenant := range []string{"a", "ab", "", "default", "f174e90a-fafe-4643-bbbc-4a0ed4fc841"} {
		for _, rule := range []string{"a", "bc", "c", "b", "tokyo", "f174e90a-fafe-4643-bbbc-4a0ed4fc841g", "f174e90a_fafe-4643-bbbc-4a0ed4fc8415"} {
			got := RuleUUID(tenant, rule)
			if !uuidForm.MatchString(got) {
				t.Errorf("RuleUUID(%q, %q) = %s, want a UUID of version 8", tenant, rule, got)
			}
			if who := tenant + "/" + rule; seen[got] != "" {
				t.Errorf("%s and %s share %s", seen[got], who, got)
			} else {
				seen[got] = who
			}
		}
	}
}
