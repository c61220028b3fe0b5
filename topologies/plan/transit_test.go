package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// two are London and Paris behind an AS each, and a carrier that both pay.
func two() *spec.Scenario {
	gre := []spec.OnRamp{{ID: "wan", Type: "gre", ARR: true}}
	return &spec.Scenario{
		Version: 1, Name: "two",
		Datacenters: []spec.Datacenter{
			{ID: "lhr", Servers: 1, Egress: []spec.Egress{{Prefix: prefix("198.51.100.0/31")}}},
			{ID: "cdg", Servers: 1, Egress: []spec.Egress{{Prefix: prefix("198.51.100.2/31")}}},
		},
		Transit: []spec.Transit{
			{ID: "uk", Near: spec.Near{{Code: "lhr", Share: 1}}, Providers: []string{"carrier"}, Customers: []string{"lhr"}},
			{ID: "fr", Near: spec.Near{{Code: "cdg", Share: 1}}, Providers: []string{"carrier"}},
			{ID: "carrier", Near: spec.Near{{Code: "ams", Share: 1}}},
		},
		Sites: []spec.Site{
			{ID: "shop", Instance: 1, Near: spec.Near{{Code: "uk", Share: 1}}, Lan: prefix("10.0.1.0/24"), OnRamps: gre},
			{ID: "cafe", Instance: 1, Near: spec.Near{{Code: "cdg", Share: 1}}, Lan: prefix("10.0.1.0/24"), OnRamps: gre},
			{ID: "kiosk", Instance: 1, Near: spec.Near{{Code: "carrier", Share: 1}}, Lan: prefix("10.0.1.0/24"), OnRamps: gre},
		},
		Internet: []spec.InternetHost{{ID: "web", Address: addr("203.0.113.9"), Near: spec.Near{{Code: "carrier", Share: 1}}}},
	}
}

// lands is where the tunnels of shop, cafe and kiosk land.
func lands(p *Plan) string {
	var all []string
	for _, site := range []string{"shop", "cafe", "kiosk"} {
		n, _ := p.Node(site + ".1.router")
		all = append(all, n.Datacenter)
	}
	return strings.Join(all, " ")
}

func TestTransit(t *testing.T) {
	tests := map[string]struct {
		change func(s *spec.Scenario)
		want   string
	}{
		// The carrier has both by a path of two: London is nearer to Amsterdam.
		"each its own": {func(*spec.Scenario) {}, "lhr cdg lhr"},
		"the other is prepended": {func(s *spec.Scenario) {
			s.Announce = []spec.Announce{{Prefix: "tunnel", From: []string{"lhr"}, Prepend: 1}, {Prefix: "tunnel", From: []string{"cdg"}}}
		}, "lhr cdg cdg"},
		"only from Paris": {func(s *spec.Scenario) { s.Announce = []spec.Announce{{Prefix: "tunnel", From: []string{"cdg"}}} }, "cdg cdg cdg"},
		"not beyond London's AS": {func(s *spec.Scenario) {
			s.Announce = []spec.Announce{{Prefix: "tunnel", From: []string{"lhr"}, Communities: []string{"no_export"}}, {Prefix: "tunnel", From: []string{"cdg"}}}
		}, "lhr cdg cdg"},
		"London in maintenance": {func(s *spec.Scenario) { s.Datacenters[0].Maintenance = true }, "cdg cdg cdg"},
		"London going away": {func(s *spec.Scenario) {
			s.Announce = []spec.Announce{{Prefix: "tunnel", From: []string{"lhr"}, Communities: []string{"graceful_shutdown"}}, {Prefix: "tunnel", From: []string{"cdg"}}}
		}, "cdg cdg cdg"},
		"London is a peer of Paris's":        {func(s *spec.Scenario) { s.Transit[1].Peers = []string{"lhr"} }, "lhr cdg lhr"}, // a customer before a peer
		"London peers with Paris's AS alone": {func(s *spec.Scenario) { s.Transit[0].Customers, s.Transit[1].Peers = nil, []string{"lhr"} }, "cdg cdg cdg"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := two()
			tt.change(s)
			if got := lands(compile(t, s)); got != tt.want {
				t.Errorf("shop, cafe and kiosk land in %s, want %s", got, tt.want)
			}
		})
	}
}

// What BGP brings is marked, so that a lab leaves it to its speakers; what is on a
// router's own links is not.
func TestTransitRoutes(t *testing.T) {
	p := compile(t, two())
	for node, want := range map[string]string{
		"transit.fr": "198.18.0.0/17 own; 198.18.0.1/32 by cdg-edge; 198.19.0.1/32 by transit-carrier; 198.19.0.5/32 by transit-carrier; 198.51.100.0/31 by cdg-edge; 198.51.100.2/31 by cdg-edge; 203.0.113.9/32 by transit-carrier",
		"cdg.edge":   "198.18.0.1/32 own; 198.18.1.1/32 own; 198.18.1.2/32 own; 198.19.0.1/32 by transit-fr; 198.19.0.3/32 by transit-fr; 198.19.0.5/32 by transit-fr; 198.51.100.0/31 own; 198.51.100.2/31 own; 203.0.113.9/32 by transit-fr",
	} {
		n, _ := p.Node(node)
		var all []string
		for _, r := range n.Routes {
			if r.Learned {
				all = append(all, fmt.Sprintf("%v by %s", r.To, r.Hops[0].Interface))
			} else {
				all = append(all, fmt.Sprintf("%v own", r.To))
			}
		}
		if got := strings.Join(all, "; "); got != want {
			t.Errorf("%s\n got %s\nwant %s", node, got, want)
		}
	}
	if p.Hold.Seconds() != 90 {
		t.Errorf("hold time %v, want 90 s", p.Hold)
	}
}

