package plan

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

func TestShorten(t *testing.T) {
	used := map[string]bool{}
	for _, tc := range []struct{ id, want string }{
		{"web", "web"},
		{"lhr.edge", "lhr-edge"},
		{"transit.cdg", "transit-cdg"},
		{"shop.1", "shop-1"},
		{"supermarket.123", "supermarket-123"},
		{"a_shop_with_a_long_name.7", "a_shop_with_a-7"},
		{"a_shop_with_a_longer_name.7", "a_shop_with_2-7"},
		{"a_lonely_origin_here", "a_lonely_origin"},
		{"web.1234567890123456", "w34567890123456"},
	} {
		got := shorten(used, tc.id)
		used[got] = true
		if tc.id == "a_shop_with_a_longer_name.7" {
			if len(got) > maxInterface {
				t.Errorf("shorten(%s) = %s, too long", tc.id, got)
			}
			continue
		}
		if got != tc.want {
			t.Errorf("shorten(%s) = %s, want %s", tc.id, got, tc.want)
		}
	}
	if len(used) != 9 {
		t.Errorf("names clash: %v", used)
	}
}

func TestAddresses(t *testing.T) {
	for _, tc := range []struct {
		lan, addr string
		want      bool
	}{
		{"10.0.1.0/24", "10.0.1.0", false}, {"10.0.1.0/24", "10.0.1.1", true}, {"10.0.1.0/24", "10.0.1.254", true},
		{"10.0.1.0/24", "10.0.1.255", false}, {"10.0.1.0/24", "10.0.2.1", false},
		{"10.0.1.0/31", "10.0.1.0", true}, {"10.0.1.0/31", "10.0.1.1", true}, {"10.0.1.7/32", "10.0.1.7", true},
		{"fd00::/64", "fd00::", false}, {"fd00::/64", "fd00::ffff:ffff:ffff:ffff", true},
	} {
		if got := usable(prefix(tc.lan), addr(tc.addr)); got != tc.want {
			t.Errorf("usable(%s, %s) = %v, want %v", tc.lan, tc.addr, got, tc.want)
		}
	}
	for _, tc := range []struct {
		from string
		n    int
		want string
	}{{"198.18.1.1", 0, "198.18.1.1"}, {"198.18.1.1", 255, "198.18.2.0"}, {"198.18.1.255", 257, "198.18.3.0"}, {"fd00::ffff", 1, "fd00::1:0"}} {
		if got := advance(addr(tc.from), tc.n); got != addr(tc.want) {
			t.Errorf("advance(%s, %d) = %v, want %s", tc.from, tc.n, got, tc.want)
		}
	}
	p := newPool(prefix("192.0.2.0/30"))
	for _, want := range []string{"192.0.2.0 192.0.2.1 true", "192.0.2.2 192.0.2.3 true", "192.0.2.4 192.0.2.5 false"} {
		lo, hi, ok := p.pair()
		if got := fmt.Sprint(lo, hi, ok); got != want {
			t.Errorf("pair() = %s, want %s", got, want)
		}
	}
}

func TestExplicitSlices(t *testing.T) {
	s := overlapping()
	s.Datacenters[0].Egress = []spec.Egress{
		{Prefix: prefix("198.51.100.0/32"), Slices: map[int]int{5: 2, 31: 1}, Country: "GB", Tags: []string{"trusted"}},
		{Prefix: prefix("198.51.100.1/32")},
	}
	all := compile(t, s).Servers[3].Config.Egress
	for slice, want := range map[int]int{1: 0, 2: 0, 5: 2, 31: 1} {
		if got := all[0].Owner[slice]; int(got) != want {
			t.Errorf("slice %d of %v is server %d's, want %d", slice, all[0].Addr, got, want)
		}
	}
	if all[0].Country != "GB" || len(all[0].Tags) != 1 || all[1].Country != "" {
		t.Errorf("country and tags: %+v, %+v", all[0], all[1])
	}
	if o := all[1].Owner; o[1] != 1 || o[2] != 2 || o[3] != 0 {
		t.Errorf("slices of %v are %v", all[1].Addr, o)
	}
}

