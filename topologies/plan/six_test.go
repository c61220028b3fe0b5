package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/topologies/spec"
	"pgregory.net/rapid"
)

// withSix is s with IPv6 beside its IPv4: an egress prefix for each datacenter,
// a copy of each site in fd00:1::/64, and of each origin.
func withSix(s *spec.Scenario) *spec.Scenario {
	for i := range s.Datacenters {
		d := &s.Datacenters[i]
		d.Egress = append(d.Egress, spec.Egress{Prefix: prefix(fmt.Sprintf("2001:db8:%d00::/64", i+1)), Country: "GB"})
	}
	for _, o := range slices.Clone(s.Sites) {
		hosts := map[string]spec.Host{"till": {Address: addr("fd00:1::5")}, "desk": {Address: addr("fd00:1::1")}}
		o.ID, o.Lan, o.Hosts = o.ID+"6", prefix("fd00:1::/64"), hosts
		s.Sites = append(s.Sites, o)
	}
	for i, o := range slices.Clone(s.Internet) {
		o.ID, o.Address = o.ID+"6", advance(addr("2001:db8::9"), i)
		s.Internet = append(s.Internet, o)
	}
	return s
}

// A reply to an IPv6 egress address is at its server without a hop through
// another, wherever it comes from (SEMANTICS SU-8); what is nobody's is dropped;
// tunnels and LANs know where their own packets go.
func TestSixHoldsTogether(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p, err := Compile(withSix(drawn(rt)))
		if err != nil {
			rt.Fatal(err)
		}
		checkLinks(rt, p)
		checkFlows(rt, p)
		checkConfigs(rt, p)
		checkSix(rt, p)
	})
}

func checkSix(t fataler, p *Plan) {
	t.Helper()
	w := newWorld(p)
	want := func(from string, dst netip.Addr, nodes ...string) map[string]string {
		t.Helper()
		ends := w.walk(from, dst)
		if !only(ends, nodes...) {
			t.Fatalf("from %s to %v: ends at %v, want %v", from, dst, ends, nodes)
		}
		return ends
	}
	servers := map[ident.Server]string{}
	for _, s := range p.Servers {
		servers[s.Config.Self] = s.Node
	}
	owned := map[string]int{}
	for _, a := range p.Servers[0].Config.Egress {
		if a.Addr.Is4() {
			continue
		}
		owner := servers[a.Owner[1]]
		owned[owner]++
		for _, n := range p.Nodes {
			if (n.Kind == KindOrigin && n.Address.Is6()) || n.Kind == KindEdge || n.Kind == KindTransit {
				want(n.ID, a.Addr, owner)
			}
		}
	}
	for _, node := range servers {
		if owned[node] == 0 {
			t.Fatalf("%s has no IPv6 address of its own", node)
		}
	}
	for _, n := range p.Nodes {
		switch {
		case n.Kind == KindOrigin && n.Address.Is6():
			want(n.ID, addr("fd00:1::5"), "dropped")
			want(n.ID, addr("2001:db8:100::ffff"), "dropped")
			for _, s := range p.Servers[:1] {
				want(s.Node, n.Address, n.ID)
			}
		case n.Kind == KindBranch && n.LAN.Addr().Is6():
			want(n.ID, addr("2001:db8::1"), "tunnel", "listener on "+n.Datacenter+".edge")
			want(n.ID, addr("fd00:1::77"), "dropped")
			want(n.Site+".till", addr("fd00:1::1"), n.Site+".desk")
		}
	}
	for _, b := range p.Branches {
		six := w.nodes[b.Node].LAN.Addr().Is6()
		for _, tun := range b.Tunnels {
			if tun.Inner6.IsValid() != six || six && (tun.Peer6 != tun.Inner6.Prev() || !labRange6.Contains(tun.Peer6)) {
				t.Fatalf("tunnel %s has %v and %v inside", tun.Name, tun.Inner6, tun.Peer6)
			}
			r := p.Servers[0].Config.OnRamps[tun.OnRamp-1]
			if r.Address6 != tun.Peer6 {
				t.Fatalf("servers have %v in tunnel %s, want %v", r.Address6, tun.Name, tun.Peer6)
			}
		}
	}
}

// ASes carry both families over their sessions, and each by the neighbour's address
// of that family (RFC 4760); what datacenters announce of IPv6 obeys announce.
func TestSixByBGP(t *testing.T) {
	s := withSix(two())
	s.Sites = s.Sites[:1]
	s.Announce = []spec.Announce{{Prefix: "2001:db8:100::/64", From: []string{"cdg"}}}
	p := compile(t, s)
	checkLinks(t, p)
	checkConfigs(t, p)
	checkSix(t, p)
	carrier, _ := p.Node("transit.carrier")
	session, _ := p.Speaker("transit.carrier")
	want := map[string]string{"2001:db8:100::/64": "transit.fr", "2001:db8:200::/64": "transit.uk", "198.51.100.0/31": "transit.uk"}
	for to, by := range want {
		i := slices.IndexFunc(carrier.Routes, func(r KernelRoute) bool { return r.To == prefix(to) && r.Learned })
		if i < 0 || session.Sessions[session.By(carrier.Routes[i].Hops[0].Via)].Node != by || carrier.Routes[i].Hops[0].Via.Is6() != prefix(to).Addr().Is6() {
			t.Errorf("the carrier's routes are %v, want %s by %s", carrier.Routes, to, by)
		}
	}
}

