package hub_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// conversation is one TCP connection of site 1 through a network.
type conversation struct {
	t      *testing.T
	n      *hubtest.Net
	egress netip.AddrPort
}

func (c *conversation) up(f hubtest.Flags, seq, ack uint32, payload string) []hubtest.Arrival {
	c.t.Helper()
	p := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web, Payload: []byte(payload)}
	out := c.n.FromSite(1, p.TCP(f, seq, ack, 0))
	if o := toInternet(out); len(o) == 1 {
		c.egress = hubtest.Decode(o[0].Packet).Src
	}
	return out
}

func (c *conversation) down(f hubtest.Flags, seq, ack uint32, payload string) []hubtest.Arrival {
	c.t.Helper()
	p := hubtest.IP{Src: hubtest.Web, Dst: c.egress, Payload: []byte(payload)}
	return c.n.Send(p.TCP(f, seq, ack, 0))
}

func (c *conversation) open() {
	c.t.Helper()
	c.up(hubtest.Flags{SYN: true}, 0xffffff00, 0, "") // the sequence numbers wrap
	c.down(hubtest.Flags{SYN: true, ACK: true}, 499, 0xffffff01, "")
	c.up(hubtest.Flags{ACK: true}, 0xffffff01, 500, "")
}

// starts, ends and refusals are the sessions that started, ended and were
// refused so far.
func starts(n *hubtest.Net) []*hub.Session   { return sessions(n, hub.FlowStart) }
func ends(n *hubtest.Net) []*hub.Session     { return sessions(n, hub.FlowEnd) }
func refusals(n *hubtest.Net) []*hub.Session { return sessions(n, hub.FlowRefused) }

func sessions(n *hubtest.Net, kind hub.EventKind) (all []*hub.Session) {
	for _, e := range n.Events {
		if e.Kind == kind {
			all = append(all, e.Session)
		}
	}
	return all
}

// TestBytes: TCP payload counts when its receiver acknowledges it; what is sent
// twice counts once, SYN and FIN not at all. SEMANTICS 6.4.
func TestBytes(t *testing.T) {
	c := &conversation{t: t, n: hubtest.New(t, hubtest.Options{ARR: hubtest.All})}
	ack := hubtest.Flags{ACK: true}
	c.open()
	request := strings.Repeat("q", 300)
	c.up(ack, 0xffffff01, 500, request)
	c.up(ack, 0xffffff01, 500, request) // retransmission
	next := uint32(45)                  // 0xffffff01 + 300, wrapped
	c.down(ack, 500, next, "")
	c.down(ack, 500, next+5000, "") // acknowledges what was never sent
	c.down(ack, 500, next, "answer")
	c.up(ack, next, 506, "")
	c.up(ack, next, 506, "")
	c.up(hubtest.Flags{ACK: true, FIN: true}, next, 506, "bye")
	c.up(hubtest.Flags{ACK: true, FIN: true}, next, 506, "bye")
	c.down(hubtest.Flags{ACK: true, FIN: true}, 506, next+4, "")
	if got := ends(c.n); len(got) != 0 {
		t.Fatalf("ended before the last acknowledgement: %+v", got[0])
	}
	c.n.Now = 7
	c.up(ack, next+4, 507, "")
	got := ends(c.n)
	if len(got) != 1 {
		t.Fatalf("%d sessions ended, want 1", len(got))
	}
	if s := got[0]; s.BytesSent != 303 || s.BytesReceived != 6 || s.Close != hub.ClientClosed || s.End != 7 || s.Start != 0 || s.Return != 1 {
		t.Errorf("session %+v, want 303 sent, 6 received, closed by the client at 7", s)
	}
	c.n.Now = vt.Instant(time.Hour)
	c.n.Timer()
	if got := ends(c.n); len(got) != 1 {
		t.Errorf("%d ends of one session", len(got))
	}
}

