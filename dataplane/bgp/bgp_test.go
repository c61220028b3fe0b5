package bgp_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/dataplane/route"
)

var anycast = netip.MustParsePrefix("198.51.100.0/24")

// graph is ASes with relations; customers have higher numbers than their
// providers, so that nobody pays himself.
type graph struct {
	n     int
	links []link
	// origins announce, as a datacenter: an AS of its own with one number for all.
	origins []int
}

type link struct {
	a, b     int
	relation bgp.Relation // what b is to a
	cost     uint32
}

func draw(t *rapid.T) graph {
	g := graph{n: rapid.IntRange(2, 12).Draw(t, "ases")}
	for a := range g.n {
		for b := a + 1; b < g.n; b++ {
			switch rapid.IntRange(0, 5).Draw(t, "relation") {
			case 0, 1:
				g.links = append(g.links, link{a, b, bgp.Customer, rapid.Uint32Range(0, 3).Draw(t, "cost")})
			case 2:
				g.links = append(g.links, link{a, b, bgp.Peer, rapid.Uint32Range(0, 3).Draw(t, "cost")})
			}
		}
	}
	for range rapid.IntRange(1, 3).Draw(t, "origins") {
		g.origins = append(g.origins, rapid.IntRange(0, g.n-1).Draw(t, "at"))
	}
	return g
}

// network builds the graph: routers 0 … n-1, then one for each origin, a customer
// of its AS.
func (g *graph) network(shuffle *rand.Rand) (*bgp.Network, []*bgp.Router) {
	links := slices.Clone(g.links)
	for i, at := range g.origins {
		links = append(links, link{at, g.n + i, bgp.Customer, uint32(i)})
	}
	if shuffle != nil {
		shuffle.Shuffle(len(links), func(i, j int) { links[i], links[j] = links[j], links[i] })
	}
	asn := func(r int) uint32 { return uint32(min(r, g.n) + 1) }
	id := func(r int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(r + 1)}) }
	sessions := make([][]bgp.Neighbor, g.n+len(g.origins))
	ends := make([][2]int, len(links))
	for i, l := range links {
		ends[i] = [2]int{len(sessions[l.a]), len(sessions[l.b])}
		sessions[l.a] = append(sessions[l.a], bgp.Neighbor{ASN: asn(l.b), ID: id(l.b), Relation: l.relation, Cost: l.cost})
		sessions[l.b] = append(sessions[l.b], bgp.Neighbor{ASN: asn(l.a), ID: id(l.a), Relation: l.relation.Reverse(), Cost: l.cost})
	}
	w := &bgp.Network{}
	var routers []*bgp.Router
	for r := range sessions {
		routers = append(routers, bgp.NewRouter(asn(r), sessions[r]))
		w.Add(routers[r])
	}
	for i, l := range links {
		w.Connect(l.a, ends[i][0], l.b, ends[i][1])
	}
	for i := range g.origins {
		w.Announce(g.n+i, anycast, []bgp.Origin{{Prefix: anycast}})
	}
	return w, routers
}

// oracle is routing under the rules of Gao and Rexford in three passes, with no
// message: up to providers, once over to peers, down to customers.
type oracle struct {
	g    *graph
	best []choice
}

type choice struct {
	known bool
	kind  bgp.Relation // of who told it
	hops  int
	next  int
	land  int
}

func (o *oracle) better(at int, a, b choice, cost func(at, next int) uint32) bool {
	return !b.known || cmp.Or(cmp.Compare(a.hops, b.hops), cmp.Compare(cost(at, a.next), cost(at, b.next)), cmp.Compare(a.next, b.next)) < 0
}

