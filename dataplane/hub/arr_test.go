package hub_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// toSites are the arrivals at sites.
func toSites(all []hubtest.Arrival) (sites []hubtest.Arrival) {
	for _, a := range all {
		if a.Site != 0 {
			sites = append(sites, a)
		}
	}
	return sites
}

// toInternet are the arrivals at the Internet.
func toInternet(all []hubtest.Arrival) (outside []hubtest.Arrival) {
	for _, a := range all {
		if a.Site == 0 {
			outside = append(outside, a)
		}
	}
	return outside
}

// returned is the site that got the one reply among arrivals; 0 if none did.
func returned(t *testing.T, all []hubtest.Arrival) ident.OnRamp {
	t.Helper()
	sites := toSites(all)
	if len(sites) > 1 {
		t.Fatalf("%d packets came to sites, want at most 1", len(sites))
	}
	if len(sites) == 0 {
		return 0
	}
	return sites[0].Site
}

// client is the n-th of many different clients and destinations.
func client(n int) hubtest.IP {
	return hubtest.IP{
		Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(1 + n%250)}), uint16(1024+n%60000)),
		Dst: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(n / 7)}), 443),
	}
}

// withinThreeSigma checks a count of n trials of probability p.
func withinThreeSigma(t *testing.T, what string, got, n int, p float64) {
	t.Helper()
	want, sigma := p*float64(n), math.Sqrt(float64(n)*p*(1-p))
	if math.Abs(float64(got)-want) > 3*sigma {
		t.Errorf("%s: %d of %d, want %.0f ± %.0f", what, got, n, want, 3*sigma)
	}
}

// TestARR1: two sites with the same prefix send the same tuple to the same
// server at once; each gets its own payload only, and the egress address and
// port differ. SEMANTICS ARR-1.
func TestARR1(t *testing.T) { hubtest.EachFamily(t, testARR1) }

func testARR1(t *testing.T, f hubtest.Family) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All})
	syn := hubtest.IP{Src: f.Till, Dst: f.Web}
	egress := make(map[ident.OnRamp]netip.AddrPort)
	for site := ident.OnRamp(1); site <= 2; site++ {
		out := toInternet(n.FromSite(site, syn.TCP(hubtest.Flags{SYN: true}, 100*uint32(site), 0, 1460)))
		if len(out) != 1 {
			t.Fatalf("site %d: %d packets reached the Internet, want 1", site, len(out))
		}
		v := hubtest.Decode(out[0].Packet)
		if !v.Sound || v.Dst != f.Web || v.TTL != 63 || v.TCP.Seq != 100*uint32(site) {
			t.Errorf("site %d: sent %v", site, v)
		}
		egress[site] = v.Src
	}
	if egress[1] == egress[2] {
		t.Fatalf("both sites leave as %v", egress[1])
	}
	for site := ident.OnRamp(2); site >= 1; site-- {
		payload := []byte{0, byte(site)}
		reply := hubtest.IP{Src: f.Web, Dst: egress[site], Payload: payload}
		back := n.Send(reply.TCP(hubtest.Flags{ACK: true}, 1, 1, 0))
		if len(back) != 1 || back[0].Site != site {
			t.Fatalf("the reply to site %d went to %+v", site, back)
		}
		v := hubtest.Decode(back[0].Packet)
		if !v.Sound || v.Dst != f.Till || v.Src != f.Web || !bytes.Equal(v.Payload, payload) || v.TTL != 63 {
			t.Errorf("site %d got %v", site, v)
		}
	}
}

// TestARR2: with ARR and no route for the prefix, every one of many random
// flows gets its reply, and the return path looks up no route. SEMANTICS ARR-2.
func TestARR2(t *testing.T) { hubtest.EachFamily(t, testARR2) }

func testARR2(t *testing.T, f hubtest.Family) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Addresses: 4})
	n.Origin = hubtest.Echo
	const flows = 10000
	for i := range flows {
		site, p := ident.OnRamp(1+i%2), f.Client(i)
		p.Payload = binary.BigEndian.AppendUint32(nil, uint32(i))
		back := toSites(n.FromSite(site, p.UDP()))
		if len(back) != 1 || back[0].Site != site {
			t.Fatalf("flow %d of site %d came back as %+v", i, site, back)
		}
		if v := hubtest.Decode(back[0].Packet); !bytes.Equal(v.Payload, p.Payload) || v.Dst != p.Src || !v.Sound {
			t.Fatalf("flow %d got %v", i, v)
		}
	}
	c := n.Counters()
	if c.RouteLookups != 0 || c.Returned != flows || c.FlowsStarted != flows {
		t.Errorf("counted %d look-ups, %d returned, %d started, want 0, %d, %d", c.RouteLookups, c.Returned, c.FlowsStarted, flows, flows)
	}
}

