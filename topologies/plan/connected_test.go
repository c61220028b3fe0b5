package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/spec"
	"pgregory.net/rapid"
)

func drawType(t *rapid.T) string {
	return rapid.SampledFrom([]string{"gre", "gre", "interconnect"}).Draw(t, "type")
}

// drawConnected gives the accounts devices and private networks. One device is
// always there, so that traffic can be from any.
func drawConnected(t *rapid.T, s *spec.Scenario) {
	where := rapid.SampledFrom([]string{"lhr", "cdg", "nrt", "syd", "jfk"})
	vnet := func(i int) string {
		return rapid.SampledFrom([][]string{{"", "default", "blue"}, {"", "default"}}[i%2]).Draw(t, "vnet")
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "devices") {
		d := spec.Device{ID: "laptop", Instance: i + 1, Account: []string{"a", "b"}[i%2], Near: near(where.Draw(t, "near")), VNet: vnet(i)}
		if rapid.Bool().Draw(t, "switches") {
			d.Switch = []spec.Switch{{At: 1, VNet: vnet(i)}, {At: 2, VNet: vnet(i)}}
		}
		s.Devices = append(s.Devices, d)
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "connectors") {
		s.Connectors = append(s.Connectors, spec.Connector{
			ID: "office" + strconv.Itoa(i), Account: []string{"a", "b"}[i%2], Near: near(where.Draw(t, "near")), VNet: vnet(i),
			Lan: prefix(fmt.Sprintf("10.%d.0.0/16", 20+i)), Hosts: map[string]spec.Host{"db": {Address: addr(fmt.Sprintf("10.%d.0.1", 20+i))}},
			Source: rapid.SampledFrom([]string{spec.Preserve, spec.Translate}).Draw(t, "source"),
		})
		if s.Connectors[i].Source == spec.Translate {
			delete(s.Connectors[i].Hosts, "db")
			s.Connectors[i].Hosts = map[string]spec.Host{} // "*.*" asks from every host
		}
	}
}

// checkConnected: whatever leaves a device or a connector goes into its tunnel
// and nowhere else, contexts are good, and what is in GUE stays in the network.
func checkConnected(t fataler, p *Plan) {
	t.Helper()
	w := newWorld(p)
	want := func(from string, dst netip.Addr, nodes ...string) {
		t.Helper()
		if ends := w.walk(from, dst); !only(ends, nodes...) {
			t.Fatalf("from %s to %v: ends at %v, want %v", from, dst, ends, nodes)
		}
	}
	for _, b := range p.Branches {
		n, outside := w.nodes[b.Node], addr("203.0.113.77")
		if n.LAN.Addr().Is6() {
			outside = addr("2001:db8::77")
		}
		switch n.Kind {
		case KindDevice:
			want(b.Node, outside, "tunnel")
			want(b.Node, addr("10.20.0.1"), "tunnel")
		case KindConnector:
			nat := b.Tunnels[0].Connect.NAT
			if !nat.IsValid() {
				want(b.Node, outside, "tunnel")
				break
			}
			want(b.Node, outside, "dropped")
			want(b.Node, nat, "tunnel")
			if !n.LAN.Contains(nat) || slices.ContainsFunc(p.Nodes, func(o Node) bool { return o.Site == b.Site && o.Address == nat }) {
				t.Fatalf("%s translates to %v, want an address of %v that nobody has", b.Node, nat, n.LAN)
			}
		}
	}
	checkContexts(t, p)
	inside := map[string][]string{}
	for _, s := range p.Servers {
		inside[s.Datacenter+".edge"] = append(inside[s.Datacenter+".edge"], s.Node)
	}
	for _, x := range p.Interconnects {
		want(x.Edge, x.Remote, inside[x.Edge]...)
		for _, s := range p.Servers[:min(3, len(p.Servers))] {
			want(s.Node, x.Local, x.Edge)
			for _, way := range w.walk(s.Node, x.Local) {
				if strings.Contains(way, "transit") {
					t.Fatalf("GUE leaves the network: %s", way)
				}
			}
		}
		for _, n := range p.Nodes {
			if n.Kind == KindOrigin || n.Kind == KindTransit || n.Kind == KindDevice {
				want(n.ID, x.Local, "dropped", "tunnel")
				want(n.ID, x.Remote, "dropped", "tunnel")
			}
		}
	}
}

