package hub_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// probed gives every site addresses inside its tunnel, and probes.
func probed(request bool) func(*hub.Config) {
	return func(c *hub.Config) {
		for i := range c.OnRamps {
			r := &c.OnRamps[i]
			r.Address, r.Peer = netip.AddrFrom4([4]byte{169, 254, 240, byte(2 * r.ID)}), netip.AddrFrom4([4]byte{169, 254, 240, byte(2*r.ID + 1)})
			r.Probing = &hub.Probing{Request: request}
		}
	}
}

// grouped makes on-ramps 1 and 2 one site's, with probes.
func grouped(g hub.Group) func(*hub.Config) {
	return func(c *hub.Config) {
		probed(false)(c)
		g.Members = []ident.OnRamp{1, 2}
		c.Groups = append(c.Groups, g)
	}
}

// said are the health changes of an on-ramp at one server, in order.
func said(n *hubtest.Net, id ident.OnRamp) (all []string) {
	for _, e := range n.Events {
		if e.Kind == hub.HealthChanged && e.OnRamp == id {
			all = append(all, e.Why)
		}
	}
	return all
}

// TestProbes: servers probe tunnels, and answers find the server that asked,
// wherever they land. SEMANTICS 2.8.
func TestProbes(t *testing.T) {
	for _, request := range []bool{false, true} {
		n := hubtest.New(t, hubtest.Options{Edit: probed(request)})
		n.Run(vt.Instant(10 * time.Second))
		c := n.Counters()
		if c.Probes < 70 || c.Probes > 90 { // 4 servers, 2 tunnels, 10 s
			t.Errorf("request %v: %d probes", request, c.Probes)
		}
		if got := append(said(n, 1), said(n, 2)...); len(got) != 0 {
			t.Errorf("request %v: %q, want healthy tunnels", request, got)
		}
		if c.HandedOver == 0 || c.Drops != [drop.Count]uint64{} {
			t.Errorf("request %v: %d answers handed over, drops %v", request, c.HandedOver, c.Drops)
		}
	}
}

// TestRT9Hub: the health of a tunnel moves traffic between routes of different
// priority, and back. SEMANTICS RT-9, and the example of 2.8.
func TestRT9Hub(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{Sites: 3, Datacenters: 1, Servers: 1, Routes: []int{1, 2}, Edit: func(c *hub.Config) {
		probed(false)(c)
		for i := range c.Routes {
			c.Routes[i].Priority = 100 * int(c.Routes[i].NextHop)
		}
	}})
	goes := func() ident.OnRamp {
		t.Helper()
		return returned(t, n.FromSite(3, hubtest.IP{Src: netip.MustParseAddrPort("10.0.3.5:1000"), Dst: hubtest.Till}.UDP()))
	}
	cut := false
	n.Cut = func(id ident.OnRamp) bool { return cut && id == 1 }
	var route []ident.OnRamp
	for _, step := range []struct {
		cut   bool
		until time.Duration
	}{{false, 5 * time.Second}, {true, 10 * time.Second}, {false, 15 * time.Second}, {false, 8 * time.Minute}} {
		cut = step.cut
		n.Run(vt.Instant(step.until))
		route = append(route, goes())
	}
	if want := []ident.OnRamp{1, 2, 2, 1}; !slices.Equal(route, want) {
		t.Errorf("by %v, want %v: healthy, down, degraded, healthy", route, want)
	}
	if got, want := said(n, 1), []string{"down", "degraded", "healthy"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestRT11: with both tunnels down packets are still sent, by the one of the
// better priority. SEMANTICS RT-11.
func TestRT11(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{Sites: 3, Datacenters: 1, Servers: 1, Routes: []int{1, 2}, Edit: func(c *hub.Config) {
		probed(true)(c)
		for i := range c.Routes {
			c.Routes[i].Priority = 300 - 100*int(c.Routes[i].NextHop)
		}
	}})
	n.Cut = func(id ident.OnRamp) bool { return id < 3 }
	n.Run(vt.Instant(5 * time.Second))
	if a, b := said(n, 1), said(n, 2); !slices.Equal(a, []string{"down"}) || !slices.Equal(b, []string{"down"}) {
		t.Fatalf("%q and %q, want both down", a, b)
	}
	all := n.FromSite(3, hubtest.IP{Src: netip.MustParseAddrPort("10.0.3.5:1000"), Dst: hubtest.Till}.UDP())
	if got := returned(t, all); got != 2 {
		t.Errorf("by %d, want 2", got)
	}
}