// TestARR3: without ARR and with two equal routes, half of the flows go to the
// wrong site, and each flow always to the same. SEMANTICS ARR-3.
func TestARR3(t *testing.T) { hubtest.EachFamily(t, testARR3) }

func testARR3(t *testing.T, f hubtest.Family) {
	n := hubtest.New(t, hubtest.Options{Addresses: 4, Routes: []int{1, 2}})
	n.Origin = hubtest.Echo
	const flows = 10000
	wrong := 0
	for i := range flows {
		site, packet := ident.OnRamp(1+i%2), f.Client(i).UDP()
		first, second := returned(t, n.FromSite(site, packet)), returned(t, n.FromSite(site, packet))
		if first == 0 || first != second {
			t.Fatalf("flow %d came back to site %d, then to %d", i, first, second)
		}
		if first != site {
			wrong++
		}
	}
	withinThreeSigma(t, "misdelivered", wrong, flows, 0.5)
}

// TestARR4: without ARR, with one tuple from both sites, both replies reach one
// site. SEMANTICS ARR-4.
func TestARR4(t *testing.T) { hubtest.EachFamily(t, testARR4) }

func testARR4(t *testing.T, f hubtest.Family) {
	n := hubtest.New(t, hubtest.Options{Routes: []int{1, 2}})
	n.Origin = hubtest.Echo
	packet := hubtest.IP{Src: f.Till, Dst: f.Web}.TCP(hubtest.Flags{SYN: true}, 1, 0, 0)
	one, two := returned(t, n.FromSite(1, packet)), returned(t, n.FromSite(2, packet))
	if one == 0 || one != two {
		t.Errorf("replies to sites 1 and 2 went to %d and %d, want one site", one, two)
	}
}

// TestARR5: without ARR and without a route, replies are null-routed and
// counted. SEMANTICS ARR-5.
func TestARR5(t *testing.T) { hubtest.EachFamily(t, testARR5) }

func testARR5(t *testing.T, f hubtest.Family) {
	n := hubtest.New(t, hubtest.Options{})
	n.Origin = hubtest.Echo
	for i := range 100 {
		if got := returned(t, n.FromSite(ident.OnRamp(1+i%2), f.Client(i).UDP())); got != 0 {
			t.Fatalf("flow %d was delivered to site %d", i, got)
		}
	}
	if got := n.Counters().Drops[drop.NullRouted]; got != 100 {
		t.Errorf("%d null-routed, want 100", got)
	}
}

// TestARR6: with ARR on site 1 only, site 1 is always right; site 2 is at the
// mercy of routes, or null-routed. SEMANTICS ARR-6.
func TestARR6(t *testing.T) { hubtest.EachFamily(t, testARR6) }

func testARR6(t *testing.T, f hubtest.Family) {
	for _, routes := range [][]int{nil, {1, 2}} {
		n := hubtest.New(t, hubtest.Options{ARR: func(site int) bool { return site == 1 }, Routes: routes, Addresses: 4})
		n.Origin = hubtest.Echo
		const flows = 2000
		wrong, lost := 0, 0
		for i := range flows {
			packet := f.Client(i).UDP()
			if got := returned(t, n.FromSite(1, packet)); got != 1 {
				t.Fatalf("flow %d of site 1 came back to %d", i, got)
			}
			switch returned(t, n.FromSite(2, packet)) {
			case 1:
				wrong++
			case 0:
				lost++
			}
		}
		if routes == nil {
			if lost != flows {
				t.Errorf("no routes: %d replies to site 2 lost, want all %d", lost, flows)
			}
			continue
		}
		withinThreeSigma(t, "site 2 misdelivered", wrong, flows, 0.5)
	}
}

// TestARR7: a first TCP packet that is no SYN makes no flow, nor does an echo
// reply; a first UDP packet and an echo request do. SEMANTICS ARR-7.
func TestARR7(t *testing.T) { hubtest.EachFamily(t, testARR7) }