func TestTimersScale(t *testing.T) {
	got := timers(spec.Timers{Scale: 0.01, UDP: unit.Duration(5 * time.Second)})
	if got.TCPEstablished != 288*time.Second || got.UDP != 50*time.Millisecond || got.PortHold != 600*time.Millisecond {
		t.Errorf("scaled by 0.01: %+v", got)
	}
	if got := timers(spec.Timers{}); got.TCPEstablished != 8*time.Hour || got.TCPConnect != 30*time.Second || got.DNS != 10*time.Second {
		t.Errorf("defaults: %+v", got)
	}
	if got := timers(spec.Timers{Scale: 1e-15}); got.DNS != 1 {
		t.Errorf("DNS scaled to nothing is %v, want 1ns: zero would be the default", got.DNS)
	}
	// Beyond what a duration can say it is the longest, on every processor.
	if got := timers(spec.Timers{Scale: 1000, TCPEstablished: unit.Duration(200 * 365 * 24 * time.Hour)}); got.TCPEstablished != math.MaxInt64 {
		t.Errorf("200 years a thousand times are %v, want the longest", got.TCPEstablished)
	}
}

func TestRateSpreadsOverTargets(t *testing.T) {
	s := overlapping()
	s.Internet = append(s.Internet, spec.InternetHost{ID: "api", Address: addr("203.0.113.10")})
	s.Traffic = []spec.Traffic{{ID: "a", From: "shop.1.till", To: "*", TCP: 80, Flows: 2, Rate: 4, Start: unit.Duration(time.Second)}}
	var got []string
	for _, f := range compile(t, s).Flows {
		got = append(got, fmt.Sprint(f.N, f.Server, f.Start))
	}
	want := []string{"1 web 1s", "2 api 1.25s", "3 web 1.5s", "4 api 1.75s"}
	for i := range want {
		want[i] = fmt.Sprint(i+1, []string{"web", "api"}[i%2], time.Second+time.Duration(i)*250*time.Millisecond)
	}
	if !slices.Equal(got, want) {
		t.Errorf("flows %v, want %v", got, want)
	}
}

// Each further host begins by as much later, whatever the rate of each.
func TestStaggeredHosts(t *testing.T) {
	s := overlapping()
	s.Traffic = []spec.Traffic{{ID: "a", From: "shop.*.till", To: "web", TCP: 80, Flows: 2, Rate: 4, Start: unit.Duration(time.Second), Stagger: unit.Duration(30 * time.Millisecond)}}
	got := map[string][]time.Duration{}
	for _, f := range compile(t, s).Flows {
		got[f.Client] = append(got[f.Client], f.Start)
	}
	for i, client := range []string{"shop.1.till", "shop.2.till"} {
		first := time.Second + time.Duration(i)*30*time.Millisecond
		if want := []time.Duration{first, first + 250*time.Millisecond}; !slices.Equal(got[client], want) {
			t.Errorf("%s begins at %v, want %v", client, got[client], want)
		}
	}
}

// A flow keeps its drawn port and nonce when other sites come and go.
func TestDrawnPortsAreStable(t *testing.T) {
	s := overlapping()
	s.Traffic = []spec.Traffic{{ID: "a", From: "shop.*.till", To: "web", TCP: 443, Flows: 50}}
	ports := func(s *spec.Scenario, client string) (all []string) {
		for _, f := range compile(t, s).Flows {
			if f.Client == client {
				all = append(all, fmt.Sprint(f.Src, f.Nonce))
			}
		}
		return all
	}
	before, second := ports(s, "shop.1.till"), ports(s, "shop.2.till")
	s.Sites = s.Sites[:1]
	if after := ports(s, "shop.1.till"); !slices.Equal(before, after) || len(before) != 50 {
		t.Error("ports of shop.1 changed with the number of sites")
	}
	if slices.Equal(before, second) {
		t.Error("two clients draw the same ports")
	}
	s.Seed++
	if after := ports(s, "shop.1.till"); slices.Equal(before, after) {
		t.Error("another seed draws the same ports")
	}
}

// When a client has more flows than ports, ports repeat per destination.
func TestPortsRepeatPerDestination(t *testing.T) {
	s := overlapping()
	s.Internet = append(s.Internet, spec.InternetHost{ID: "api", Address: addr("203.0.113.10")})
	s.Traffic = []spec.Traffic{{ID: "a", From: "shop.1.till", To: "*", TCP: 80, Flows: 20_000}}
	p := compile(t, s)
	checkFlows(t, p)
	if len(p.Flows) != 40_000 {
		t.Errorf("%d flows, want 40000", len(p.Flows))
	}
}