// checkContexts: each is its on-ramp's, signed with its account's secret, within
// what a datagram holds.
func checkContexts(t fataler, p *Plan) {
	t.Helper()
	c := p.Servers[0].Config
	seen := map[hub.Registration]string{}
	for _, b := range p.Branches {
		for _, tun := range b.Tunnels {
			o := c.OnRamps[tun.OnRamp-1]
			if (tun.Connect != nil) != (o.Registration != hub.Registration{}) {
				t.Fatalf("tunnel %+v of on-ramp %+v: only connected ones are registered", tun, o)
			}
			if tun.Connect == nil {
				continue
			}
			if seen[o.Registration] != "" {
				t.Fatalf("%s and %s have one registration", tun.Name, seen[o.Registration])
			}
			seen[o.Registration] = tun.Name
			all := []tunnel.Context{tun.Connect.Context}
			for _, s := range tun.Connect.Switch {
				all = append(all, s.Context)
			}
			for _, x := range all {
				wire, err := x.Append(nil)
				if err != nil || !x.Verify(c.Tenants[o.Tenant-1].Secret) {
					t.Fatalf("context %+v of %s: %v, or its signature is bad", x, tun.Name, err)
				}
				if back, err := tunnel.ParseContext(wire); err != nil || back.Registration != o.Registration || back.Tenant != o.Tenant || back.Kind != o.Kind {
					t.Fatalf("context of %s is read as %+v, %v", tun.Name, back, err)
				}
			}
		}
	}
}

// connectedScenario has a site, two devices and a connector.
func connectedScenario() *spec.Scenario {
	s := overlapping()
	s.Account = &spec.Account{VNets: []spec.VNet{{ID: "blue"}, {ID: "green", Default: true}}}
	s.Devices = []spec.Device{
		{ID: "laptop", Instance: 1, Near: near("lhr"), User: "ada", VNet: "blue"},
		{ID: "laptop", Instance: 2, Near: near("cdg"), Country: "at"},
	}
	s.Connectors = []spec.Connector{{ID: "office", Near: near("cdg"), Lan: prefix("10.1.0.0/16"), VNet: "blue", Hosts: map[string]spec.Host{"files": {Address: addr("10.1.0.1")}}, Source: spec.Translate}}
	return s
}

// A device that chose says so and one that did not says nothing, so that it
// follows the default network. SEMANTICS VN-3.
func TestChoice(t *testing.T) {
	s := connectedScenario()
	s.Devices[1].Switch = []spec.Switch{{At: 5, VNet: "default"}, {At: 9}}
	p := compile(t, s)
	c := p.Servers[0].Config
	for _, tt := range []struct {
		node            string
		vnet            ident.VNet // of the on-ramp
		chosen          ident.VNet // in the context
		country, user   string
		address, source string
	}{
		{"laptop.1", 2, 2, "GB", "ada", "100.96.0.1", "100.96.0.1"},
		{"laptop.2", 3, 0, "AT", "", "100.96.0.2", "100.96.0.2"},
	} {
		b, _ := p.Branch(tt.node)
		tun := b.Tunnels[0]
		o, x := c.OnRamps[tun.OnRamp-1], tun.Connect.Context
		if o.VNet != tt.vnet || x.VNet != tt.chosen || o.Country != tt.country || x.Country != tt.country || o.User != tt.user || x.User != tt.user {
			t.Errorf("%s: on-ramp %+v, context %+v, want %+v", tt.node, o, x, tt)
		}
		if !o.ARR || o.Client != addr(tt.address) || tun.InnerPrefix() != host(o.Client) || tun.MTU != tunnel.UDPMTU || tun.Interface != "dev1" {
			t.Errorf("%s: on-ramp %+v, tunnel %+v", tt.node, o, tun)
		}
	}
	b, _ := p.Branch("laptop.2")
	if w := b.Tunnels[0].Connect.Switch; len(w) != 2 || w[0].At != 5 || w[0].Context.VNet != 1 || w[1].Context.VNet != 0 {
		t.Errorf("switches %+v", w)
	}
	if got := fmt.Sprint(c.Sources); got != "[{100.64.0.1 1} {100.64.0.2 2} {100.64.0.3 3} {100.64.0.4 4}]" {
		t.Errorf("sources %s", got)
	}
	// Each device in every network of its account, the private one in its own.
	want := "100.96.0.1/32@1 100.96.0.1/32@2 100.96.0.1/32@3 100.96.0.2/32@1 100.96.0.2/32@2 100.96.0.2/32@3 10.1.0.0/16@2"
	var got []string
	for _, r := range c.Routes {
		got = append(got, fmt.Sprintf("%v@%d", r.Prefix, r.VNet))
	}
	if strings.Join(got, " ") != want {
		t.Errorf("routes %v, want %s", got, want)
	}
}