// TestPortHold: a closed flow keeps its port for the hold time; a SYN of the
// same tuple in that time starts a new session on the same egress port, and
// after it the port is free. SEMANTICS 5.5, 1.9.
func TestPortHold(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All})
	c := &conversation{t: t, n: n}
	c.open()
	fin := hubtest.Flags{ACK: true, FIN: true}
	c.down(fin, 500, 0xffffff01, "")
	c.up(fin, 0xffffff01, 501, "")
	c.down(hubtest.Flags{ACK: true}, 501, 0xffffff02, "")
	if got := ends(n); len(got) != 1 || got[0].Close != hub.OriginClosed {
		t.Fatalf("ends %+v, want one by the origin", got)
	}
	n.Now = vt.Instant(59 * time.Second)
	n.Timer()
	if out := c.up(hubtest.Flags{ACK: true}, 0xffffff02, 501, ""); len(toInternet(out)) != 1 {
		t.Error("the last acknowledgement was not repeated to the origin")
	}
	first := c.egress
	c.up(hubtest.Flags{SYN: true}, 1, 0, "")
	if s := starts(n); len(s) != 2 || s[1].Egress != first || c.egress != first || s[0].ID == s[1].ID {
		t.Fatalf("the reopened session: %+v, want a new one on %v", s, first)
	}
	n.Now = vt.Instant(59*time.Second + 30*time.Second)
	n.Timer()
	got := ends(n)
	if len(got) != 2 || got[1].Close != hub.OriginUnreachable || got[1].End != n.Now {
		t.Errorf("ends %+v, want the second after the connect timeout", got[1:])
	}
	if live := n.Counters().Flows; live != 0 {
		t.Errorf("%d flows live, want 0", live)
	}
}

// TestReset: a RST shortens a flow's timer and never ends it at once, because
// it may have been another's; traffic of both sides revives it. SEMANTICS 1.9,
// RFC 7857.
func TestReset(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All})
	c := &conversation{t: t, n: n}
	c.open()
	c.up(hubtest.Flags{RST: true}, 77, 0, "")
	if len(ends(n)) != 0 {
		t.Fatal("a RST ended the flow at once")
	}
	ack := hubtest.Flags{ACK: true}
	if back := c.down(ack, 500, 0xffffff01, "late"); returned(t, back) != 1 {
		t.Error("traffic after a RST was not returned")
	}
	c.up(ack, 0xffffff01, 504, "")
	n.Now = vt.Instant(time.Hour)
	n.Timer()
	if len(ends(n)) != 0 {
		t.Fatal("the revived flow ended after an hour, want 8")
	}
	c.down(hubtest.Flags{RST: true}, 504, 0, "")
	n.Now = n.Now.Add(240 * time.Second)
	n.Timer()
	if got := ends(n); len(got) != 1 || got[0].Close != hub.OriginError || got[0].End != vt.Instant(time.Hour) || got[0].BytesReceived != 4 {
		t.Errorf("ends %+v, want one for the origin's RST when it came", got)
	}
}

// TestRefusedConnection: a RST in answer to a SYN ends as ORIGIN_UNREACHABLE.
func TestRefusedConnection(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All})
	c := &conversation{t: t, n: n}
	c.up(hubtest.Flags{SYN: true}, 1, 0, "")
	if back := c.down(hubtest.Flags{RST: true, ACK: true}, 0, 2, ""); returned(t, back) != 1 {
		t.Fatal("the RST did not come back")
	}
	n.Now = vt.Instant(time.Hour)
	n.Timer()
	if got := ends(n); len(got) != 1 || got[0].Close != hub.OriginUnreachable {
		t.Errorf("ends %+v, want one ORIGIN_UNREACHABLE", got)
	}
}

