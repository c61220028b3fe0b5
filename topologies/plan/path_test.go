package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// world walks packets over a plan's kernel routes, as the kernels would.
type world struct {
	p     *Plan
	nodes map[string]*Node
	own   map[string][]netip.Prefix // node → its addresses
	ends  map[string][2]Endpoint    // node/interface → this end and the other
	wires map[string][]Endpoint     // node → its ends of links
}

func newWorld(p *Plan) *world {
	w := &world{p: p, nodes: map[string]*Node{}, own: map[string][]netip.Prefix{}, ends: map[string][2]Endpoint{}, wires: map[string][]Endpoint{}}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		w.nodes[n.ID] = n
		w.own[n.ID] = slices.Clone(n.Loopback)
	}
	for _, l := range p.Links {
		for _, ends := range [][2]Endpoint{{l.A, l.B}, {l.B, l.A}} {
			e := ends[0]
			w.own[e.Node] = append(w.own[e.Node], e.Addresses...)
			w.ends[e.Node+"/"+e.Interface] = ends
			w.wires[e.Node] = append(w.wires[e.Node], e)
		}
	}
	return w
}

// walk returns every node where a packet to dst can end, by ECMP's choices,
// with the way there: "dropped" for a blackhole or no route, "tunnel" for a
// branch's tunnel, "listener on lhr.edge" for an interconnect, "loop" for one
// that does not end.
func (w *world) walk(from string, dst netip.Addr) map[string]string {
	ends := map[string]string{}
	w.step(from, dst, from, 0, ends)
	return ends
}

func (w *world) step(at string, dst netip.Addr, way string, depth int, ends map[string]string) {
	n := w.nodes[at]
	hold := func(p netip.Prefix) bool { return p.Addr() == dst }
	switch {
	case depth > 12:
		ends["loop"] = way
		return
	case slices.ContainsFunc(w.own[at], hold):
		ends[at] = way
		return
	case depth > 0 && n.Kind == KindServer:
		ends[at] = way // the hub takes it
		return
	case depth > 0 && !n.Forward:
		ends["dropped"] = way
		return
	}
	var best *KernelRoute
	for i := range n.Routes {
		if r := &n.Routes[i]; r.To.Contains(dst) && (best == nil || r.To.Bits() > best.To.Bits()) {
			best = r
		}
	}
	for _, e := range w.wires[at] {
		for _, a := range e.Addresses {
			if a.Contains(dst) && (best == nil || a.Bits() > best.To.Bits()) {
				best = &KernelRoute{To: a, Hops: []Hop{{Interface: e.Interface}}}
			}
		}
	}
	if best == nil || len(best.Hops) == 0 {
		ends["dropped"] = way
		return
	}
	for _, h := range best.Hops {
		link, wire := w.ends[at+"/"+h.Interface]
		via := dst
		if h.Via.IsValid() {
			via = h.Via
		}
		switch next := link[1].Node; {
		case !wire:
			ends["tunnel"] = way
		case !slices.Contains(link[0].Neighbors, via):
			ends["unresolved"] = way
		case link[0].NeighborMAC != nil:
			ends["listener on "+next] = way // whose kernel takes it for somebody else's
		default:
			w.step(next, dst, way+" "+next, depth+1, ends)
		}
	}
}

// only says whether a packet ends at one of the nodes, whatever ECMP does.
func only(ends map[string]string, nodes ...string) bool {
	for e := range ends {
		if !slices.Contains(nodes, e) {
			return false
		}
	}
	return len(ends) > 0
}