func solve(g *graph) []choice {
	links := slices.Clone(g.links)
	for i, at := range g.origins {
		links = append(links, link{at, g.n + i, bgp.Customer, uint32(i)})
	}
	o := oracle{g, make([]choice, g.n+len(g.origins))}
	costs := map[[2]int]uint32{}
	for _, l := range links {
		costs[[2]int{l.a, l.b}], costs[[2]int{l.b, l.a}] = l.cost, l.cost
	}
	cost := func(at, next int) uint32 { return costs[[2]int{at, next}] }
	for i := range g.origins {
		o.best[g.n+i] = choice{known: true, kind: bgp.Customer, land: g.n + i}
	}
	// Customers have higher numbers than providers: from the highest up.
	for at := g.n - 1; at >= 0; at-- {
		for _, l := range links {
			if c := o.best[l.b]; l.a == at && l.relation == bgp.Customer && c.known {
				if n := (choice{true, bgp.Customer, c.hops + 1, l.b, c.land}); o.better(at, n, o.best[at], cost) {
					o.best[at] = n
				}
			}
		}
	}
	over := slices.Clone(o.best)
	for at := range g.n {
		for _, l := range links {
			other := -1
			switch {
			case l.relation != bgp.Peer:
			case l.a == at:
				other = l.b
			case l.b == at:
				other = l.a
			}
			if other < 0 || o.best[at].known || !o.best[other].known {
				continue
			}
			if n := (choice{true, bgp.Peer, o.best[other].hops + 1, other, o.best[other].land}); o.better(at, n, over[at], cost) {
				over[at] = n
			}
		}
	}
	o.best = over
	for at := range g.n {
		if o.best[at].known {
			continue
		}
		for _, l := range links {
			if p := o.best[l.a]; l.b == at && l.relation == bgp.Customer && p.known {
				if n := (choice{true, bgp.Provider, p.hops + 1, l.a, p.land}); o.better(at, n, o.best[at], cost) {
					o.best[at] = n
				}
			}
		}
	}
	return o.best
}

// What messages come to is what three passes without any say, on any graph.
func TestFixpoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := draw(t)
		w, routers := g.network(nil)
		if !w.Settle(1e6) {
			t.Fatal("never quiet")
		}
		for at, want := range solve(&g)[:g.n] {
			land, ok := w.Catchment(at, anycast)
			if ok != want.known || ok && land != want.land {
				t.Errorf("AS %d lands at %d (%v), want %d (%v)", at, land, ok, want.land, want.known)
			}
			if p := routers[at].Path(anycast); ok && len(p.AS) != want.hops {
				t.Errorf("AS %d has a path of %d, want %d", at, len(p.AS), want.hops)
			}
		}
	})
}

// The order of sessions and of updates changes nothing, and neither does what was
// and is no more.
func TestHistoryIsForgotten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := draw(t)
		plain, _ := g.network(nil)
		plain.Settle(1e6)
		mixed, _ := g.network(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)))
		if rapid.Bool().Draw(t, "quiet before") {
			mixed.Settle(1e6)
		}
		mixed.Announce(g.n, anycast, nil)
		if rapid.Bool().Draw(t, "quiet between") {
			mixed.Settle(1e6)
		}
		mixed.Announce(g.n, anycast, []bgp.Origin{{Prefix: anycast}})
		if !mixed.Settle(1e6) {
			t.Fatal("never quiet")
		}
		for at := range g.n {
			a, okA := plain.Catchment(at, anycast)
			if b, okB := mixed.Catchment(at, anycast); a != b || okA != okB {
				t.Errorf("AS %d lands at %d, and by another history at %d", at, a, b)
			}
		}
	})
}