// TestRT16: two servers may hold different states of one tunnel. SEMANTICS RT-16.
func TestRT16(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{Datacenters: 2, Servers: 1, Edit: probed(false)})
	n.Run(vt.Instant(2 * time.Second))
	// Server 2 alone loses what it sends.
	for n.Now < vt.Instant(6*time.Second) {
		for _, id := range []ident.Server{1, 2} {
			n.Cut = func(ident.OnRamp) bool { return id == 2 }
			if n.Hubs[id].NextWake() <= n.Now {
				n.TimerOf(id)
			}
		}
		n.Now = n.Now.Add(time.Millisecond)
	}
	one, two := n.Hubs[1].Health(1), n.Hubs[2].Health(1)
	if one.String() != "healthy" || two.String() != "down" {
		t.Errorf("server 1 says %v and server 2 %v", one, two)
	}
}

// TestARR11: a flow whose client sends by the backup goes on there: same
// session, same egress port, replies by the backup at most one packet later.
// Also where the two come in at different servers. SEMANTICS ARR-11, G2, G3.
func TestARR11(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 1, Sites: 3, Edit: grouped(hub.Group{Repin: 200 * time.Millisecond, Predictive: true})})
	n.Origin = hubtest.Echo
	n.Enter = func(packet []byte) ident.Server {
		if v := hubtest.Decode(packet); v.GRE != nil && v.Src.Addr() == n.Config.OnRamps[1].Remote {
			return 2
		}
		return 1
	}
	n.Run(vt.Instant(time.Second))
	p := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web, Payload: []byte("x")}
	send := func(site ident.OnRamp, f hubtest.Flags, seq uint32) []hubtest.Arrival {
		return n.FromSite(site, p.TCP(f, seq, 1001, 0))
	}
	egress := hubtest.Decode(toInternet(send(1, hubtest.Flags{SYN: true}, 1))[0].Packet).Src
	if got := returned(t, send(1, hubtest.Flags{ACK: true}, 2)); got != 1 {
		t.Fatalf("before the cut the reply went to %d", got)
	}
	n.Now = n.Now.Add(50 * time.Millisecond)
	if got := returned(t, send(2, hubtest.Flags{ACK: true}, 3)); got != 1 {
		t.Errorf("50 ms after the primary spoke the reply went to %d, want 1: a router that sprays must not flap", got)
	}
	n.Now = n.Now.Add(250 * time.Millisecond)
	all := send(2, hubtest.Flags{ACK: true}, 4)
	if got := returned(t, all); got != 2 {
		t.Errorf("after the cut the reply went to %d, want 2", got)
	}
	if got := hubtest.Decode(toInternet(all)[0].Packet).Src; got != egress {
		t.Errorf("left as %v, want %v", got, egress)
	}
	if c := n.Counters(); c.Failovers != 1 || c.FlowsStarted != 1 {
		t.Errorf("%d failovers and %d flows, want 1 and 1", c.Failovers, c.FlowsStarted)
	}
}

// TestARR12: another site's identical tuple never moves a flow. SEMANTICS ARR-12.
func TestARR12(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Sites: 3, Edit: grouped(hub.Group{})})
	n.Origin = hubtest.Echo
	p := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}.UDP()
	for i, site := range []ident.OnRamp{1, 3, 1, 3, 2, 3, 2} {
		n.Now = n.Now.Add(time.Second)
		if got := returned(t, n.FromSite(site, p)); got != site {
			t.Errorf("packet %d of site %d: the reply went to %d", i, site, got)
		}
	}
	if c := n.Counters(); c.Failovers != 1 || c.FlowsStarted != 2 {
		t.Errorf("%d failovers and %d flows, want 1 and 2", c.Failovers, c.FlowsStarted)
	}
}