// checkPaths walks every kind of packet of the lab.
func checkPaths(t fataler, p *Plan) {
	t.Helper()
	w := newWorld(p)
	servers := map[string][]string{}
	for _, s := range p.Servers {
		servers[s.Datacenter] = append(servers[s.Datacenter], s.Node)
	}
	want := func(from string, dst netip.Addr, nodes ...string) {
		t.Helper()
		if ends := w.walk(from, dst); !only(ends, nodes...) {
			t.Fatalf("from %s to %v: ends at %v, want %v", from, dst, ends, nodes)
		}
	}
	common := p.Servers[0].Config
	// Of many servers a few say it all.
	few := p.Servers
	if len(few) > 6 {
		few = slices.Concat(few[:3], few[len(few)-3:])
	}
	for _, b := range p.Branches {
		n := w.nodes[b.Node]
		if b.WAN != "" {
			want(b.Node, tunnelAddr, servers[n.Datacenter]...)
		}
		if n.Kind == KindBranch {
			want(b.Node, addr("203.0.113.1"), "tunnel", "listener on "+n.Datacenter+".edge")
			want(b.Node, addr("10.0.1.77"), "dropped")
			want(b.Site+".till", addr("10.0.1.1"), b.Site+".desk")
		}
		for _, tun := range b.Tunnels {
			for _, s := range few {
				want(s.Node, tun.Local, b.Node)
			}
		}
	}
	for _, s := range few {
		for _, peer := range few {
			if peer.Node == s.Node {
				continue
			}
			want(s.Node, peer.Handover, peer.Node)
			for _, way := range w.walk(s.Node, peer.Handover) {
				if strings.Contains(way, "transit") {
					t.Fatalf("hand-over leaves the network: %s", way)
				}
			}
		}
	}
	for _, n := range p.Nodes {
		if n.Kind != KindOrigin {
			continue
		}
		want(n.ID, common.Servers[0].Handover, "dropped")
		want(n.ID, addr("10.0.1.5"), "dropped")
		for _, a := range common.Egress {
			want(n.ID, a.Addr, servers[n.Datacenter]...)
		}
		for _, s := range few {
			want(s.Node, n.Address, n.ID)
		}
	}
}

func TestMaintenanceMovesIngress(t *testing.T) {
	s := overlapping()
	p := compile(t, s)
	if n, _ := p.Node("shop.3.till"); n.Datacenter != "cdg" {
		t.Fatalf("shop.3 lands in %s, want cdg", n.Datacenter)
	}
	s.Datacenters[1].Maintenance = true
	p = compile(t, s)
	if n, _ := p.Node("shop.3.till"); n.Datacenter != "lhr" {
		t.Errorf("with cdg in maintenance shop.3 lands in %s, want lhr", n.Datacenter)
	}
	if ends := newWorld(p).walk("shop.3.router", tunnelAddr); !only(ends, "lhr.1", "lhr.2") {
		t.Errorf("with cdg in maintenance tunnels end at %v", ends)
	}
}

// Of two datacenters in one place the first takes what arrives.
func TestFirstOfOnePlace(t *testing.T) {
	s := overlapping()
	s.Datacenters = append(s.Datacenters, spec.Datacenter{ID: "north", Place: "cdg"})
	p := compile(t, s)
	if n, _ := p.Node("shop.3.till"); n.Datacenter != "cdg" {
		t.Errorf("shop.3 lands in %s, want cdg", n.Datacenter)
	}
	checkLinks(t, p)
	s.Datacenters[1].Maintenance = true
	if n, _ := compile(t, s).Node("shop.3.till"); n.Datacenter != "north" {
		t.Errorf("with cdg in maintenance shop.3 lands in %s, want north", n.Datacenter)
	}
}

func TestNearest(t *testing.T) {
	for _, tc := range []struct{ near, want string }{
		{"cdg", "cdg"}, {"ams", "lhr"}, {"lyon", ""}, {"mad", "cdg"}, {"jfk", "lhr"}, {"", "lhr"},
	} {
		s := overlapping()
		s.Sites[0].Near = spec.Near{{Code: tc.near, Share: 1}}
		p, err := Compile(s)
		if tc.want == "" {
			if err == nil {
				t.Errorf("near %s: planned, want an error", tc.near)
			}
			continue
		}
		if err != nil {
			t.Errorf("near %s: %v", tc.near, err)
			continue
		}
		if n, _ := p.Node("shop.1.router"); n.Datacenter != tc.want {
			t.Errorf("near %s: lands in %s, want %s", tc.near, n.Datacenter, tc.want)
		}
	}
}
