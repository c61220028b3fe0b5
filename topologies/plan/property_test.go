package plan

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/spec"
	"pgregory.net/rapid"
)

// near is a place alone.
func near(code string) spec.Near { return spec.Near{{Code: code, Share: 1}} }

// large is a scenario of n sites in two datacenters, with ten origins.
func large(n int) *spec.Scenario {
	s := overlapping()
	s.Sites, s.Internet = nil, nil
	for i := range n {
		s.Sites = append(s.Sites, spec.Site{
			ID: "a_shop_with_a_long_name", Instance: i + 1, Near: near([]string{"lhr", "cdg", "ams"}[i%3]), Lan: prefix("10.0.1.0/24"),
			Hosts:   map[string]spec.Host{"till": {Address: addr("10.0.1.5")}, "desk": {Address: addr("10.0.1.6")}},
			OnRamps: []spec.OnRamp{{ID: "wan", Type: "gre", ARR: true}, {ID: "spare", Type: "gre"}},
		})
	}
	for i := range 10 {
		s.Internet = append(s.Internet, spec.InternetHost{ID: "web", Instance: i + 1, Address: advance(addr("203.0.113.1"), i), Near: near("jfk"), Serve: []string{"http", "echo"}})
	}
	// At most 64 of one priority.
	for i := range n {
		s.Routes = append(s.Routes, spec.Route{Prefix: prefix("10.0.1.0/24"), Via: fmt.Sprintf("*.%d.wan", i+1), Priority: 100 + i/route.MaxEqual})
	}
	s.Traffic = []spec.Traffic{
		{ID: "web", From: "*.*.till", To: "web.*", TCP: 443, Flows: 3},
		{ID: "fixed", From: "*.*.desk", To: "web.*", UDP: 53, Flows: 3, SourcePort: 40000},
		{ID: "ping", From: "*.*.*", To: "web.1", ICMP: 65530, Flows: 6},
	}
	return s
}

// drawn draws a scenario: up to four datacenters, some of one place, some in
// maintenance, with sites and origins near to and far from them.
func drawn(t *rapid.T) *spec.Scenario {
	s := overlapping()
	s.Datacenters, s.Sites, s.Internet = nil, nil, nil
	s.Seed = rapid.Uint64().Draw(t, "seed")
	codes := []string{"lhr", "cdg", "nrt", "lhr"}
	for i := range rapid.IntRange(1, 4).Draw(t, "datacenters") {
		d := spec.Datacenter{ID: "dc" + strconv.Itoa(i), Place: codes[i], Servers: rapid.SampledFrom([]int{1, 2, 3, 31, 32}).Draw(t, "servers")}
		d.Egress = []spec.Egress{{Prefix: prefix(fmt.Sprintf("198.51.100.%d/30", 4*i))}}
		d.Maintenance = i > 0 && rapid.Bool().Draw(t, "maintenance")
		s.Datacenters = append(s.Datacenters, d)
	}
	where := rapid.SampledFrom([]string{"lhr", "cdg", "nrt", "syd", "jfk"})
	for i := range rapid.IntRange(1, 5).Draw(t, "sites") {
		s.Sites = append(s.Sites, spec.Site{
			ID: "shop", Instance: i + 1, Near: near(where.Draw(t, "near")), Lan: prefix("10.0.1.0/24"),
			Hosts:   map[string]spec.Host{"till": {Address: addr("10.0.1.5")}, "desk": {Address: addr("10.0.1.1")}},
			OnRamps: []spec.OnRamp{{ID: "wan", Type: drawType(t), VLAN: 7}, {ID: "spare", Type: drawType(t)}},
		})
	}
	drawAccounts(t, s)
	drawConnected(t, s)
	for i := range rapid.IntRange(1, 3).Draw(t, "origins") {
		s.Internet = append(s.Internet, spec.InternetHost{ID: "web", Instance: i + 1, Address: advance(addr("203.0.113.1"), i), Near: near(where.Draw(t, "near"))})
	}
	s.Traffic = []spec.Traffic{
		{ID: "a", From: "shop.*.*", To: "web.*", TCP: 443, Flows: rapid.IntRange(1, 10).Draw(t, "flows"), Rate: rapid.SampledFrom([]float64{0, 0.5, 3, 1000}).Draw(t, "rate")},
		{ID: "c", From: "*.*", To: "web.*", TCP: 80},
		{ID: "b", From: "shop.*.*", To: "web.1", TCP: 80, Flows: 3, SourcePort: rapid.SampledFrom([]int{1, 32767, 32768, 40000, 60998, 65533}).Draw(t, "port")},
	}
	return s
}

