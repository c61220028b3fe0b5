package hub_test

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Osaka is where users land; Tokyo is nearer to it than Los Angeles.
const (
	osaka ident.Datacenter = 1 + iota
	tokyo
	losAngeles
)

var (
	inTokyo = netip.MustParseAddr("198.51.200.1")
	inLA    = netip.MustParseAddr("198.51.200.2")
	inTokio = netip.MustParseAddr("198.51.200.3") // a second one in Tokyo
	orange  = netip.MustParseAddrPort("203.0.113.80:443")
	own6    = netip.MustParsePrefix("2001:db8:ded::/64")
	// mexican is a shared address in Los Angeles with Mexico's tag.
	mexican = netip.MustParseAddr("198.51.201.1")
)

// whole deals an address of a datacenter to its servers.
func whole(c *hub.Config, dc ident.Datacenter, addr netip.Addr) egress.Address {
	var servers []ident.Server
	for _, s := range c.Servers {
		if s.Datacenter == dc {
			servers = append(servers, s.ID)
		}
	}
	a, err := egress.Assign(dc, []netip.Addr{addr}, servers)
	if err != nil {
		panic(err)
	}
	return a[0]
}

// dedicated is a network of three datacenters whose tenant has an address in
// Tokyo and one in Los Angeles. What comes by a tunnel lands in Osaka, a reply
// anywhere.
func dedicated(t testing.TB, edit func(*hub.Config)) *hubtest.Net {
	t.Helper()
	n := hubtest.New(t, hubtest.Options{Datacenters: 3, Servers: 2, Sites: 3, ARR: hubtest.All, Edit: func(c *hub.Config) {
		c.Distances = nil
		for dc, away := range map[ident.Datacenter]time.Duration{tokyo: 2 * time.Millisecond, losAngeles: 45 * time.Millisecond} {
			c.Distances = append(c.Distances, hub.Distance{Datacenter: dc, Away: away})
		}
		c.Proxied = []netip.Prefix{netip.PrefixFrom(orange.Addr(), 32)}
		for dc, addr := range map[ident.Datacenter]netip.Addr{tokyo: inTokyo, losAngeles: inLA} {
			a := whole(c, dc, addr)
			a.Tenant = 1
			c.Egress = append(c.Egress, a)
		}
		six, err := egress.Hosts(own6, len(c.Servers))
		if err != nil {
			panic(err)
		}
		for i, s := range c.Servers {
			a := egress.Address{Addr: six[i], Datacenter: s.Datacenter, Tenant: 1}
			for k := 1; k < egress.Slices; k++ {
				a.Owner[k] = s.ID
			}
			c.Egress = append(c.Egress, a)
		}
		if edit != nil {
			edit(c)
		}
	}})
	land(n, osaka)
	n.Origin = hubtest.Echo
	return n
}

// land has what comes by a tunnel arrive at one of a datacenter's servers, and
// any other reply at any server, which differs from one to the next.
func land(n *hubtest.Net, dc ident.Datacenter) {
	var near, all []ident.Server
	for _, s := range n.Config.Servers {
		if all = append(all, s.ID); s.Datacenter == dc {
			near = append(near, s.ID)
		}
	}
	turn := 0
	n.Enter = func(packet []byte) ident.Server {
		turn++
		if len(packet) >= 20 && packet[0]>>4 == 4 {
			src, dst := netip.AddrFrom4([4]byte(packet[12:16])), netip.AddrFrom4([4]byte(packet[16:20]))
			if dst == hubtest.Tunnel || src == orange.Addr() { // what is served everywhere answers here
				return near[turn%len(near)]
			}
		}
		if len(packet) >= 40 && packet[0]>>4 == 6 {
			dst := netip.AddrFrom16([16]byte(packet[24:40]))
			for _, a := range n.Config.Egress {
				if a.Addr == dst {
					return a.Owner[1] // IPv6 is routed to its server
				}
			}
		}
		return all[turn%len(all)]
	}
}

