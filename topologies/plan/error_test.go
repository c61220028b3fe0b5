package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// mistake is a change that makes a scenario wrong, and what is said of it where.
type mistake struct {
	name      string
	change    func(*spec.Scenario)
	path, msg string
}

// told fails the test for each mistake that is not told.
func told(t *testing.T, all []mistake) {
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			s := overlapping()
			m.change(s)
			_, err := Compile(s)
			if !slices.ContainsFunc(Errors(err), func(e *Error) bool { return e.Path == m.path && strings.Contains(e.Msg, m.msg) }) {
				t.Errorf("got %v, want %s: … %s …", err, m.path, m.msg)
			}
		})
	}
}

func TestNetworkMistakes(t *testing.T) {
	told(t, []mistake{
		{"no datacenter", func(s *spec.Scenario) { s.Datacenters = nil }, "datacenters", "at least one"},
		{"all in maintenance", func(s *spec.Scenario) {
			s.Datacenters[0].Maintenance, s.Datacenters[1].Maintenance = true, true
		}, "datacenters", "maintenance"},
		{"no place", func(s *spec.Scenario) { s.Datacenters[0].ID = "north" }, "datacenters[0]", "IATA"},
		{"too many servers", func(s *spec.Scenario) { s.Datacenters[1].Servers = 1001 }, "datacenters[1].servers", "want 1 to 1000"},
		{"servers without slices", func(s *spec.Scenario) {
			s.Datacenters[0].Servers, s.Datacenters[0].Egress = 32, []spec.Egress{{Prefix: prefix("198.51.100.0/32")}}
		}, "datacenters[0].servers", "too few egress addresses"},
		{"egress twice", func(s *spec.Scenario) { s.Datacenters[1].Egress[0].Prefix = prefix("198.51.100.2/31") }, "datacenters[1].egress[0]", "overlaps 198.51.100.0/30 of datacenters[0].egress[0]"},
		{"egress in the lab's range", func(s *spec.Scenario) { s.Datacenters[0].Egress[0].Prefix = prefix("198.18.7.0/30") }, "datacenters[0].egress[0]", "198.18.0.0/15"},
		{"egress too large", func(s *spec.Scenario) { s.Datacenters[0].Egress[0].Prefix = prefix("198.0.0.0/12") }, "datacenters[0].egress[0]", "more than 4096"},
		{"egress with host bits", func(s *spec.Scenario) { s.Datacenters[0].Egress[0].Prefix = prefix("198.51.100.1/30") }, "datacenters[0].egress[0]", "want 198.51.100.0/30"},
		{"slice 0", func(s *spec.Scenario) { s.Datacenters[0].Egress[0].Slices = map[int]int{0: 1} }, "datacenters[0].egress[0].slices", "slice 0: want 1 to 31"},
		{"slice of nobody", func(s *spec.Scenario) { s.Datacenters[0].Egress[0].Slices = map[int]int{1: 3} }, "datacenters[0].egress[0].slices", "server 3: want 1 to 2"},
		{"lan in the lab's range", func(s *spec.Scenario) { s.Sites[0].Lan = prefix("198.19.1.0/24") }, "sites[0].lan", "198.18.0.0/15"},
		{"lan of tunnels", func(s *spec.Scenario) { s.Sites[0].Lan = prefix("169.254.0.0/16") }, "sites[0].lan", "169.254.240.0/20"},
		{"host outside its lan", func(s *spec.Scenario) { s.Sites[1].Hosts["till"] = spec.Host{Address: addr("10.0.2.5")} }, "sites[1].hosts.till", "10.0.2.5"},
		{"host at the broadcast address", func(s *spec.Scenario) { s.Sites[1].Hosts["till"] = spec.Host{Address: addr("10.0.1.255")} }, "sites[1].hosts.till", "10.0.1.255"},
		{"two hosts at one address", func(s *spec.Scenario) { s.Sites[1].Hosts["desk"] = spec.Host{Address: addr("10.0.1.5")} }, "sites[1].hosts.till", "already desk"},
		{"host at the gateway", func(s *spec.Scenario) { s.Sites[0].Gateway = addr("10.0.1.5") }, "sites[0].hosts.till", "already the gateway"},
		{"full lan", func(s *spec.Scenario) { s.Sites[0].Lan = prefix("10.0.1.5/32") }, "sites[0].lan", "no address left"},
		{"tunnel wider than its path", func(s *spec.Scenario) { s.Sites[0].OnRamps[0].MTU = 1477 }, "sites[0].onramps[0].mtu", "want at most 1476"},
		{"host called router", func(s *spec.Scenario) { s.Sites[0].Hosts["router"] = spec.Host{Address: addr("10.0.1.6")} }, "sites[0].hosts.router", "is taken by the branch"},
		{"unknown account", func(s *spec.Scenario) { s.Sites[0].Account = "acme" }, "sites[0].account", `"acme"`},
		{"near nowhere", func(s *spec.Scenario) { s.Sites[2].Near = near("nowhere") }, "sites[2].near", `"nowhere"`},
		{"origin in egress", func(s *spec.Scenario) { s.Internet[0].Address = addr("198.51.100.6") }, "internet[0].address", "198.51.100.4/30 of cdg"},
		{"origin in the lab's range", func(s *spec.Scenario) { s.Internet[0].Address = addr("198.18.0.1") }, "internet[0].address", "198.18.0.0/15"},
		{"origin without address", func(s *spec.Scenario) { s.Internet[0].Address = netip.Addr{} }, "internet[0].address", "want an address"},
		{"two equal routes", func(s *spec.Scenario) {
			s.Routes = []spec.Route{{Prefix: prefix("10.0.1.0/24"), Via: "shop.*.wan"}, {Prefix: prefix("10.0.1.0/24"), Via: "shop.2.wan", Weight: 3}}
		}, "routes[1]", "error 1014"},
		{"two null routes", func(s *spec.Scenario) {
			s.Routes = []spec.Route{{Prefix: prefix("10.0.1.0/24")}, {Prefix: prefix("10.0.1.0/24"), Via: "null", Priority: 100}}
		}, "routes[1]", "error 1014"},
		{"route to nobody", func(s *spec.Scenario) { s.Routes = []spec.Route{{Prefix: prefix("10.0.1.0/24"), Via: "shop.4.wan"}} }, "routes[0].via", "shop.4.wan"},
		{"route with host bits", func(s *spec.Scenario) { s.Routes = []spec.Route{{Prefix: prefix("10.0.1.5/24")}} }, "routes[0].prefix", "want 10.0.1.0/24"},
		{"route in an unknown network", func(s *spec.Scenario) {
			s.Account = &spec.Account{Routes: []spec.Route{{Prefix: prefix("10.0.1.0/24"), VNet: "blue"}}}
		}, "account.routes[0].vnet", `"blue"`},
		{"link that does not exist", func(s *spec.Scenario) { s.Links = map[string]spec.Impairment{"acess": {Loss: 0.1}} }, "links.acess", `"acess"`},
		{"marks where nothing waits", func(s *spec.Scenario) {
			s.Links = map[string]spec.Impairment{"access": {CEThreshold: unit.Duration(time.Millisecond)}}
		}, "links.access", "ce_threshold 1ms without a rate"},
		{"marks beyond a full queue", func(s *spec.Scenario) {
			s.Links = map[string]spec.Impairment{"access": {Rate: unit.Mbit, Queue: 30000, CEThreshold: unit.Duration(240 * time.Millisecond)}}
		}, "links.access", "want less than the 240ms that a full queue of 30kB takes"},
		{"overtaking without delay", func(s *spec.Scenario) { s.Links = map[string]spec.Impairment{"access": {Reorder: 0.1}} }, "links.access", "reorder without delay"},
		{"bursts too short for the loss of another word", func(s *spec.Scenario) {
			s.Links = map[string]spec.Impairment{"access": {Loss: 0.8}}
			s.Impair = []spec.Impair{{On: "shop.1.wan", Impairment: spec.Impairment{LossBurst: 2}}}
		}, "impair[0]", "bursts of 2 packets, want 4 or more"},
		{"impaired link that does not exist", func(s *spec.Scenario) { s.Impair = []spec.Impair{{On: "shop.9.wan"}} }, "impair[0].on", "shop.9.wan"},
	})
}