// An announcement of a whole prefix takes the place of those of its parts.
func TestAnnounced(t *testing.T) {
	s := two()
	s.Announce = []spec.Announce{{Prefix: "198.51.100.0/24"}, {Prefix: "203.0.113.0/24", From: []string{"carrier"}}}
	p := compile(t, s)
	if got, want := fmt.Sprint(p.Announced), "[198.18.0.1/32 198.51.100.0/24]"; got != want {
		t.Errorf("announced are %s, want %s", got, want)
	}
	carrier, _ := p.Speaker("transit.carrier")
	if got, want := fmt.Sprint(carrier.Origins[0].Prefix, len(carrier.Origins)), "203.0.113.0/24 2"; got != want {
		t.Errorf("the carrier announces %s, want its prefix and its site", got)
	}
	f, err := p.Fault(spec.Fault{ID: "f", Do: spec.Withdraw, On: "lhr", Address: "198.51.100.1"})
	if err != nil || fmt.Sprint(f.Prefixes) != "[198.51.100.0/24]" {
		t.Errorf("withdrawn is %v (%v), want what holds the address", f.Prefixes, err)
	}
}

// An egress address that stands in several announcements goes by the longest,
// whichever the file has first.
func TestAnnouncedAs(t *testing.T) {
	for _, order := range [][]string{{"198.51.100.0/24", "198.51.100.0/32"}, {"198.51.100.0/32", "198.51.100.0/24"}} {
		s := two()
		for _, p := range order {
			s.Announce = append(s.Announce, spec.Announce{Prefix: p})
		}
		s.Faults = []spec.Fault{{Do: spec.Withdraw, On: "lhr", Address: "198.51.100.0"}}
		if got := compile(t, s).Faults[0].Prefixes; len(got) != 1 || got[0] != prefix("198.51.100.0/32") {
			t.Errorf("announced as %v: %v is withdrawn, want the /32", order, got)
		}
	}
}

// Without ASes a prefix goes to the nearest of those that announce it.
func TestAnnounceWithoutTransit(t *testing.T) {
	s := two()
	s.Transit = nil
	s.Sites, s.Internet[0].Near = s.Sites[1:2], nil
	s.Announce = []spec.Announce{{Prefix: "198.51.100.2/31", From: []string{"lhr"}}}
	p := compile(t, s)
	n, _ := p.Node("transit.cdg")
	for _, r := range n.Routes {
		if r.To == prefix("198.51.100.2/31") && (len(r.Hops) != 1 || r.Hops[0].Interface != "transit-lhr") {
			t.Errorf("from Paris %v goes by %v, want to London, which alone announces it", r.To, r.Hops)
		}
	}
	if got := p.Rerouted(n, []Announcement{{Datacenter: "lhr", Prefix: prefix("198.51.100.2/31")}}, nil, nil); len(got) != 1 || len(got[0].Hops) != 0 {
		t.Errorf("withdrawn there too it goes to %v, want nowhere", got)
	}
}

func TestTransitMistakes(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(s *spec.Scenario)
		want   string
	}{
		"a site without a way": {func(s *spec.Scenario) {
			s.Transit[0].Providers, s.Transit[0].Customers, s.Transit[1].Customers = nil, nil, []string{"lhr", "cdg"}
		}, "shop.1.router hangs on uk, which no path leads from to a datacenter"},
		"nobody's": {func(s *spec.Scenario) { s.Announce = []spec.Announce{{Prefix: "192.0.2.0/24"}} }, "holds no egress address"},
		"the network's": {func(s *spec.Scenario) {
			s.Announce = []spec.Announce{{Prefix: "198.51.100.0/24", From: []string{"uk"}}}
		}, "is the network's own: want it from a datacenter, not from uk"},
		"of two ASes": {func(s *spec.Scenario) {
			s.Announce = []spec.Announce{{Prefix: "203.0.113.0/24", From: []string{"uk"}}, {Prefix: "203.0.112.0/24", From: []string{"uk"}}, {Prefix: "203.0.113.0/25", From: []string{"fr"}}}
		}, "overlaps 203.0.113.0/24 of uk"},
		"of an AS and more": {func(s *spec.Scenario) {
			s.Announce = []spec.Announce{{Prefix: "203.0.113.0/24", From: []string{"uk", "lhr"}}}
		}, "is announced by an AS: want no one else beside it"},
		"to a stranger": {func(s *spec.Scenario) {
			s.Announce = []spec.Announce{{Prefix: "tunnel", From: []string{"lhr"}, To: []string{"carrier"}}}
		}, "carrier is no neighbour of lhr"},
	} {
		t.Run(name, func(t *testing.T) {
			s := two()
			tt.change(s)
			if _, err := Compile(s); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}