// drawAccounts gives the sites to two accounts, with virtual networks and
// routes of all scopes.
func drawAccounts(t *rapid.T, s *spec.Scenario) {
	s.Accounts = []spec.Account{{ID: "a", VNets: []spec.VNet{{ID: "blue", Default: rapid.Bool().Draw(t, "default")}}}, {ID: "b"}}
	for i := range s.Sites {
		s.Sites[i].Account = []string{"a", "b"}[i%2]
	}
	for i := range s.Accounts[:min(2, len(s.Sites))] {
		for range rapid.IntRange(0, 4).Draw(t, "routes") {
			r := spec.Route{
				Prefix: prefix(rapid.SampledFrom([]string{"10.0.0.0/8", "10.0.1.0/24", "203.0.113.0/24"}).Draw(t, "prefix")),
				Via:    fmt.Sprintf("shop.%d.%s", i+1, rapid.SampledFrom([]string{"wan", "spare", "*"}).Draw(t, "via")),
			}
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				r.Source, r.Communities, r.Prepend = "bgp", []string{"13335:60150"}, rapid.IntRange(0, 2).Draw(t, "prepend")
			case 1:
				r.Datacenters = []string{s.Datacenters[0].ID}
			case 2:
				r.Regions, r.Priority = []string{rapid.SampledFrom([]string{"WEUR", "APAC"}).Draw(t, "region")}, rapid.IntRange(1, 3).Draw(t, "priority")
			}
			before := s.Accounts[i].Routes
			s.Accounts[i].Routes = append(before[:len(before):len(before)], r)
			alone := *s
			alone.Traffic, alone.Internet = nil, nil
			if _, err := Compile(&alone); err != nil {
				if !strings.Contains(err.Error(), "error 1014") {
					t.Fatal(err)
				}
				s.Accounts[i].Routes = before
			}
		}
	}
}

func TestPlanHoldsTogether(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p, err := Compile(drawn(rt))
		if err != nil {
			rt.Fatal(err)
		}
		checkLinks(rt, p)
		checkFlows(rt, p)
		checkConfigs(rt, p)
		checkPaths(rt, p)
		checkConnected(rt, p)
	})
}

func TestLargePlanHoldsTogether(t *testing.T) {
	p := compile(t, large(100))
	checkLinks(t, p)
	checkFlows(t, p)
	checkConfigs(t, p)
}

// fataler is testing.TB or rapid.T.
type fataler interface {
	Fatalf(format string, args ...any)
	Helper()
}

// checkLinks: ends exist, names and numbers are unique, each end knows the other.
func checkLinks(t fataler, p *Plan) {
	t.Helper()
	macs, wan, names := map[string]string{}, map[netip.Addr]string{}, map[string]bool{}
	tunnels := map[string]bool{}
	for _, b := range p.Branches {
		for _, tun := range b.Tunnels {
			tunnels[b.Node+"/"+tun.Interface] = true
			for _, m := range []string{tun.MAC.String(), tun.PeerMAC.String()} {
				if macs[m] != "" {
					t.Fatalf("MAC %s of %s is also that of %s", m, tun.Name, macs[m])
				}
				macs[m] = tun.Name
			}
		}
	}
	for _, l := range p.Links {
		for _, ends := range [][2]Endpoint{{l.A, l.B}, {l.B, l.A}} {
			e, peer := ends[0], ends[1]
			if _, ok := p.Node(e.Node); !ok {
				t.Fatalf("link %s: no node %s", l.ID, e.Node)
			}
			if n := len(e.Interface); n == 0 || n > maxInterface || names[e.Node+"/"+e.Interface] {
				t.Fatalf("link %s: interface %q of %s is too long or taken", l.ID, e.Interface, e.Node)
			}
			names[e.Node+"/"+e.Interface] = true
			if m := e.MAC.String(); len(e.MAC) != 6 || macs[m] != "" {
				t.Fatalf("link %s: MAC %s is also that of %s", l.ID, m, macs[m])
			}
			macs[e.MAC.String()] = l.ID
			for _, a := range e.Addresses {
				if !slices.Contains(peer.Neighbors, a.Addr()) {
					t.Fatalf("link %s: %s does not know its neighbour %v", l.ID, peer.Node, a)
				}
				if l.Class == ClassLAN {
					continue // a site's own, overlapping on purpose
				}
				if wan[a.Addr()] != "" {
					t.Fatalf("address %v of %s is also that of %s", a, l.ID, wan[a.Addr()])
				}
				wan[a.Addr()] = l.ID
			}
		}
	}
	for _, n := range p.Nodes {
		seen := map[netip.Prefix]bool{}
		for _, r := range n.Routes {
			if seen[r.To] || r.To != r.To.Masked() {
				t.Fatalf("%s: second or sloppy route to %v", n.ID, r.To)
			}
			seen[r.To] = true
			for _, h := range r.Hops {
				if at := n.ID + "/" + h.Interface; !names[at] && !tunnels[at] {
					t.Fatalf("%s: route to %v by %s, which does not exist", n.ID, r.To, h.Interface)
				}
			}
		}
	}
}