func TestServices(t *testing.T) {
	s := overlapping()
	s.Sites[0].Lan, s.Sites[0].Hosts = prefix("10.0.2.0/24"), map[string]spec.Host{"desk": {Address: addr("10.0.2.5")}}
	s.Traffic = []spec.Traffic{
		{ID: "a", From: "shop.2.till", To: "shop.1.desk", TCP: 8080},
		{ID: "b", From: "shop.2.till", To: "web", TCP: 443},
		{ID: "c", From: "shop.2.till", To: "web", UDP: 53},
	}
	s.Internet = append(s.Internet, spec.InternetHost{ID: "mute", Address: addr("203.0.113.10")})
	p := compile(t, s)
	want := "[{web http 203.0.113.9 [80 443] <nil> []} {web echo 203.0.113.9 [7 53] <nil> []} {shop.1.desk http 10.0.2.5 [8080] <nil> []}]"
	if got := fmt.Sprint(p.Services); got != want {
		t.Errorf("services %s, want %s", got, want)
	}
}

func TestImpairments(t *testing.T) {
	s := overlapping()
	s.Links = map[string]spec.Impairment{
		"access":     {Delay: spec.Delay{Fixed: unit.Duration(4 * time.Millisecond)}, Rate: 500},
		"shop.*.wan": {Loss: 0.1},
		"shop.2.wan": {Loss: 0.2},
		"server":     {Loss: 0.1},
		"cdg.1":      {Loss: 0.4},
		"backbone":   {Delay: spec.Delay{Geo: true}},
	}
	s.Impair = []spec.Impair{
		{On: "shop.1.router", Direction: "up", Impairment: spec.Impairment{Loss: 0.3}},
		{On: "cdg.edge-lhr.edge", Direction: "down", Impairment: spec.Impairment{Corrupt: 0.5}},
	}
	p := compile(t, s)
	loss := map[string][2]unit.Ratio{}
	for _, l := range p.Links {
		switch l.Class {
		case ClassAccess:
			loss[l.ID] = [2]unit.Ratio{l.AB.Loss, l.BA.Loss}
			if l.AB.Delay.Fixed != unit.Duration(4*time.Millisecond) || l.BA.Rate != 500 {
				t.Errorf("%s lost what its class says: %+v", l.ID, l)
			}
		case ClassBackbone:
			if !l.AB.Delay.Geo || l.Geo < time.Millisecond || l.Geo > 3*time.Millisecond || l.AB.Corrupt != 0 || l.BA.Corrupt != 0.5 {
				t.Errorf("backbone is %+v", l)
			}
		case ClassServer:
			if want := map[bool]unit.Ratio{true: 0.4, false: 0.1}[l.A.Node == "cdg.1"]; l.AB.Loss != want {
				t.Errorf("loss of %s is %v, want %v", l.ID, l.AB.Loss, want)
			}
		default:
			if l.AB != (spec.Impairment{}) || l.BA != (spec.Impairment{}) {
				t.Errorf("%s is impaired", l.ID)
			}
		}
	}
	want := map[string][2]unit.Ratio{"shop.1.router-transit.lhr": {0.3, 0.1}, "shop.2.router-transit.lhr": {0.2, 0.2}, "shop.3.router-transit.cdg": {0.1, 0.1}}
	if fmt.Sprint(loss) != fmt.Sprint(want) {
		t.Errorf("losses %v, want %v", loss, want)
	}
	if len(p.Features) > 0 {
		t.Errorf("features %v, want none: every engine can do impairments", p.Features)
	}
}