// Nothing of the lab is IPv6 where nothing of the scenario is.
func TestNoSixWithoutIt(t *testing.T) {
	p := compile(t, overlapping())
	for _, l := range p.Links {
		for _, a := range slices.Concat(l.A.Addresses, l.B.Addresses) {
			if a.Addr().Is6() {
				t.Errorf("link %s has %v", l.ID, a)
			}
		}
	}
	for _, n := range p.Nodes {
		for _, r := range n.Routes {
			if r.To.Addr().Is6() {
				t.Errorf("%s has a route to %v", n.ID, r.To)
			}
		}
	}
}

// What is outside a tunnel stays IPv4: a branch's WAN has no IPv6, whatever is inside.
func TestSixInsideFourOutside(t *testing.T) {
	p := compile(t, withSix(overlapping()))
	seen := 0
	for _, l := range p.Links {
		six := slices.ContainsFunc(l.A.Addresses, func(a netip.Prefix) bool { return a.Addr().Is6() })
		if l.Class == ClassAccess && six {
			t.Errorf("access link %s has %v", l.ID, l.A.Addresses)
		}
		if (l.Class == ClassServer || l.Class == ClassEdge) && !six {
			t.Errorf("link %s has no IPv6", l.ID)
		}
		seen++
	}
	for _, r := range p.Servers[0].Config.OnRamps {
		if !r.Local.Is4() || !r.Remote.Is4() {
			t.Errorf("on-ramp %s is outside %v > %v", r.Name, r.Local, r.Remote)
		}
	}
	if seen == 0 {
		t.Error("no links")
	}
}

// Servers have a source of IPv6 for flows to private networks of IPv6, where
// there are any, each out of the reserved range and a server's own.
func TestSixSources(t *testing.T) {
	s := withSix(overlapping())
	for _, lan := range []string{"10.9.0.0/24", "fd00:9::/64"} {
		s.Connectors = []spec.Connector{{ID: "dc", Lan: prefix(lan), Source: spec.Translate, Near: near("lhr"), Hosts: map[string]spec.Host{}}}
		p := compile(t, s)
		six := map[netip.Addr]ident.Server{}
		for _, src := range p.Servers[0].Config.Sources {
			if src.Addr.Is6() {
				six[src.Addr] = src.Server
			}
		}
		want := 0
		if prefix(lan).Addr().Is6() {
			want = len(p.Servers)
		}
		if len(six) != want {
			t.Errorf("connector at %s: %d sources of IPv6, want %d: %v", lan, len(six), want, six)
		}
		for a := range six {
			if !sourceRange6.Contains(a) || a == sourceRange6.Addr() {
				t.Errorf("source %v is outside %v", a, sourceRange6)
			}
		}
	}
}

func TestSixMistakes(t *testing.T) {
	for _, tc := range []struct {
		name      string
		change    func(*spec.Scenario)
		path, msg string
	}{
		{"egress in the lab's range", func(s *spec.Scenario) { s.Datacenters[0].Egress[1].Prefix = prefix("2001:2:0:8::/64") }, "datacenters[0].egress[1]", "2001:2::/48"},
		{"egress too small", func(s *spec.Scenario) { s.Datacenters[0].Egress[1].Prefix = prefix("2001:db8:100::/127") }, "datacenters[0].egress[1]", "too few egress addresses"},
		{"slices", func(s *spec.Scenario) { s.Datacenters[0].Egress[1].Slices = map[int]int{1: 1} }, "datacenters[0].egress[1].slices", "want no slices"},
		{"egress twice", func(s *spec.Scenario) { s.Datacenters[1].Egress[1].Prefix = prefix("2001:db8:100::/80") }, "datacenters[1].egress[1]", "overlaps 2001:db8:100::/64"},
		{"lan in the lab's range", func(s *spec.Scenario) { s.Sites[3].Lan = prefix("2001:2::/64") }, "sites[3].lan", "2001:2::/48"},
		{"host at the routers' address", func(s *spec.Scenario) { s.Sites[3].Hosts["till"] = spec.Host{Address: addr("fd00:1::")} }, "sites[3].hosts.till", "fd00:1::"},
		{"tunnel too narrow", func(s *spec.Scenario) { s.Sites[3].OnRamps = []spec.OnRamp{{ID: "wan", MTU: 1279}} }, "sites[3].onramps[0].mtu", "1280"},
		{"origin in egress", func(s *spec.Scenario) { s.Internet[1].Address = addr("2001:db8:100::7") }, "internet[1].address", "2001:db8:100::/64 of lhr"},
		{"origin in the lab's range", func(s *spec.Scenario) { s.Internet[1].Address = addr("2001:2::1") }, "internet[1].address", "2001:2::/48"},
		{"traffic between families", func(s *spec.Scenario) { s.Traffic[0].From = "*.*.till" }, "traffic[0].to", "two families"},
	} {
		s := withSix(overlapping())
		tc.change(s)
		_, err := Compile(s)
		found := slices.ContainsFunc(Errors(err), func(e *Error) bool { return e.Path == tc.path && strings.Contains(e.Msg, tc.msg) })
		if !found {
			t.Errorf("%s: got %v, want %s: …%s…", tc.name, err, tc.path, tc.msg)
		}
	}
}