// checkFlows: what a client binds is its own, and drawn ports are in range.
func checkFlows(t fataler, p *Plan) {
	t.Helper()
	ports, nonces, number := map[binding]bool{}, map[uint64]bool{0: true}, map[string]bool{}
	for i, f := range p.Flows {
		k := binding{f.Client, f.Proto, f.Src.Port(), f.Dst}
		if ports[k] || f.Src.Port() == 0 {
			t.Fatalf("flow %s %d: %v to %v is taken", f.Traffic, f.N, f.Src, f.Dst)
		}
		ports[k] = true
		if n := fmt.Sprint(f.Traffic, f.N); number[n] || nonces[f.Nonce] {
			t.Fatalf("flow %s %d: number or nonce %x is taken", f.Traffic, f.N, f.Nonce)
		} else {
			number[n], nonces[f.Nonce] = true, true
		}
		if i > 0 && f.Start < p.Flows[i-1].Start || f.Start+f.Timeout > p.Length {
			t.Fatalf("flow %s %d: start %v out of order or end after %v", f.Traffic, f.N, f.Start, p.Length)
		}
		c, _ := p.Node(f.Client)
		s, _ := p.Node(f.Server)
		if c == nil || s == nil || c.Address != f.Src.Addr() || s.Address != f.Dst.Addr() || c.Datacenter != f.Ingress {
			t.Fatalf("flow %+v does not fit %+v and %+v", f, c, s)
		}
	}
}

// checkConfigs: every server has the same configuration but for routes with a
// scope, which are its datacenter's, the dataplane takes it, and the slices of every address are divided among its datacenter's servers.
func checkConfigs(t fataler, p *Plan) {
	t.Helper()
	first := p.Servers[0].Config
	home := map[ident.Server]ident.Datacenter{}
	for i, s := range p.Servers {
		if s.Config.Self != ident.Server(i+1) || first.Servers[i].Name != s.Node || first.Servers[i].Handover != s.Handover {
			t.Fatalf("server %s is number %d", s.Node, s.Config.Self)
		}
		home[s.Config.Self] = first.Servers[i].Datacenter
		c := s.Config
		c.Self = first.Self
		if home[s.Config.Self] != first.Servers[0].Datacenter {
			c.Routes, c.Distances = first.Routes, first.Distances
		}
		if s.Index == 1 {
			if _, err := hub.New(s.Config); err != nil {
				t.Fatalf("server %s: %v", s.Node, err)
			}
		}
		if !reflect.DeepEqual(c, first) {
			t.Fatalf("server %s has a configuration of its own", s.Node)
		}
	}
	if _, err := egress.NewDirectory(first.Egress); err != nil {
		t.Fatalf("egress: %v", err)
	}
	owns := map[ident.Server]bool{}
	for _, a := range first.Egress {
		for slice, o := range a.Owner {
			if o == 0 {
				continue
			}
			if slice == 0 || home[o] != a.Datacenter {
				t.Fatalf("slice %d of %v in datacenter %d is server %d's of %d", slice, a.Addr, a.Datacenter, o, home[o])
			}
			owns[o] = true
		}
	}
	if len(owns) != len(p.Servers) {
		t.Fatalf("%d of %d servers own a slice", len(owns), len(p.Servers))
	}
	outer := map[netip.Addr]bool{}
	for _, o := range first.OnRamps {
		// Interconnects of one edge share its address; connected tunnels have none
		// that servers know.
		if outer[o.Remote] && o.Kind == tunnel.GRE || o.Scope != ident.Scope(o.ID) {
			t.Fatalf("on-ramp %+v: outer address or scope is taken", o)
		}
		outer[o.Remote] = true
	}
}

func TestCompileIsPure(t *testing.T) {
	s, before := large(10), large(10)
	a, b := compile(t, s), compile(t, s)
	if !reflect.DeepEqual(s, before) {
		t.Error("Compile changed the scenario")
	}
	if a.Fingerprint() != b.Fingerprint() {
		t.Errorf("fingerprints %s and %s of one scenario", a.Fingerprint(), b.Fingerprint())
	}
	s.Traffic[0].Flows++
	if c := compile(t, s); a.Fingerprint() == c.Fingerprint() {
		t.Error("another flow did not change the fingerprint")
	}
}

func TestPlanSurvivesJSON(t *testing.T) {
	want := compile(t, large(3))
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got := new(Plan)
	if err := json.Unmarshal(text, got); err != nil {
		t.Fatal(err)
	}
	if got.Fingerprint() != want.Fingerprint() {
		t.Error("the plan changed on its way through JSON")
	}
	if m := got.Links[0].A.MAC.String(); m != want.Links[0].A.MAC.String() || m == "" {
		t.Errorf("MAC %q, want %v", m, want.Links[0].A.MAC)
	}
}

func BenchmarkCompile100Sites(b *testing.B) {
	s := large(100)
	for b.Loop() {
		if _, err := Compile(s); err != nil {
			b.Fatal(err)
		}
	}
}