// What the file's words mean to an engine, each in its own place.
func TestLinkImpair(t *testing.T) {
	l := Link{Geo: 3 * time.Millisecond, AB: spec.Impairment{
		Delay: spec.Delay{Fixed: 1}, Jitter: 2, JitterDistribution: "normal", JitterCorrelation: 0.3, Loss: 0.4, LossBurst: 5,
		Reorder: 0.6, ReorderGap: 7, Duplicate: 0.8, Corrupt: 0.9, Rate: 10, Queue: 11,
	}}
	want := impair.Config{
		Delay: 1, Jitter: 2, Distribution: impair.Normal, Correlation: 0.3, Loss: 0.4, LossBurst: 5,
		Reorder: 0.6, ReorderGap: 7, Duplicate: 0.8, Corrupt: 0.9, Rate: 10, Queue: 11,
	}
	if got := l.Impair(impair.AB); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := over(spec.Impairment{}, l.AB); got != l.AB {
		t.Errorf("put over nothing it is %+v, want %+v", got, l.AB)
	}
	if got := over(l.AB, spec.Impairment{}); got != l.AB {
		t.Errorf("with nothing over it, it is %+v, want %+v", got, l.AB)
	}
	if ba := l.Impair(impair.BA); !ba.Plain() || !l.Impaired() {
		t.Errorf("the way back is %+v, the link impaired: %v", ba, l.Impaired())
	}
	l.AB, l.BA = spec.Impairment{}, spec.Impairment{Delay: spec.Delay{Geo: true}}
	if ba := l.Impair(impair.BA); ba.Delay != l.Geo || !l.Impaired() {
		t.Errorf("geo is %v, want %v", ba.Delay, l.Geo)
	}
	if l.Geo = 0; l.Impaired() {
		t.Error("geo between unknown places is an impairment")
	}
}

func TestFeatures(t *testing.T) {
	if f := compile(t, overlapping()).Features; f != nil {
		t.Errorf("the common ground needs %v", f)
	}
	s := overlapping()
	s.Sites[0].OnRamps[0].Type = "interconnect"
	s.Sites[0].OnRamps[0].Health = &spec.Health{}
	s.Sites[1].Group, s.Sites[2].CPE = &spec.Group{}, &spec.CPE{}
	s.Sites[0].Hosts["till"] = spec.Host{Address: addr("10.0.1.5"), Run: []string{"true"}}
	s.Accounts = []spec.Account{{ID: "a", Routing: "legacy", OnExhaustion: "another_server", Dedicated: []spec.Dedicated{{IPv4: addr("192.0.2.33"), Datacenter: "lhr"}},
		VNets: []spec.VNet{{ID: "default"}, {ID: "blue"}}, Policies: spec.Policies{
			Firewall: []spec.Policy{{ID: "a", Action: "block"}}, Network: []spec.Policy{{ID: "a", Action: "allow"}},
			Egress: []spec.Policy{{ID: "a", Action: "dedicated", IPv4: addr("198.51.100.9")}, {ID: "b", Action: "default"}}}}, {ID: "b"}}
	s.Routes = []spec.Route{{Prefix: prefix("10.0.1.0/24"), Regions: []string{"WEUR"}, Datacenters: []string{"lhr"}}, {Prefix: prefix("fd00::/64")}, {Prefix: prefix("10.0.2.0/24"), Via: "shop.1.wan", Source: "bgp"}}
	s.Internet[0].Proxied = true
	s.Devices, s.Connectors, s.Transit = []spec.Device{{ID: "laptop"}}, []spec.Connector{{ID: "office", Lan: prefix("10.1.0.0/16")}}, []spec.Transit{{ID: "isp"}}
	s.Announce, s.Workload = []spec.Announce{{Prefix: "tunnel"}}, []spec.Workload{{ID: "w", From: "shop.1.till", To: "web", Rate: 1, Retries: 1}}
	s.Faults = []spec.Fault{{ID: "f", Do: "cut", On: "shop.1.wan"}}
	s.Checks = []spec.Check{{ID: "a", Eventually: "true", Within: 1, After: "f"}}
	var got []string
	for _, f := range compile(t, s).Features {
		got = append(got, f.Word)
	}
	slices.Sort(got)
	// Accounts, virtual networks, on-ramps and routes of all kinds are not among them.
	want := []string{"run", "workload.retries"}
	if !slices.Equal(got, want) {
		t.Errorf("features\n got %v\nwant %v", got, want)
	}
}