// TestIdleTimers: each kind of flow ends after its own time. SEMANTICS 1.9.
func TestIdleTimers(t *testing.T) {
	p := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}
	dns := hubtest.IP{Src: hubtest.Till, Dst: netip.AddrPortFrom(hubtest.Web.Addr(), 53)}
	tests := []struct {
		name   string
		packet []byte
		idle   time.Duration
	}{
		{"connect", p.TCP(hubtest.Flags{SYN: true}, 1, 0, 0), 30 * time.Second},
		{"udp", p.UDP(), 300 * time.Second},
		{"dns", dns.UDP(), 10 * time.Second},
		{"ping", p.Ping(), 60 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 1, Servers: 1})
			n.FromSite(1, tt.packet)
			n.Now = vt.Instant(tt.idle) - 1
			n.Timer()
			if got := ends(n); len(got) != 0 {
				t.Fatalf("ended early")
			}
			wake := n.Hubs[1].NextWake()
			if late := wake.Sub(n.Now); late < 0 || late > 20*time.Millisecond {
				t.Errorf("wants to be woken %v after, want within a tick", late)
			}
			n.Now = wake
			n.Timer()
			if got := ends(n); len(got) != 1 || got[0].End != vt.Instant(tt.idle) {
				t.Errorf("ends %+v, want one at %v", got, tt.idle)
			}
			if got := n.Hubs[1].NextWake(); got != vt.Never {
				t.Errorf("an idle hub wants to be woken at %v", got)
			}
		})
	}
}

// TestOrphan: a mid-flow packet whose state is not here creates nothing; with
// orphan: reset its client is told, but a RST is never answered. SEMANTICS 1.9.
func TestOrphan(t *testing.T) {
	p := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web, Payload: []byte("mid")}
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Edit: func(c *hub.Config) { c.Tenants[0].Orphan = hub.OrphanReset }})
	out := n.FromSite(1, p.TCP(hubtest.Flags{ACK: true}, 10, 20, 0))
	v := hubtest.Decode(out[0].Packet)
	if len(out) != 1 || out[0].Site != 1 || !v.TCP.RST || v.TCP.ACK || v.TCP.Seq != 20 || v.Src != hubtest.Web || v.Dst != hubtest.Till || !v.Sound {
		t.Errorf("the client was told %v", v)
	}
	if out := n.FromSite(1, p.TCP(hubtest.Flags{RST: true}, 10, 0, 0)); len(out) != 0 {
		t.Errorf("a RST was answered with %+v", out)
	}
	if c := n.Counters(); c.Answered != 1 || c.Drops[drop.Orphan] != 1 || c.FlowsStarted != 0 {
		t.Errorf("counted %+v", c)
	}
}

// TestSecondHop: when a server joins, flows whose bucket it takes are still
// found at the bucket's previous home. SEMANTICS 5.3.
func TestSecondHop(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 1, Servers: 4, Edit: func(c *hub.Config) {
		c.Servers[3].Live = false
	}})
	const flows = 400
	for i := range flows {
		n.FromSite(1, client(i).TCP(hubtest.Flags{SYN: true}, 1, 0, 0))
	}
	n.Reconfigure(func(c *hub.Config) { c.SetLive(c.Servers[3].Name, true) })
	n.Enter = at(1)
	moved := 0
	for i := range flows {
		out := toInternet(n.FromSite(1, client(i).TCP(hubtest.Flags{ACK: true}, 2, 2, 0)))
		if len(out) != 1 {
			t.Fatalf("flow %d lost its way", i)
		}
		if out[0].Hops > 2 {
			moved++
		}
		if out[0].Server == 4 {
			t.Fatalf("flow %d is at the new server, which cannot have it", i)
		}
	}
	if moved == 0 {
		t.Error("no flow took the second hop")
	}
	if out := n.FromSite(1, client(flows+1).TCP(hubtest.Flags{ACK: true}, 2, 2, 0)); len(out) != 0 {
		t.Errorf("an unknown flow came out: %+v", out)
	}
	if c := n.Counters(); c.Drops[drop.Orphan] != 1 {
		t.Errorf("%d orphans, want 1", c.Drops[drop.Orphan])
	}
}