// TestGroups: the rules G3 to G6 of SEMANTICS 1.8.
func TestGroups(t *testing.T) {
	type packet struct {
		after time.Duration
		by    ident.OnRamp
		back  ident.OnRamp
	}
	ms := time.Millisecond
	for _, tt := range []struct {
		name  string
		group hub.Group
		arr   func(int) bool
		cut   ident.OnRamp
		send  []packet
		flows uint64
	}{
		{"G3 immediate", hub.Group{}, hubtest.All, 0, []packet{{0, 1, 1}, {ms, 2, 2}, {ms, 2, 2}}, 1},
		{"G3 after silence", hub.Group{Repin: 200 * ms}, hubtest.All, 0, []packet{{0, 1, 1}, {100 * ms, 2, 1}, {99 * ms, 2, 1}, {ms, 2, 2}, {ms, 2, 2}}, 1},
		{"G4 immediate", hub.Group{Repin: 200 * ms}, hubtest.All, 0, []packet{{0, 1, 1}, {time.Second, 2, 2}, {ms, 1, 1}}, 1},
		{"G4 hold-down", hub.Group{Failback: hub.FailbackHoldDown, HoldDown: time.Second}, hubtest.All, 0, []packet{{0, 1, 1}, {ms, 2, 2}, {999 * ms, 1, 2}, {ms, 1, 1}}, 1},
		{"G4 never", hub.Group{Failback: hub.FailbackNever}, hubtest.All, 0, []packet{{0, 1, 1}, {ms, 2, 2}, {time.Minute, 1, 2}}, 1},
		{"G5 predictive", hub.Group{Repin: time.Hour, Predictive: true}, hubtest.All, 1, []packet{{0, 1, 2}}, 1},
		{"G5 not predictive", hub.Group{Repin: time.Hour}, hubtest.All, 1, []packet{{0, 1, 1}}, 1},
		{"G3 pinned is down", hub.Group{Repin: time.Hour}, hubtest.All, 1, []packet{{0, 1, 1}, {ms, 2, 2}}, 1},
		{"G6 backup without ARR", hub.Group{}, func(site int) bool { return site != 2 }, 0, []packet{{0, 1, 1}, {time.Second, 2, 0}, {ms, 1, 1}}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := hubtest.New(t, hubtest.Options{ARR: tt.arr, Edit: grouped(tt.group)})
			n.Origin = hubtest.Echo
			n.Cut = func(id ident.OnRamp) bool { return id == tt.cut }
			n.Run(vt.Instant(5 * time.Second))
			for i, p := range tt.send {
				n.Now = n.Now.Add(p.after)
				if got := returned(t, n.FromSite(p.by, hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}.UDP())); got != p.back {
					t.Errorf("packet %d by %d: the reply went to %d, want %d", i, p.by, got, p.back)
				}
			}
			if c := n.Counters(); c.FlowsStarted != tt.flows {
				t.Errorf("%d flows, want %d", c.FlowsStarted, tt.flows)
			}
		})
	}
}

// TestAllDown: with every member down replies still go to the pinned one. G5.
func TestAllDown(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Edit: grouped(hub.Group{Predictive: true})})
	n.Origin, n.Cut = hubtest.Echo, func(ident.OnRamp) bool { return true }
	n.Run(vt.Instant(5 * time.Second))
	for site := ident.OnRamp(1); site <= 2; site++ {
		if got := returned(t, n.FromSite(site, hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}.UDP())); got != site {
			t.Errorf("the reply to %d went to %d", site, got)
		}
	}
}

// TestProbesOfOthers: servers begin and end to probe one after the other, and one
// that does not hands on what the others asked for. SEMANTICS 2.8.
func TestProbesOfOthers(t *testing.T) {
	for _, request := range []bool{false, true} {
		n := hubtest.New(t, hubtest.Options{Edit: probed(request)})
		n.Enter = func([]byte) ident.Server { return 1 }
		for _, id := range []ident.Server{1, 2} {
			c := n.ConfigOf(id)
			c.OnRamps = slices.Clone(c.OnRamps)
			for i := range c.OnRamps {
				c.OnRamps[i].Probing = nil
			}
			if err := n.Hubs[id].Reconfigure(0, c); err != nil {
				t.Fatal(err)
			}
		}
		n.Run(vt.Instant(10 * time.Second))
		c := n.Counters()
		if got := append(said(n, 1), said(n, 2)...); len(got) != 0 || c.Probes < 35 || c.Drops != [drop.Count]uint64{} {
			t.Errorf("request %v: %q, %d probes, drops %v; want healthy tunnels, 40 and none", request, got, c.Probes, c.Drops)
		}
	}
}

// TestGroupsRefused: a group that cannot be meant is an error.
func TestGroupsRefused(t *testing.T) {
	for name, edit := range map[string]func(*hub.Config){
		"one member":           func(c *hub.Config) { c.Groups = []hub.Group{{Members: []ident.OnRamp{1}}} },
		"no such on-ramp":      func(c *hub.Config) { c.Groups = []hub.Group{{Members: []ident.OnRamp{1, 9}}} },
		"twice":                func(c *hub.Config) { c.Groups = []hub.Group{{Members: []ident.OnRamp{1, 1}}} },
		"negative":             func(c *hub.Config) { c.Groups = []hub.Group{{Members: []ident.OnRamp{1, 2}, Repin: -1}} },
		"failback":             func(c *hub.Config) { c.Groups = []hub.Group{{Members: []ident.OnRamp{1, 2}, Failback: "later"}} },
		"probing without peer": func(c *hub.Config) { c.OnRamps[0].Probing = &hub.Probing{} },
		"device": func(c *hub.Config) {
			c.Groups = []hub.Group{{Members: []ident.OnRamp{1, hubtest.FirstDevice}}}
		},
	} {
		c := hubtest.Options{ARR: hubtest.All, Devices: 1, Edit: edit}.Config()
		if _, err := hub.New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