func TestRoutesAndAccounts(t *testing.T) {
	s := overlapping()
	s.Accounts = []spec.Account{
		{ID: "a", FlowKey: "tuple", Orphan: "reset", VNets: []spec.VNet{{ID: "blue", Default: true}}},
		{ID: "b", Routes: []spec.Route{{ID: "home", Prefix: prefix("10.0.1.0/24"), Via: "*.*.wan", Weight: 7}}},
	}
	s.Sites[2].Account = "b"
	s.Routes = []spec.Route{{Prefix: prefix("10.0.1.0/24"), Via: "shop.*.wan", Priority: 5}, {Prefix: prefix("10.0.0.0/8"), Via: "null", VNet: "default"}}
	c := compile(t, s).Servers[0].Config
	tenants := ""
	for _, a := range c.Tenants {
		tenants += fmt.Sprintln(a.ID, a.Name, a.FlowKey, a.Orphan, a.VNets)
	}
	if want := "1 a tuple reset [{1 default false} {2 blue true}]\n2 b   [{1 default true}]\n"; tenants != want {
		t.Errorf("tenants\n got %swant %s", tenants, want)
	}
	want := "[{10.0.1.0/24 via shop.1.wan 1 2 10.0.1.0/24 1 5 0 static wan} {10.0.1.0/24 via shop.2.wan 1 2 10.0.1.0/24 2 5 0 static wan} " +
		"{10.0.0.0/8 1 1 10.0.0.0/8 0 100 0 static wan} {home via shop.3.wan 2 1 10.0.1.0/24 3 100 7 static wan}]"
	if got := fmt.Sprint(c.Routes); got != want {
		t.Errorf("routes\n got %s\nwant %s", got, want)
	}
	if o := c.OnRamps[0]; o.Tenant != 1 || o.VNet != 2 {
		t.Errorf("on-ramp %+v, want the account's default network", o)
	}
}

// What no engine can do is planned and refused by name, not called a mistake.
func TestUnplannedIsNoMistake(t *testing.T) {
	s := overlapping()
	s.Transit = []spec.Transit{{ID: "carrier"}}
	s.Impair = []spec.Impair{{On: "carrier"}}
	compile(t, s)
}

func TestKeyedTunnel(t *testing.T) {
	s := overlapping()
	key := uint32(7)
	s.Sites[0].OnRamps[0].Key = &key
	p := compile(t, s)
	if tun := p.Branches[0].Tunnels[0]; tun.MTU != 1472 || *tun.Key != 7 || p.Servers[0].Config.OnRamps[0].MTU != 1472 {
		t.Errorf("keyed tunnel %+v, want MTU 1472", tun)
	}
}

func TestLookups(t *testing.T) {
	p := compile(t, overlapping())
	for _, id := range []string{"shop.1.till", "cdg.1", "web"} {
		if n, ok := p.Node(id); !ok || n.ID != id {
			t.Errorf("Node(%s) = %v, %v", id, n, ok)
		}
	}
	if _, ok := p.Node("shop.1"); ok {
		t.Error("found a node shop.1")
	}
	if s, ok := p.Server("cdg.2"); !ok || s.Index != 2 || s.Config.Self != 4 {
		t.Errorf("Server(cdg.2) = %+v", s)
	}
	if _, ok := p.Server("web"); ok {
		t.Error("web is a server")
	}
	if b, ok := p.Branch("shop.2.router"); !ok || b.Site != "shop.2" {
		t.Errorf("Branch(shop.2.router) = %+v", b)
	}
	n := p.Names()
	if n.OnRamps[2] != "shop.2.wan" || n.Servers[3] != "cdg.1" || n.Datacenters[2] != "cdg" || n.Tenants[1] != "default" || n.OnRamps[0] != "" {
		t.Errorf("names %+v", n)
	}
}

// Flows that are one to the network take turns, so that which is the first is in
// the plan: those of an account whose flow key leaves the on-ramp out, and no
// others.
func TestTurns(t *testing.T) {
	starts := func(key, account string) (all []time.Duration) {
		s := overlapping()
		s.Accounts = []spec.Account{{ID: "acme", FlowKey: key}, {ID: "globex"}}
		for i := range s.Sites {
			s.Sites[i].Account = account
		}
		s.Traffic = []spec.Traffic{{ID: "same", From: "*.*.*", To: "web", TCP: 443, SourcePort: 40000, Flows: 2, Start: unit.Duration(time.Second)}}
		for _, f := range compile(t, s).Flows {
			all = append(all, f.Start)
		}
		return all
	}
	const at = time.Second
	together := []time.Duration{at, at, at, at, at, at}
	if got := starts("", "acme"); !slices.Equal(got, together) {
		t.Errorf("told apart by their on-ramp: %v, want %v", got, together)
	}
	if got := starts("tuple", "globex"); !slices.Equal(got, together) {
		t.Errorf("of another account: %v, want %v", got, together)
	}
	if got, want := starts("tuple", "acme"), []time.Duration{at, at, at + turn, at + turn, at + 2*turn, at + 2*turn}; !slices.Equal(got, want) {
		t.Errorf("one to the network: %v, want %v", got, want)
	}
}