// TestVN3: who chose no network is in the default one; when another becomes the
// default, the old one is it no more, and the device without a choice follows.
// SEMANTICS VN-3.
func TestVN3(t *testing.T) {
	s := connectedScenario()
	before := compile(t, s).Servers[0].Config
	s.Account.VNets = []spec.VNet{{ID: "blue"}, {ID: "green"}}
	after := compile(t, s).Servers[0].Config
	for _, tt := range []struct {
		c                 hub.Config
		standard          string
		unpinned, chooser ident.VNet
	}{{before, "green", 3, 2}, {after, "default", 1, 2}} {
		for _, v := range tt.c.Tenants[0].VNets {
			if v.Default != (v.Name == tt.standard) {
				t.Errorf("%+v: want %s to be the default and no other", v, tt.standard)
			}
		}
		for _, o := range tt.c.OnRamps {
			if want := map[string]ident.VNet{"laptop.1": tt.chooser, "laptop.2": tt.unpinned}[o.Name]; want != 0 && o.VNet != want {
				t.Errorf("%s is in network %d, want %d", o.Name, o.VNet, want)
			}
		}
	}
}

// A connector that a route names has that route and no other.
func TestNamedConnector(t *testing.T) {
	s := connectedScenario()
	s.Devices = nil
	s.Account.Routes = []spec.Route{{Prefix: prefix("10.0.0.0/8"), Via: "office", VNet: "default"}}
	c := compile(t, s).Servers[0].Config
	if len(c.Routes) != 1 || c.Routes[0].Prefix != prefix("10.0.0.0/8") || c.Routes[0].Plane != "zt" || c.Routes[0].VNet != 1 {
		t.Errorf("routes %+v, want the written one alone", c.Routes)
	}
}

// Ids and secrets depend on the seed, the account and the name, and on nothing
// that stands beside them.
func TestRegistrations(t *testing.T) {
	of := func(change func(*spec.Scenario)) (hub.Registration, string) {
		s := connectedScenario()
		change(s)
		p := compile(t, s)
		c := p.Servers[0].Config
		for _, o := range c.OnRamps {
			if o.Name == "laptop.2" {
				return o.Registration, string(c.Tenants[o.Tenant-1].Secret)
			}
		}
		t.Fatal("no laptop.2")
		return hub.Registration{}, ""
	}
	id, secret := of(func(*spec.Scenario) {})
	if len(secret) < 16 {
		t.Errorf("secret of %d bytes", len(secret))
	}
	same, sameSecret := of(func(s *spec.Scenario) { s.Devices, s.Sites = s.Devices[1:], s.Sites[:1] })
	if same != id || sameSecret != secret {
		t.Error("what stands beside a device changed its registration or secret")
	}
	if other, otherSecret := of(func(s *spec.Scenario) { s.Seed = 8 }); other == id || otherSecret == secret {
		t.Error("the seed did not change registration and secret")
	}
	if other, otherSecret := of(func(s *spec.Scenario) { s.Account.ID = "acme" }); other == id || otherSecret == secret {
		t.Error("the account did not change registration and secret")
	}
}