// TestTrust: hand-overs count only from a server's address on an inside link,
// tunnels only from their on-ramp's address and key, and nobody sends as us.
func TestTrust(t *testing.T) {
	key := uint32(9)
	o := hubtest.Options{ARR: hubtest.All, Edit: func(c *hub.Config) { c.OnRamps[1].Key = &key }}
	inner := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}.UDP()
	c := o.Config()
	us, peer := c.Servers[0].Handover, c.Servers[1].Handover
	first, second := c.OnRamps[0], c.OnRamps[1]
	handover, other := uint32(1<<24|1), uint32(8)
	spoofed := hubtest.IP{Src: netip.AddrPortFrom(c.Egress[0].Addr, 1), Dst: hubtest.Web}.UDP()
	hops, gone, odd := uint32(3<<24), uint32(1<<24|99), uint32(1<<27|1<<24|1)
	reply := hubtest.IP{Src: hubtest.Web, Dst: netip.AddrPortFrom(c.Egress[0].Addr, 2*2048)}.UDP()
	tests := []struct {
		name     string
		packet   []byte
		internal bool
		want     drop.Reason
	}{
		{"hand-over from outside", hubtest.GRE(peer, us, &handover, inner), false, drop.ForgedHandover},
		{"hand-over from a stranger", hubtest.GRE(first.Remote, us, &handover, inner), true, drop.ForgedHandover},
		{"hand-over from itself", hubtest.GRE(us, us, &handover, inner), true, drop.ForgedHandover},
		{"hand-over without key", hubtest.GRE(peer, us, nil, inner), true, drop.BadTunnel},
		{"hand-over with odd key", hubtest.GRE(peer, us, &odd, inner), true, drop.BadTunnel},
		{"hand-over of an unknown on-ramp", hubtest.GRE(peer, us, &gone, inner), true, drop.UnknownTunnel},
		{"handed over too often", hubtest.GRE(peer, us, &hops, reply), true, drop.HopLimit},
		{"hand-over to the wrong address", hubtest.GRE(peer, us, &hops, inner), true, drop.NotForUs},
		{"for another server", hubtest.GRE(us, peer, &handover, inner), true, drop.NotForUs},
		{"unknown branch", hubtest.GRE(hubtest.Web.Addr(), hubtest.Tunnel, nil, inner), false, drop.UnknownTunnel},
		{"key on a tunnel without", hubtest.GRE(first.Remote, hubtest.Tunnel, &key, inner), false, drop.UnknownTunnel},
		{"no key on a tunnel with", hubtest.GRE(second.Remote, hubtest.Tunnel, nil, inner), false, drop.UnknownTunnel},
		{"wrong key", hubtest.GRE(second.Remote, hubtest.Tunnel, &other, inner), false, drop.UnknownTunnel},
		{"no GRE", hubtest.IP{Src: netip.AddrPortFrom(first.Remote, 1), Dst: netip.AddrPortFrom(hubtest.Tunnel, 1)}.UDP(), false, drop.Unsupported},
		{"our address as source", hubtest.GRE(first.Remote, hubtest.Tunnel, nil, spoofed), false, drop.SpoofedSource},
		{"for nobody", inner, false, drop.NotForUs},
		{"ping to an egress address", hubtest.IP{Src: hubtest.Web, Dst: netip.AddrPortFrom(c.Egress[0].Addr, 0)}.Ping(), false, drop.NoFlow},
		{"nothing", nil, false, drop.Malformed},
		{"cut", inner[:19], false, drop.Malformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// Alone in its datacenter, so that every home is here.
			c := o.Config()
			c.Servers[1].Live = false
			h, err := hub.New(c)
			if err != nil {
				t.Fatal(err)
			}
			var out hub.Out
			h.HandlePacket(0, &hub.Packet{Data: tt.packet, Internal: tt.internal}, &out)
			got := h.Counters()
			if len(out.Send) != 0 || got.Drops[tt.want] != 1 || got.Packets != 1 {
				t.Errorf("sent %d packets, drops %v, want one drop for %v", len(out.Send), got.Drops, tt.want)
			}
		})
	}
}