func rules(all ...policy.Rule) func(*hub.Config) {
	return func(c *hub.Config) { c.Tenants[0].Policies.Egress = all }
}

// talk sends a packet and returns the session that it started, the server whose
// packet reached the Internet, and whether the answer came back to the site.
func talk(t testing.TB, n *hubtest.Net, site ident.OnRamp, packet []byte) (s *hub.Session, left ident.Server, back bool) {
	t.Helper()
	n.Events = nil
	for _, a := range n.FromSite(site, packet) {
		switch {
		case a.Site == site:
			back = true
		case a.Site == 0:
			left = a.Server
			if at := hubtest.Decode(a.Packet).Src; !ownsHere(n, left, at, hubtest.Decode(a.Packet).Dst.Addr()) {
				t.Errorf("server %d sent from %v, which is not in its slice", left, at)
			}
		default:
			t.Errorf("a packet of site %d came to site %d", site, a.Site)
		}
	}
	for _, e := range n.Events {
		if e.Kind != hub.FlowStart && e.Kind != hub.FlowRefused {
			continue
		}
		if s != nil {
			t.Errorf("two records of one session: %+v and %+v", s, e.Session)
		}
		s = e.Session
	}
	return s, left, back
}

// ownsHere is SU-3, with a datacenter's own division of an address toward what
// the network serves everywhere.
func ownsHere(n *hubtest.Net, server ident.Server, at netip.AddrPort, to netip.Addr) bool {
	if to == orange.Addr() {
		a := whole(&n.Config, dcOf(n, server), at.Addr())
		return a.OwnerOf(at.Port()) == server
	}
	return ownerOf(n, at) == server
}

func dcOf(n *hubtest.Net, server ident.Server) ident.Datacenter {
	for _, s := range n.Config.Servers {
		if s.ID == server {
			return s.Datacenter
		}
	}
	return 0
}

func syn(to netip.AddrPort, port uint16) []byte {
	src := netip.AddrPortFrom(hubtest.Till.Addr(), port)
	if to.Addr().Is6() {
		src = netip.AddrPortFrom(netip.MustParseAddr("fd00:1::5"), port)
	}
	return hubtest.IP{Src: src, Dst: to}.TCP(hubtest.Flags{SYN: true}, 1, 0, 0)
}

// TestEG1: without a policy a flow leaves by the nearest dedicated address, from
// where that is; the record names no rule. It is one session of one flow_start,
// and its replies come home wherever they arrive. SEMANTICS EG-1.
func TestEG1(t *testing.T) {
	n := dedicated(t, nil)
	for port := uint16(40000); port < 40064; port++ {
		s, left, back := talk(t, n, 1, syn(hubtest.Web, port))
		if s == nil || !back || s.Egress.Addr() != inTokyo || s.Egress.Port() == 0 || dcOf(n, left) != tokyo || s.EgressServer != left {
			t.Fatalf("session %+v, left server %d, answered %v: want Tokyo's address from there", s, left, back)
		}
		if s.Rules != (hub.Rules{}) || s.Return != 1 || s.OffRamp != 0 {
			t.Errorf("session %+v: want no rule, and back by site 1", s)
		}
	}
	c := n.Counters()
	if c.Guests != 64 || c.FlowsStarted != 64 || c.RouteLookups != 0 || c.Drops != [drop.Count]uint64{} {
		t.Errorf("counters %+v", c)
	}
	// The whole of a session: bytes and end are the ingress server's.
	n.Events = nil
	for id := range n.Hubs {
		var out hub.Out
		n.Hubs[id].Close(n.Now, &out)
		n.Events = append(n.Events, out.Events...)
	}
	if got := len(ends(n)); got != 64 {
		t.Errorf("%d sessions ended, want 64", got)
	}
}