// line is isp – tier – far, each a customer of the next, and a datacenter that is
// a customer of isp and a peer of far.
func line(own ...bgp.Origin) (*bgp.Network, []*bgp.Router) {
	n := func(asn uint32, r bgp.Relation) bgp.Neighbor {
		return bgp.Neighbor{ASN: asn, ID: netip.AddrFrom4([4]byte{10, 0, 0, byte(asn)}), Relation: r}
	}
	routers := []*bgp.Router{
		bgp.NewRouter(1, []bgp.Neighbor{n(2, bgp.Provider), n(9, bgp.Customer)}),
		bgp.NewRouter(2, []bgp.Neighbor{n(1, bgp.Customer), n(3, bgp.Provider)}),
		bgp.NewRouter(3, []bgp.Neighbor{n(2, bgp.Customer), n(9, bgp.Peer)}),
		bgp.NewRouter(9, []bgp.Neighbor{n(1, bgp.Provider), n(3, bgp.Peer)}),
	}
	w := &bgp.Network{}
	for _, r := range routers {
		w.Add(r)
	}
	w.Connect(0, 0, 1, 0)
	w.Connect(1, 1, 2, 0)
	w.Connect(0, 1, 3, 0)
	w.Connect(2, 1, 3, 1)
	w.Announce(3, anycast, own)
	w.Settle(1e4)
	return w, routers
}

func TestAnnouncements(t *testing.T) {
	tests := map[string]struct {
		own  []bgp.Origin
		want string // the AS paths that AS 1, 2 and 3 have
	}{
		"everywhere":                     {[]bgp.Origin{{}}, "[9] [1 9] [2 1 9]"}, // a customer's before a peer's
		"to the peer alone":              {[]bgp.Origin{{To: []int{1}}}, "[2 3 9] [3 9] [9]"},
		"to the provider alone":          {[]bgp.Origin{{To: []int{0}}}, "[9] [1 9] [2 1 9]"},
		"prepended":                      {[]bgp.Origin{{Prepend: 2}}, "[9 9 9] [1 9 9 9] [2 1 9 9 9]"},
		"differently":                    {[]bgp.Origin{{To: []int{1}, Prepend: 1}, {}}, "[9] [1 9] [2 1 9]"},
		"not beyond the provider":        {[]bgp.Origin{{To: []int{0}, Communities: []route.Community{bgp.NoExport}}, {}}, "[9] [3 9] [9]"},
		"to the provider, going away":    {[]bgp.Origin{{To: []int{0}, Communities: []route.Community{bgp.GracefulShutdown}}, {}}, "[2 3 9] [3 9] [9]"},
		"a community that means nothing": {[]bgp.Origin{{Communities: []route.Community{64500<<16 | 120}}}, "[9] [1 9] [2 1 9]"},
		"nothing":                        {nil, "- - -"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, routers := line(tt.own...)
			got := ""
			for _, r := range routers[:3] {
				text := "-"
				if p := r.Path(anycast); p != nil {
					text = fmt.Sprint(p.AS)
				}
				got += " " + text
			}
			if got[1:] != tt.want {
				t.Errorf("paths %s, want %s", got[1:], tt.want)
			}
		})
	}
}

// A session that ends takes along what came by it, and brings all of it back.
func TestSessionLoss(t *testing.T) {
	w, routers := line(bgp.Origin{Prefix: anycast})
	w.Disconnect(0, 1)
	w.Settle(1e4)
	if p := routers[0].Path(anycast); p == nil || !slices.Equal(p.AS, []uint32{2, 3, 9}) {
		t.Errorf("without its customer AS 1 has %v, want the way round", p)
	}
	w.Connect(0, 1, 3, 0)
	w.Settle(1e4)
	if p := routers[2].Path(anycast); p == nil || !slices.Equal(p.AS, []uint32{2, 1, 9}) {
		t.Errorf("with it again AS 3 has %v, want what it had", p)
	}
}

func TestParseCommunity(t *testing.T) {
	for text, want := range map[string]route.Community{"no_export": 65535<<16 | 65281, "graceful_shutdown": 65535 << 16, "64500:120": 64500<<16 | 120} {
		if got, err := bgp.ParseCommunity(text); err != nil || got != want {
			t.Errorf("%s is %v (%v), want %v", text, got, err, want)
		}
	}
	if _, err := bgp.ParseCommunity("no_exprot"); err == nil {
		t.Error("no_exprot is a community")
	}
}