// TestUnreachableTranslated: an ICMP error of the outside reaches the site that
// asked, and quotes the packet as the client sent it; one of the client reaches
// the origin likewise. RFC 5508 section 4, SEMANTICS 5.2.
func TestUnreachableTranslated(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All})
	p := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web, Payload: []byte("hello")}
	for name, packet := range map[string][]byte{"udp": p.UDP(), "tcp": p.TCP(hubtest.Flags{SYN: true}, 1, 0, 0), "ping": p.Ping()} {
		sent := n.FromSite(2, packet)[0].Packet
		back := n.Send(hubtest.Unreachable(netip.MustParseAddr("192.88.99.1"), 4, 1400, sent))
		if len(back) != 1 || back[0].Site != 2 {
			t.Fatalf("%s: the error went to %+v, want site 2", name, back)
		}
		v := hubtest.Decode(back[0].Packet)
		if v.Dst.Addr() != hubtest.Till.Addr() || v.Src.Addr().String() != "192.88.99.1" || v.ICMP.Seq != 1400 || !v.Sound {
			t.Errorf("%s: error came back as %v", name, v)
		}
		quoted, original := v.Payload, append([]byte(nil), packet[:28]...)
		// Sent on, the packet had one hop less.
		var m pkt.Meta
		m.Parse(packet)
		m.DecTTL(packet)
		copy(original[8:12], packet[8:12])
		if name == "tcp" { // only eight bytes are quoted, without the checksum
			original = original[:28]
		}
		if string(quoted) != string(original) {
			t.Errorf("%s: quotes\n%x, want\n%x", name, quoted, original)
		}
	}
	sent := hubtest.Decode(n.FromSite(2, p.UDP())[0].Packet)
	reply := n.Send(hubtest.IP{Src: hubtest.Web, Dst: sent.Src, Payload: []byte("x")}.UDP())[0].Packet
	out := n.FromSite(2, hubtest.Unreachable(netip.MustParseAddr("10.0.1.254"), 3, 0, reply))
	if len(out) != 1 || out[0].Site != 0 {
		t.Fatalf("the client's error came out as %+v", out)
	}
	v := hubtest.Decode(out[0].Packet)
	if quote := hubtest.Decode(v.Payload); v.Src.Addr() != sent.Src.Addr() || v.Dst.Addr() != hubtest.Web.Addr() || quote.Dst != sent.Src || !v.Sound {
		t.Errorf("the client's error left as %v quoting %v", v, quote)
	}
}

// TestReconfigure: an older epoch, another server or seed, and a bad
// configuration are refused and change nothing; flows whose on-ramp or port is
// gone end, the others stay.
func TestReconfigure(t *testing.T) {
	o := hubtest.Options{ARR: hubtest.All, Datacenters: 1, Servers: 1}
	c := o.Config()
	c.Epoch = 5
	h, err := hub.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var out hub.Out
	for site := range 2 {
		inner := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}.UDP()
		h.HandlePacket(0, &hub.Packet{Data: hubtest.GRE(c.OnRamps[site].Remote, hubtest.Tunnel, nil, inner)}, &out)
	}
	old, stranger, reseeded, broken := c, c, c, c
	old.Epoch, stranger.Self, reseeded.Seed, broken.Tunnels = 4, 2, 8, nil
	for _, tt := range []struct {
		config hub.Config
		want   error
	}{{old, hub.ErrOldEpoch}, {stranger, hub.ErrIdentity}, {reseeded, hub.ErrIdentity}, {broken, nil}} {
		if err := h.Reconfigure(1, tt.config); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("got %v, want %v", err, tt.want)
		}
	}
	next := c
	next.OnRamps = c.OnRamps[1:]
	if err := h.Reconfigure(2, next); err != nil {
		t.Fatal(err)
	}
	if got := h.NextWake(); got != 2 {
		t.Errorf("wants to be woken at %v for what ended, want 2", got)
	}
	out.Reset()
	h.HandleTimer(2, &out)
	if len(out.Events) != 1 || out.Events[0].Kind != hub.FlowEnd || out.Events[0].OnRamp != 1 {
		t.Fatalf("events %+v, want the end of on-ramp 1's flow", out.Events)
	}
	for s := range h.Sessions() {
		if s.OnRamp != 2 {
			t.Errorf("live: %+v, want on-ramp 2's only", s)
		}
	}
	moved := next
	moved.Egress = append(moved.Egress[:0:0], moved.Egress...)
	moved.Egress[0].Owner[2], moved.Egress[0].Owner[1] = 1, 0
	if err := h.Reconfigure(3, moved); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	h.HandleTimer(4, &out)
	if len(out.Events) != 1 || out.Events[0].Session.End != 3 {
		t.Errorf("events %+v, want the end of the flow whose slice moved away, at 3", out.Events)
	}
	out.Reset()
	h.Close(5, &out)
	if len(out.Events) != 0 {
		t.Errorf("events %+v, want none", out.Events)
	}
	if got := h.Counters(); got.Flows != 0 || got.FlowsStarted != 2 || got.FlowsEnded != 2 {
		t.Errorf("counted %+v", got)
	}
}