// In legacy mode nothing has ARR, and the servers know the mode. SEMANTICS 2.1.
func TestLegacy(t *testing.T) {
	s := connectedScenario()
	s.Account.Routing = "legacy"
	for i := range s.Sites {
		s.Sites[i].OnRamps[0].ARR = false
	}
	c := compile(t, s).Servers[0].Config
	if !c.Tenants[0].Legacy || slices.ContainsFunc(c.OnRamps, func(o hub.OnRamp) bool { return o.ARR }) {
		t.Errorf("tenant %+v with on-ramps %+v", c.Tenants[0], c.OnRamps)
	}
	if _, err := hub.New(c); err != nil {
		t.Error(err)
	}
}

// An interconnect ends at the edge of the nearest datacenter that takes ingress,
// whose kernel takes nothing that comes over it.
func TestInterconnect(t *testing.T) {
	s := overlapping()
	s.Datacenters[0].Maintenance = true
	s.Sites[0].OnRamps = []spec.OnRamp{{ID: "cross", Type: "interconnect", VLAN: 100, MTU: 1400, ARR: true}}
	s.Sites[1].OnRamps = []spec.OnRamp{{ID: "wan", Type: "gre"}, {ID: "cross", Type: "interconnect"}}
	s.Links = map[string]spec.Impairment{"shop.2.cross": {Loss: 0.5}}
	p := compile(t, s)
	if len(p.Interconnects) != 2 {
		t.Fatalf("interconnects %+v", p.Interconnects)
	}
	x := p.Interconnects[0]
	if x.Edge != "cdg.edge" || x.VLAN != 100 || x.Local != addr("198.18.0.17") || x.Remote != addr("198.18.0.2") || x.Name != "shop.1.cross" {
		t.Errorf("interconnect %+v", x)
	}
	w := newWorld(p)
	link := w.ends[x.Edge+"/"+x.Interface]
	if e := link[0]; len(e.Addresses) != 0 || slices.Equal(e.MAC, x.MAC) || !slices.Equal(link[1].MAC, x.SiteMAC) || !slices.Equal(link[1].NeighborMAC, x.MAC) {
		t.Errorf("link %+v of %+v: want an edge without address whose MAC the site does not use", link, x)
	}
	if ends := w.walk("shop.1.till", addr("203.0.113.9")); !only(ends, "listener on cdg.edge") {
		t.Errorf("shop.1 goes to %v", ends)
	}
	if ends := w.walk("shop.2.till", addr("203.0.113.9")); !only(ends, "tunnel") {
		t.Errorf("shop.2, whose first on-ramp is a tunnel, goes to %v", ends)
	}
	if b, _ := p.Branch("shop.1.router"); b.WAN != "" || len(b.Tunnels) != 0 || p.Flows[0].OnRamp != "shop.1.cross" {
		t.Errorf("branch %+v, flow %+v", b, p.Flows[0])
	}
	c := p.Servers[0].Config
	if o := c.OnRamps[0]; o.Kind != tunnel.Interconnect || o.Local != x.Remote || o.Remote != x.Local || o.MTU != 1400 || fmt.Sprint(c.Unconnected) != "[198.18.0.2]" {
		t.Errorf("on-ramp %+v, unconnected %v", o, c.Unconnected)
	}
	for _, l := range p.Links {
		if want := l.ID == "shop.2.router-cdg.edge"; want != (l.AB.Loss == 0.5) {
			t.Errorf("link %s loses %v", l.ID, l.AB.Loss)
		}
	}
}