// TestEG1Overlap: two sites that send the very same packets are told apart at the
// egress server too. SEMANTICS ARR-1.
func TestEG1Overlap(t *testing.T) {
	n := dedicated(t, nil)
	first, _, _ := talk(t, n, 1, syn(hubtest.Web, 40000))
	second, _, back := talk(t, n, 2, syn(hubtest.Web, 40000))
	if first == nil || second == nil || !back || first.Egress == second.Egress {
		t.Errorf("sessions %+v and %+v", first, second)
	}
}

// TestEG2: the four rows of SEMANTICS 6.3, without a policy and with one.
func TestEG2(t *testing.T) {
	six := netip.MustParseAddrPort("[2001:db8:9::9]:443")
	orange6 := netip.MustParseAddrPort("[2001:db8:9::80]:443")
	all := policy.Rule{ID: "ours", Action: policy.Dedicated, IPv4: inTokyo}
	for _, with := range []bool{false, true} {
		n := dedicated(t, func(c *hub.Config) {
			c.Proxied = append(c.Proxied, netip.PrefixFrom(orange6.Addr(), 128))
			if with {
				rules(all)(c)
			}
		})
		for i, row := range []struct {
			to netip.AddrPort
			dc ident.Datacenter
		}{{hubtest.Web, tokyo}, {orange, osaka}, {six, osaka}, {orange6, osaka}} {
			s, left, back := talk(t, n, 1, syn(row.to, 40000))
			if s == nil || !back || dcOf(n, left) != row.dc {
				t.Errorf("policy %v, %v: session %+v left server %d, want datacenter %d", with, row.to, s, left, row.dc)
				continue
			}
			if own := s.Egress.Addr() == inTokyo || own6.Contains(s.Egress.Addr()); !own {
				t.Errorf("policy %v, row %d: left as %v, want the tenant's own", with, i, s.Egress)
			}
			if named := s.Rules.Egress.ID == "ours"; named != with {
				t.Errorf("policy %v: rules %+v", with, s.Rules)
			}
		}
	}
}

// TestEG3: the first match wins; swapping two rules swaps the rule of the record.
func TestEG3(t *testing.T) {
	tok := policy.Rule{ID: "tokyo", Action: policy.Dedicated, IPv4: inTokyo}
	la := policy.Rule{ID: "la", Action: policy.Dedicated, IPv4: inLA, Match: policy.Match{Port: []policy.PortRange{policy.Port(443)}}}
	for _, order := range [][]policy.Rule{{tok, la}, {la, tok}} {
		n := dedicated(t, rules(order...))
		s, _, _ := talk(t, n, 1, syn(hubtest.Web, 40000))
		if s == nil || s.Rules.Egress.ID != order[0].ID || s.Egress.Addr() != order[0].IPv4 {
			t.Errorf("session %+v, want rule %s", s, order[0].ID)
		}
	}
}

// TestEG4: a catch-all of the default method leaves by the shared pool, here.
func TestEG4(t *testing.T) {
	n := dedicated(t, rules(policy.Rule{ID: "rest", Action: policy.Default}))
	s, left, _ := talk(t, n, 1, syn(hubtest.Web, 40000))
	if s == nil || dcOf(n, left) != osaka || s.Egress.Addr() == inTokyo || s.Egress.Addr() == inLA || s.Rules.Egress.ID != "rest" {
		t.Errorf("session %+v from server %d, want the shared pool of Osaka", s, left)
	}
}