func testARR7(t *testing.T, f hubtest.Family) {
	p := hubtest.IP{Src: f.Till, Dst: f.Web}
	tests := []struct {
		name   string
		packet []byte
		flows  uint64
	}{
		{"SYN", p.TCP(hubtest.Flags{SYN: true}, 1, 0, 0), 1},
		{"ACK", p.TCP(hubtest.Flags{ACK: true}, 1, 1, 0), 0},
		{"SYN-ACK", p.TCP(hubtest.Flags{SYN: true, ACK: true}, 1, 1, 0), 0},
		{"FIN", p.TCP(hubtest.Flags{FIN: true}, 1, 0, 0), 0},
		{"SYN and FIN", p.TCP(hubtest.Flags{SYN: true, FIN: true}, 1, 0, 0), 0},
		{"RST", p.TCP(hubtest.Flags{RST: true}, 1, 0, 0), 0},
		{"UDP", p.UDP(), 1},
		{"echo request", p.Ping(), 1},
		{"echo reply", p.Pong(), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := hubtest.New(t, hubtest.Options{ARR: hubtest.All})
			out := n.FromSite(1, tt.packet)
			c := n.Counters()
			if c.FlowsStarted != tt.flows || uint64(len(out)) != tt.flows || c.Drops[drop.Orphan] != 1-tt.flows {
				t.Errorf("%d flows, %d packets sent, %d orphans", c.FlowsStarted, len(out), c.Drops[drop.Orphan])
			}
		})
	}
}

// TestARR8: traffic between two ARR sites follows the WAN route in both
// directions and leaves no flow behind. SEMANTICS ARR-8.
func TestARR8(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Edit: func(c *hub.Config) {
		c.Routes = []route.Route{
			{ID: "a", Tenant: 1, VNet: 1, Prefix: netip.MustParsePrefix("10.1.0.0/16"), NextHop: 1, Priority: 100},
			{ID: "b", Tenant: 1, VNet: 1, Prefix: netip.MustParsePrefix("10.2.0.0/16"), NextHop: 2, Priority: 100},
		}
	}})
	a, b := netip.MustParseAddrPort("10.1.0.5:1000"), netip.MustParseAddrPort("10.2.0.5:2000")
	packets := []struct {
		from, to ident.OnRamp
		packet   []byte
	}{
		{1, 2, hubtest.IP{Src: a, Dst: b}.TCP(hubtest.Flags{SYN: true}, 1, 0, 1460)},
		{2, 1, hubtest.IP{Src: b, Dst: a}.TCP(hubtest.Flags{SYN: true, ACK: true}, 1, 2, 1460)},
		{1, 2, hubtest.IP{Src: a, Dst: b}.Ping()},
		{2, 1, hubtest.IP{Src: b, Dst: a}.Pong()},
	}
	for _, p := range packets {
		out := n.FromSite(p.from, p.packet)
		if len(out) != 1 || out[0].Site != p.to {
			t.Fatalf("site %d sent to site %d, arrived: %+v", p.from, p.to, out)
		}
		before, after := hubtest.Decode(p.packet), hubtest.Decode(out[0].Packet)
		if after.Src != before.Src || after.Dst != before.Dst || !after.Sound || after.TTL != before.TTL-1 {
			t.Errorf("arrived as %v, want it untranslated", after)
		}
		if after.TCP != nil && binary.BigEndian.Uint16(after.TCP.Options[1].OptionData) != 1436 {
			t.Errorf("MSS option %v, want 1436", after.TCP.Options[1])
		}
	}
	if c := n.Counters(); c.FlowsStarted != 0 || c.Routed != 4 {
		t.Errorf("%d flows, %d routed, want 0 and 4", c.FlowsStarted, c.Routed)
	}
}

// TestARR9: an on-ramp with ARR is refused where its tenant is in legacy mode,
// by name and without a change to what is in force; without ARR replies go by
// routes, and without any nowhere. SEMANTICS ARR-9.
func TestARR9(t *testing.T) {
	legacy := func(c *hub.Config) {
		c.Tenants = slices.Clone(c.Tenants)
		c.Tenants[0].Legacy = true
	}
	second := func(site int) bool { return site == 2 }
	refused := hubtest.Options{ARR: second, Edit: func(c *hub.Config) { legacy(c); c.OnRamps[1].Name = "shop.2.wan" }}.Config()
	_, err := hub.New(refused)
	if !errors.Is(err, hub.ErrLegacyARR) || !strings.Contains(err.Error(), "shop.2.wan") {
		t.Errorf("got %v, want ErrLegacyARR and the on-ramp's name", err)
	}
	n := hubtest.New(t, hubtest.Options{ARR: second})
	refused.Epoch = 2
	if err := n.Hubs[1].Reconfigure(0, refused); !errors.Is(err, hub.ErrLegacyARR) || n.Hubs[1].Config().Tenants[0].Legacy {
		t.Errorf("Reconfigure says %v", err)
	}
	n = hubtest.New(t, hubtest.Options{Edit: legacy})
	n.Origin = hubtest.Echo
	if out := n.FromSite(1, client(1).UDP()); len(toSites(out)) != 0 || len(toInternet(out)) != 1 {
		t.Errorf("without ARR and routes: %+v, want a request and no reply", out)
	}
	if c := n.Counters(); c.Drops[drop.NullRouted] != 1 {
		t.Errorf("dropped %v, want one reply null-routed", c.Drops)
	}
}