func TestConnectedMistakes(t *testing.T) {
	for _, tc := range []struct {
		name      string
		change    func(*spec.Scenario)
		path, msg string
	}{
		{"device in no network", func(s *spec.Scenario) { s.Devices[1].VNet = "red" }, "devices[1].vnet", `"red"`},
		{"switch to no network", func(s *spec.Scenario) { s.Devices[1].Switch = []spec.Switch{{At: 1}, {At: 2, VNet: "red"}} }, "devices[1].switch[1].vnet", `"red"`},
		{"device of nobody", func(s *spec.Scenario) { s.Devices[0].Account = "acme" }, "devices[0].account", `"acme"`},
		{"user that no context holds", func(s *spec.Scenario) { s.Devices[0].User = "a\n" }, "devices[0]", "printable"},
		{"device wider than its path", func(s *spec.Scenario) { s.Devices[0].MTU = 1473 }, "devices[0].mtu", "want at most 1472"},
		{"device near nowhere", func(s *spec.Scenario) { s.Devices[0].Near = near("nowhere") }, "devices[0].near", `"nowhere"`},
		{"a public route to a connector", func(s *spec.Scenario) {
			s.Routes = append(s.Routes, spec.Route{Prefix: prefix("203.0.113.0/24"), Via: s.Connectors[0].ID})
		}, "routes[0].prefix", "not private"},
		{"connector with a public lan", func(s *spec.Scenario) { s.Connectors[0].Lan = prefix("11.0.0.0/16") }, "connectors[0].lan", "not private"},
		{"connector among devices", func(s *spec.Scenario) { s.Connectors[0].Lan = prefix("100.97.0.0/16") }, "connectors[0].lan", "reserved for client devices"},
		{"connector without a second address", func(s *spec.Scenario) { s.Connectors[0].Lan = prefix("10.1.0.0/30") }, "connectors[0].lan", "translated to"},
		{"connector in no network", func(s *spec.Scenario) { s.Connectors[0].VNet = "red" }, "connectors[0].vnet", `"red"`},
		{"traffic from behind a translation", func(s *spec.Scenario) { s.Traffic[0].From = "office.files" }, "traffic[0].from", "want source: preserve"},
		{"route by a device", func(s *spec.Scenario) { s.Routes = []spec.Route{{Prefix: prefix("10.3.0.0/16"), Via: "laptop.1"}} }, "routes[0].via", "laptop.1"},
		{"written and implied route", func(s *spec.Scenario) {
			s.Connectors = append(s.Connectors, spec.Connector{ID: "depot", Lan: prefix("10.4.0.0/16")})
			s.Account.Routes = []spec.Route{{Prefix: prefix("10.1.0.0/16"), Via: "depot", VNet: "blue"}}
		}, "connectors[0].lan", "error 1014"},
		{"interconnect wider than its link", func(s *spec.Scenario) { s.Sites[0].OnRamps[0] = spec.OnRamp{ID: "x", Type: "interconnect", MTU: 1501} }, "sites[0].onramps[0].mtu", "1500"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := connectedScenario()
			tc.change(s)
			_, err := Compile(s)
			if !slices.ContainsFunc(Errors(err), func(e *Error) bool { return e.Path == tc.path && strings.Contains(e.Msg, tc.msg) }) {
				t.Errorf("got %v, want %s: … %s …", err, tc.path, tc.msg)
			}
		})
	}
}

// A private network, or a site with an interconnect, may be IPv6: its tunnel or
// link is numbered in it too, and the lab's outside stays IPv4.
func TestConnectedSix(t *testing.T) {
	s := withSix(overlapping())
	s.Sites[3].OnRamps = []spec.OnRamp{{ID: "cross", Type: "interconnect"}}
	for i, source := range []string{spec.Translate, spec.Preserve} {
		s.Connectors = append(s.Connectors, spec.Connector{
			ID: "office" + strconv.Itoa(i), Lan: prefix(fmt.Sprintf("fd00:%d::/64", 5+i)), Source: source,
			Hosts: map[string]spec.Host{"db": {Address: addr(fmt.Sprintf("fd00:%d::1", 5+i))}},
		})
	}
	s.Traffic = []spec.Traffic{{ID: "a", From: "shop6.*.till", To: "office0.db", TCP: 443}, {ID: "b", From: "office1.db", To: "web6", TCP: 443}}
	p := compile(t, s)
	checkLinks(t, p)
	checkConfigs(t, p)
	checkConnected(t, p)
	w := newWorld(p)
	if ends := w.walk("shop6.1.till", addr("2001:db8::9")); !only(ends, "listener on lhr.edge") {
		t.Errorf("the site goes to %v", ends)
	}
	if ends := w.walk("office1.db", addr("2001:db8::9")); !only(ends, "tunnel") {
		t.Errorf("who preserves sources goes to %v", ends)
	}
	b, _ := p.Branch("office0.router")
	if tun := b.Tunnels[0]; !tun.Inner6.IsValid() || tun.Connect.NAT != addr("fd00:5::3") {
		t.Errorf("tunnel %+v, want IPv6 inside and a second address", tun)
	}
}