// TestEG7Slice: a server at its slice refuses toward one destination, and serves
// another; the refusal comes home as one record and a reset. SEMANTICS EG-7, SU-5.
func TestEG7Slice(t *testing.T) {
	for _, on := range []hub.OnExhaustion{hub.ExhaustionRefuse, hub.ExhaustionAnotherServer} {
		n := dedicated(t, func(c *hub.Config) { c.Tenants[0].OnExhaustion, c.Trace = on, false })
		opened := 0
		for ; opened < 3*egress.SliceSize; opened++ {
			s, _, _ := talk(t, n, 1, syn(hubtest.Web, uint16(10000+opened)))
			if s == nil {
				t.Fatalf("flow %d has no record", opened)
			}
			if s.Refused != drop.None {
				if s.Refused != drop.PortsExhausted || s.Close != hub.EgressPortAllocationError || s.Egress.IsValid() {
					t.Errorf("refused with %+v", s)
				}
				break
			}
		}
		if all := 2 * egress.SliceSize; on == hub.ExhaustionAnotherServer && opened != all || on == hub.ExhaustionRefuse && (opened < egress.SliceSize || opened >= all) {
			t.Errorf("%s: %d flows", on, opened)
		}
		arrived := n.FromSite(1, syn(hubtest.Web, uint16(10000+opened)))
		if len(arrived) != 1 || arrived[0].Site != 1 || !hubtest.Decode(arrived[0].Packet).TCP.RST {
			t.Errorf("%s: the client got %+v, want a reset", on, arrived)
		}
		elsewhere := netip.AddrPortFrom(hubtest.Web.Addr(), 80)
		if s, _, back := talk(t, n, 1, syn(elsewhere, uint16(10000+opened))); s == nil || !back || s.Refused != drop.None {
			t.Errorf("%s: another destination: %+v", on, s)
		}
	}
}

// TestEG8: of two addresses at one distance each user has one for good, about
// half of them each.
func TestEG8(t *testing.T) {
	n := dedicated(t, func(c *hub.Config) {
		a := whole(c, tokyo, inTokio)
		a.Tenant = 1
		c.Egress = append(c.Egress, a)
	})
	const users = 400
	first := 0
	for u := range users {
		src := netip.AddrFrom4([4]byte{10, 0, byte(1 + u/200), byte(5 + u%200)})
		var own netip.Addr
		for k := range 3 {
			s, _, _ := talk(t, n, 1, hubtest.IP{Src: netip.AddrPortFrom(src, uint16(40000+k)), Dst: hubtest.Web}.TCP(hubtest.Flags{SYN: true}, 1, 0, 0))
			if s == nil || own.IsValid() && s.Egress.Addr() != own {
				t.Fatalf("user %v left as %+v after %v", src, s, own)
			}
			own = s.Egress.Addr()
		}
		if own == inTokyo {
			first++
		}
	}
	if sigma := math.Sqrt(users) / 2; math.Abs(float64(first)-users/2) > 3*sigma {
		t.Errorf("%d of %d users have the first address, want about half", first, users)
	}
}

// TestEG9: ICMP and what a resolver answers never leave by a dedicated address,
// whatever a policy says.
func TestEG9(t *testing.T) {
	for _, all := range [][]policy.Rule{nil, {{ID: "ours", Action: policy.Dedicated, IPv4: inTokyo}}} {
		n := dedicated(t, rules(all...))
		src := netip.AddrPortFrom(hubtest.Till.Addr(), 7)
		dns := netip.AddrPortFrom(hubtest.Web.Addr(), 53)
		for name, packet := range map[string][]byte{
			"ping": hubtest.IP{Src: src, Dst: netip.AddrPortFrom(hubtest.Web.Addr(), 0)}.Ping(),
			"dns":  hubtest.IP{Src: src, Dst: dns}.UDP(),
		} {
			s, left, back := talk(t, n, 1, packet)
			if s == nil || !back || dcOf(n, left) != osaka || s.Egress.Addr() == inTokyo || s.Egress.Addr() == inLA {
				t.Errorf("%s: session %+v from server %d, want the shared pool of Osaka", name, s, left)
			}
		}
		if s, left, _ := talk(t, n, 1, hubtest.IP{Src: src, Dst: hubtest.Web}.UDP()); s == nil || dcOf(n, left) != tokyo {
			t.Errorf("UDP: session %+v from server %d, want Tokyo", s, left)
		}
	}
}