func TestTrafficMistakes(t *testing.T) {
	told(t, []mistake{
		{"traffic from an origin", func(s *spec.Scenario) { s.Traffic[0].From = "web" }, "traffic[0].from", "selects no host of a site"},
		{"traffic to nobody", func(s *spec.Scenario) { s.Traffic[0].To = "wbe" }, "traffic[0].to", `"wbe"`},
		{"traffic to itself", func(s *spec.Scenario) { s.Traffic[0].From, s.Traffic[0].To = "shop.1.till", "shop.1.till" }, "traffic[0].to", "only the host that asks"},
		{"traffic to the same prefix elsewhere", func(s *spec.Scenario) { s.Traffic[0].From, s.Traffic[0].To = "shop.1.till", "shop.2.till" }, "traffic[0].to", "never leave the site"},
		{"two protocols", func(s *spec.Scenario) { s.Traffic[0].UDP = 53 }, "traffic[0]", "exactly one of tcp, udp and icmp, have 2"},
		{"no such port", func(s *spec.Scenario) { s.Traffic[0].TCP = 65536 }, "traffic[0]", "65536"},
		{"ports that end", func(s *spec.Scenario) { s.Traffic[0].SourcePort, s.Traffic[0].Flows = 65535, 2 }, "traffic[0].source_port", "2 flows from 65535"},
		{"port used twice", func(s *spec.Scenario) { s.Traffic = append(s.Traffic, s.Traffic[0]); s.Traffic[3].ID = "again" }, "traffic[3]", "already a flow of same"},
		{"more flows than ports", func(s *spec.Scenario) {
			all := spec.Traffic{ID: "all", From: "shop.1.till", To: "web", UDP: 53, SourcePort: portFirst, Flows: portLast - portFirst + 1}
			s.Traffic = []spec.Traffic{all, {ID: "more", From: "shop.1.till", To: "web", UDP: 53}}
		}, "traffic[1].flows", "no source port left"},
		{"far more flows than ports", func(s *spec.Scenario) {
			s.Traffic = []spec.Traffic{{ID: "all", From: "shop.1.till", To: "web", TCP: 443, Flows: 900_000}}
		}, "traffic[0].flows", "want at most 28232 flows"},
		{"too many flows", func(s *spec.Scenario) { s.Traffic[1].Flows = 400_000 }, "traffic[1].flows", "at most 1000000"},
		{"negative flows", func(s *spec.Scenario) { s.Traffic[1].Flows = -1 }, "traffic[1].flows", "-1 flows"},
		{"datagram too large", func(s *spec.Scenario) { s.Traffic[1].Request = 70000 }, "traffic[1].request", "65507"},
	})
}