// TestNewRefuses: New says what is wrong, all of it.
func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name string
		edit func(*hub.Config)
		want string
	}{
		{"self", func(c *hub.Config) { c.Self = 99 }, "self is server 99"},
		{"server twice", func(c *hub.Config) { c.Servers[1].ID = 1 }, "an id of its own"},
		{"address twice", func(c *hub.Config) { c.Servers[1].Handover = c.Servers[0].Handover }, "another use"},
		{"hand-over of another family", func(c *hub.Config) { c.Servers[1].Handover = netip.MustParseAddr("2001:db8::9") }, "another family"},
		{"tunnel between families", func(c *hub.Config) { c.OnRamps[0].Local = hubtest.Tunnel6 }, "one family"},
		{"mapped address", func(c *hub.Config) { c.Tunnels = append(c.Tunnels, netip.MustParseAddr("::ffff:192.0.2.9")) }, "plain IPv4 or IPv6"},
		{"address inside", func(c *hub.Config) { c.OnRamps[0].Address6 = hubtest.Tunnel }, "inside the tunnel"},
		{"IPv6 egress in slices", func(c *hub.Config) { c.Egress[1].Owner[5] = 0 }, "one owner"},
		{"egress is a tunnel", func(c *hub.Config) { c.Egress[0].Addr = hubtest.Tunnel }, "another use"},
		{"on-ramp id", func(c *hub.Config) { c.OnRamps[0].ID = ident.MaxOnRamp + 1 }, "id of its own"},
		{"tenant", func(c *hub.Config) { c.OnRamps[0].Tenant = 2 }, "tenant 2 does not exist"},
		{"same tunnel", func(c *hub.Config) { c.OnRamps[1].Remote = c.OnRamps[0].Remote }, "same outer addresses"},
		{"kind", func(c *hub.Config) { c.OnRamps[0].Kind = "ipsec" }, `want kind "gre"`},
		{"mtu", func(c *hub.Config) { c.OnRamps[0].MTU = 100 }, "want an MTU"},
		{"next hop", func(c *hub.Config) {
			c.Routes = []route.Route{{ID: "x", Tenant: 1, VNet: 1, Prefix: hubtest.LAN, NextHop: 9}}
		}, "next hop 9"},
		{"slice 0", func(c *hub.Config) { c.Egress[0].Owner[0] = 1 }, "slice 0"},
		{"slice of another datacenter", func(c *hub.Config) { c.Egress[0].Owner[5] = 3 }, "not in datacenter"},
		{"timer", func(c *hub.Config) { c.Timers.UDP = -1 }, "want timers"},
		{"flow key", func(c *hub.Config) { c.Tenants[0].FlowKey = "x" }, "flow_key"},
		{"orphan", func(c *hub.Config) { c.Tenants[0].Orphan = "x" }, "orphan"},
		{"collision", func(c *hub.Config) { c.Tenants[0].Collision = "x" }, "collision"},
		{"on_exhaustion", func(c *hub.Config) { c.Tenants[0].OnExhaustion = "x" }, `on_exhaustion: want one of ["refuse" "another_address" "another_server"], got "x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := hub.New(hubtest.Options{Edit: tt.edit}.Config()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	twice := route.Route{ID: "x", Tenant: 1, VNet: 1, Prefix: hubtest.LAN, NextHop: 1}
	_, err := hub.New(hubtest.Options{Edit: func(c *hub.Config) { c.Routes = []route.Route{twice, twice} }}.Config())
	if d := new(route.DuplicateError); !errors.Is(err, route.ErrDuplicate) || !errors.As(err, &d) || d.Second.ID != "x" {
		t.Errorf("got %v, want a duplicate", err)
	}
}
