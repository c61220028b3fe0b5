package plan

import (
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// ask sends a datagram from a branch's till into the hub of a server, which
// must be alone in its datacenter, and returns the hub and what it said.
func ask(t *testing.T, p *Plan, server string, site int, dst string) (*hub.Hub, hub.Out) {
	t.Helper()
	s, ok := p.Server(server)
	if !ok {
		t.Fatalf("no server %s", server)
	}
	h, err := hub.New(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	r := s.Config.OnRamps[site-1]
	inner := hubtest.IP{Src: netip.MustParseAddrPort("10.0.1.5:40000"), Dst: netip.MustParseAddrPort(dst)}
	var out hub.Out
	h.HandlePacket(0, &hub.Packet{Data: hubtest.GRE(r.Remote, r.Local, r.Key, inner.UDP())}, &out)
	return h, out
}

// TestRT7: a packet for a prefix that has routes in other regions alone raises
// the drop counter, although a shorter route covers it. SEMANTICS RT-7.
func TestRT7(t *testing.T) {
	s := overlapping()
	s.Datacenters = []spec.Datacenter{
		{ID: "lhr", Egress: []spec.Egress{{Prefix: prefix("198.51.100.0/32")}}},
		{ID: "nrt", Egress: []spec.Egress{{Prefix: prefix("198.51.100.1/32")}}},
	}
	for i := range s.Sites {
		s.Sites[i].Near = near("lhr")
	}
	s.Routes = []spec.Route{
		{Prefix: prefix("10.0.0.0/8"), Via: "shop.2.wan"},
		{Prefix: prefix("10.7.0.0/16"), Via: "shop.3.wan", Regions: []string{"WEUR"}},
	}
	p := compile(t, s)
	for _, tt := range []struct {
		server, dst string
		routed      uint64
	}{{"lhr.1", "10.7.0.9:53", 1}, {"nrt.1", "10.7.0.9:53", 0}, {"nrt.1", "10.8.0.9:53", 1}} {
		h, _ := ask(t, p, tt.server, 1, tt.dst)
		if c := h.Counters(); c.Routed != tt.routed || c.Drops[drop.NullRouted] != 1-tt.routed {
			t.Errorf("%s at %s: %d routed, %d null-routed, want %d and %d", tt.dst, tt.server, c.Routed, c.Drops[drop.NullRouted], tt.routed, 1-tt.routed)
		}
	}
}

// TestVN7: the session says which virtual network it is in, and the plan has
// the name. SEMANTICS VN-7.
func TestVN7(t *testing.T) {
	for _, standard := range []string{"default", "blue", "red"} {
		s := overlapping()
		s.Datacenters = []spec.Datacenter{{ID: "lhr", Egress: []spec.Egress{{Prefix: prefix("198.51.100.0/32")}}}}
		s.Sites[2].Near = near("lhr")
		s.Account = &spec.Account{VNets: []spec.VNet{{ID: "blue", Default: standard == "blue"}, {ID: "red", Default: standard == "red"}}}
		p := compile(t, s)
		_, out := ask(t, p, "lhr.1", 2, "203.0.113.9:53")
		i := 0
		for i < len(out.Events) && out.Events[i].Kind != hub.FlowStart {
			i++
		}
		if i == len(out.Events) {
			t.Fatalf("no flow started: %+v", out.Events)
		}
		one := out.Events[i].Session
		if got := p.Names().VNets[one.Tenant][one.VNet]; got != standard {
			t.Errorf("the session is in network %d, %q, want %q", one.VNet, got, standard)
		}
	}
}