func TestMistakesComeTogetherAndOnce(t *testing.T) {
	s := overlapping()
	for i := range s.Sites {
		s.Sites[i].Gateway = addr("10.9.9.9")
	}
	s.Internet[0].Near = near("nowhere")
	_, err := Compile(s)
	var paths []string
	for _, e := range Errors(err) {
		paths = append(paths, e.Path)
	}
	if want := []string{"sites[0].gateway", "internet[0].near"}; !slices.Equal(paths, want) {
		t.Errorf("mistakes at %v, want %v", paths, want)
	}
}

func TestVariant(t *testing.T) {
	s := overlapping()
	s.Title = "All"
	s.Variants = []spec.Variant{{Name: "one_arr", Title: "One", ExpectFail: []string{"home"}}}
	p, err := CompileVariant(s, "one_arr")
	if err != nil || p.Variant != "one_arr" || p.Title != "One" || !slices.Equal(p.ExpectFail, []string{"home"}) {
		t.Errorf("got %+v, %v", p, err)
	}
	if p := compile(t, s); p.Variant != spec.Base || p.Title != "All" || p.ExpectFail != nil {
		t.Errorf("base is %s %q %v", p.Variant, p.Title, p.ExpectFail)
	}
	if _, err := CompileVariant(s, "two"); err == nil {
		t.Error("planned a variant that does not exist")
	}
}