// TestARR10: both sites ping one server with one id, and both get their own
// replies. SEMANTICS ARR-10.
func TestARR10(t *testing.T) { hubtest.EachFamily(t, testARR10) }

func testARR10(t *testing.T, f hubtest.Family) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All})
	n.Origin = hubtest.Echo
	src := netip.AddrPortFrom(f.Till.Addr(), 7)
	for site := ident.OnRamp(1); site <= 2; site++ {
		ping := hubtest.IP{Src: src, Dst: f.Web, Payload: []byte{0xff, byte(site)}}
		back := toSites(n.FromSite(site, ping.Ping()))
		if len(back) != 1 || back[0].Site != site {
			t.Fatalf("the pong for site %d went to %+v", site, back)
		}
		if v := hubtest.Decode(back[0].Packet); v.Dst != src || !bytes.Equal(v.Payload, ping.Payload) || !v.Sound {
			t.Errorf("site %d got %v", site, v)
		}
	}
}

// TestARR13: a flow made before a route change keeps its path; a new flow takes
// the new route. SEMANTICS ARR-13.
func TestARR13(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All})
	n.Origin = hubtest.Echo
	old, fresh := client(1), client(1)
	fresh.Src = netip.AddrPortFrom(fresh.Src.Addr(), 5)
	if got := returned(t, n.FromSite(1, old.UDP())); got != 1 {
		t.Fatalf("before the change the reply went to %d", got)
	}
	n.Reconfigure(func(c *hub.Config) {
		c.Routes = append(c.Routes, route.Route{ID: "new", Tenant: 1, VNet: 1, Prefix: netip.MustParsePrefix("203.0.113.0/24"), NextHop: 2})
	})
	if got := n.FromSite(1, old.UDP()); len(toInternet(got)) != 1 || returned(t, got) != 1 {
		t.Errorf("the old flow left its path: %+v", got)
	}
	if got := n.FromSite(1, fresh.UDP()); len(got) != 1 || got[0].Site != 2 {
		t.Errorf("the new flow did not take the new route: %+v", got)
	}
}

// TestARR14: after the idle timer a UDP reply is not delivered. SEMANTICS
// ARR-14; the timer is 300 s (1.9), and the client's packets restart it.
func TestARR14(t *testing.T) { hubtest.EachFamily(t, testARR14) }

func testARR14(t *testing.T, f hubtest.Family) {
	for _, sweep := range []bool{true, false} {
		n := hubtest.New(t, hubtest.Options{ARR: hubtest.All})
		p := f.Client(1)
		egress := hubtest.Decode(n.FromSite(1, p.UDP())[0].Packet).Src
		reply := hubtest.IP{Src: p.Dst, Dst: egress}.UDP()
		n.Now = vt.Instant(200 * time.Second)
		n.FromSite(1, p.UDP())
		n.Now = vt.Instant(500*time.Second) - 1
		if got := returned(t, n.Send(reply)); got != 1 {
			t.Fatalf("a reply in time went to %d", got)
		}
		n.Now++
		if sweep {
			n.Timer()
		}
		if got := returned(t, n.Send(reply)); got != 0 {
			t.Errorf("a reply after the idle timer went to %d", got)
		}
		if c := n.Counters(); c.Drops[drop.NoFlow] != 1 || c.FlowsEnded != 1 {
			t.Errorf("%d without a flow, %d ended, want 1 and 1", c.Drops[drop.NoFlow], c.FlowsEnded)
		}
	}
}

// TestTupleKey: with the old flow signature, which leaves the on-ramp out, the
// identical packet of site 2 joins the flow of site 1, and its reply goes there.
// SEMANTICS 1.5.
func TestTupleKey(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Edit: func(c *hub.Config) { c.Tenants[0].FlowKey = hub.FlowKeyTuple }})
	n.Origin = hubtest.Echo
	packet := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}.UDP()
	if got := returned(t, n.FromSite(1, packet)); got != 1 {
		t.Fatalf("site 1's reply went to %d", got)
	}
	if got := returned(t, n.FromSite(2, packet)); got != 1 {
		t.Errorf("site 2's reply went to %d, want the harm: 1", got)
	}
	if c := n.Counters(); c.FlowsStarted != 1 {
		t.Errorf("%d flows, want 1", c.FlowsStarted)
	}
}