// tagged has a user of Mexico at site 1, and an address with Mexico's tag in Los
// Angeles alone.
func tagged(c *hub.Config) {
	a := whole(c, losAngeles, mexican)
	a.Country = "MX"
	trusted := whole(c, osaka, netip.MustParseAddr("198.51.201.2"))
	trusted.Country, trusted.Tags = "MX", []string{egress.TagCDN}
	c.Egress = append(c.Egress, a, trusted)
	c.OnRamps[0].Country, c.OnRamps[1].Country = "MX", "FR"
	rules(policy.Rule{ID: "rest", Action: policy.Default})(c)
}

// TestEG10: a user of Mexico leaves by an address with Mexico's tag, from the
// datacenter that has one, and never by one that origins trust as the CDN's; one
// of a country that nobody has leaves by any. SEMANTICS EG-10, SU-11.
func TestEG10(t *testing.T) {
	n := dedicated(t, tagged)
	s, left, back := talk(t, n, 1, syn(hubtest.Web, 40000))
	if s == nil || !back || s.Egress.Addr() != mexican || dcOf(n, left) != losAngeles {
		t.Errorf("session %+v from server %d, want %v", s, left, mexican)
	}
	if s, left, _ := talk(t, n, 2, syn(hubtest.Web, 40000)); s == nil || dcOf(n, left) != osaka {
		t.Errorf("session %+v from server %d, want any address of Osaka", s, left)
	}
	// Toward what the network serves everywhere nobody goes elsewhere.
	if s, left, _ := talk(t, n, 1, syn(orange, 40000)); s == nil || dcOf(n, left) != osaka {
		t.Errorf("proxied: session %+v from server %d", s, left)
	}
	down(n, losAngeles, true)
	if s, left, _ := talk(t, n, 1, syn(hubtest.Web, 40001)); s == nil || dcOf(n, left) != osaka {
		t.Errorf("with Los Angeles down: session %+v from server %d", s, left)
	}
}

// TestSU11: every flow of the default method leaves by an address of its user's
// country, where there is one.
func TestSU11(t *testing.T) {
	n := dedicated(t, tagged)
	for port := range uint16(100) {
		if s, _, back := talk(t, n, 1, syn(hubtest.Web, 40000+port)); s == nil || !back || s.Egress.Addr() != mexican {
			t.Fatalf("flow %d left as %+v", port, s)
		}
	}
}

// TestEG11: every session has exactly one record, also those that got no port, or
// whose egress server never answered; it never ends before it starts.
func TestEG11(t *testing.T) {
	n := dedicated(t, nil)
	const heard, unheard = 20, 10
	n.Events = nil
	for port := range uint16(heard + unheard) {
		if port == heard { // the servers of Tokyo are gone, and nobody has noticed yet
			n.Deaf = func(s ident.Server) bool { return dcOf(n, s) == tokyo }
		}
		n.FromSite(1, syn(hubtest.Web, 40000+port))
	}
	n.Run(vt.Instant(9 * time.Hour))
	starts, records := map[[16]byte]int{}, map[[16]byte]int{}
	for _, e := range n.Events {
		switch e.Kind {
		case hub.FlowStart:
			starts[e.Session.ID]++
		case hub.FlowEnd, hub.FlowRefused:
			records[e.Session.ID]++
			if e.Session.End < e.Session.Start {
				t.Errorf("session %+v ends before it starts", e.Session)
			}
		}
	}
	for id, count := range records {
		if count != 1 {
			t.Errorf("session %x has %d records", id, count)
		}
	}
	if len(records) != heard+unheard || len(starts) != heard {
		t.Errorf("%d records and %d flow_starts, want %d and %d", len(records), len(starts), heard+unheard, heard)
	}
	if r := refusals(n); len(r) != unheard || r[0].Refused != drop.EgressSilent || r[0].Close != hub.OriginUnroutable {
		t.Errorf("refusals %+v", r)
	}
}
