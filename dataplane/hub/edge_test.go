package hub_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// alone is a network of one server, so that every home and owner is it.
func alone(t *testing.T, edit func(*hub.Config)) *hubtest.Net {
	return hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 1, Servers: 1, Edit: edit})
}

// TestPortsComeBack: a slice that was exhausted serves again once its flows have
// ended, whether or not the timers were run.
func TestPortsComeBack(t *testing.T) {
	for _, sweep := range []bool{true, false} {
		n := alone(t, nil)
		fill := func(octet byte) (served int) {
			for i := range egress.SliceSize {
				p := hubtest.IP{Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, octet, 1, byte(i >> 8)}), uint16(i)), Dst: hubtest.Web}
				served += len(toInternet(n.FromSite(1, p.UDP())))
			}
			return served
		}
		if got := fill(0); got != egress.SliceSize {
			t.Fatalf("%d served, want %d", got, egress.SliceSize)
		}
		if got := fill(1); got != 0 {
			t.Fatalf("%d served by a full slice", got)
		}
		n.Now = vt.Instant(301 * time.Second)
		if sweep {
			n.Timer()
		}
		if got := fill(2); got != egress.SliceSize {
			t.Errorf("swept %v: %d served after the first ended, want %d", sweep, got, egress.SliceSize)
		}
	}
}

// TestTableFull: at the bound new flows are refused, and the old ones live.
func TestTableFull(t *testing.T) {
	n := alone(t, func(c *hub.Config) { c.Bounds.Flows = 3 })
	for i := range 3 {
		n.FromSite(1, client(i).UDP())
	}
	if out := n.FromSite(1, client(3).UDP()); len(out) != 0 {
		t.Error("a fourth flow was served")
	}
	if out := n.FromSite(1, client(0).UDP()); len(out) != 1 {
		t.Error("a live flow was refused")
	}
	if c := n.Counters(); c.Drops[drop.TableFull] != 1 || c.Flows != 3 {
		t.Errorf("%d refused, %d flows", c.Drops[drop.TableFull], c.Flows)
	}
	n.Now = vt.Instant(301 * time.Second)
	if out := n.FromSite(1, client(3).UDP()); len(out) != 1 {
		t.Error("a flow was refused although the others had run out")
	}
}

// TestLateClient: a client's packet after the idle timer is a new session, even
// if the timers were not run in between.
func TestLateClient(t *testing.T) {
	n := alone(t, nil)
	n.FromSite(1, client(1).UDP())
	n.Now = vt.Instant(300 * time.Second)
	n.FromSite(1, client(1).UDP())
	if s, e := starts(n), ends(n); len(s) != 2 || len(e) != 1 || s[0].ID == s[1].ID {
		t.Errorf("%d sessions started and %d ended, want 2 and 1", len(s), len(e))
	}
}

// TestTTL: a packet whose TTL has run out goes no further in any direction, and
// makes no flow; its sender is told.
func TestTTL(t *testing.T) {
	n := alone(t, func(c *hub.Config) {
		c.Routes = []route.Route{{Tenant: 1, VNet: 1, Prefix: netip.MustParsePrefix("10.9.0.0/16"), NextHop: 2}}
	})
	p := client(1)
	src := hubtest.Decode(n.FromSite(1, p.UDP())[0].Packet).Src
	site := hubtest.IP{Src: hubtest.Till, Dst: netip.MustParseAddrPort("10.9.0.1:1")}
	for _, ttl := range []uint8{0, 1, 2} {
		p, site, reply := p, site, hubtest.IP{Src: p.Dst, Dst: src}
		p.TTL, site.TTL, reply.TTL = ttl, ttl, ttl
		fresh := client(2)
		fresh.TTL = ttl
		dead := func(packet []byte) []byte { // gopacket's zero means 64
			var m pkt.Meta
			m.Parse(packet)
			for m.TTL > ttl {
				m.DecTTL(packet)
			}
			return packet
		}
		for name, out := range map[string][]hubtest.Arrival{
			"hit": n.FromSite(1, dead(p.UDP())), "site to site": n.FromSite(1, dead(site.Pong())), "keyed site to site": n.FromSite(1, dead(site.UDP())),
			"reply": n.Send(dead(reply.UDP())), "first": n.FromSite(1, dead(fresh.UDP())),
		} {
			if len(out) != 1 {
				t.Errorf("TTL %d, %s: %d packets, want 1", ttl, name, len(out))
				continue
			}
			v := hubtest.Decode(out[0].Packet)
			if ttl == 2 {
				if v.TTL != 1 {
					t.Errorf("%s left with TTL %d, want 1", name, v.TTL)
				}
				continue
			}
			quoted := hubtest.Decode(v.Payload)
			site, from := ident.OnRamp(1), hubtest.Tunnel
			if name == "reply" {
				site, from = 0, src.Addr()
			}
			if out[0].Site != site || v.ICMP == nil || v.ICMP.TypeCode != 0x0b00 || !v.Sound || v.Src.Addr() != from || v.Dst.Addr() != quoted.Src.Addr() {
				t.Errorf("TTL %d, %s: answered to site %d with %v from %v to %v, want time exceeded to site %d from %v to %v", ttl, name, out[0].Site, v.ICMP, v.Src, v.Dst, site, from, quoted.Src)
			} else if quoted.TTL != ttl || !quoted.Sound {
				t.Errorf("TTL %d, %s: quotes %x", ttl, name, v.Payload)
			}
		}
	}
	if c := n.Counters(); c.Answered != 10 || c.Drops[drop.TTLExpired] != 0 || c.FlowsStarted != 2 {
		t.Errorf("%d answered, %d dropped, %d flows, want 10, 0 and 2", c.Answered, c.Drops[drop.TTLExpired], c.FlowsStarted)
	}
}

// TestTimeExceededSilence: nobody is told about what RFC 1812 section 4.3.2.7
// names, nor a source that is the network itself; and the hub speaks by its
// address inside the tunnel if it has one.
func TestTimeExceededSilence(t *testing.T) {
	inside := netip.MustParseAddr("10.255.0.1")
	n := alone(t, func(c *hub.Config) { c.OnRamps[0].Address = inside })
	at := func(src, dst string) hubtest.IP {
		return hubtest.IP{Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst), TTL: 1}
	}
	good := at("10.0.1.5:1", "203.0.113.9:1")
	if out := n.FromSite(1, good.UDP()); len(out) != 1 || hubtest.Decode(out[0].Packet).Src.Addr() != inside {
		t.Errorf("sent %+v, want an answer from %v", out, inside)
	}
	late := hubtest.Unreachable(hubtest.Till.Addr(), 3, 0, good.UDP())
	late[10], late[8] = late[10]+63, 1 // TTL 64 to 1, and the checksum with it
	silent := map[string][]byte{
		"an ICMP error": late,
		"to multicast":  at("10.0.1.5:1", "224.0.0.5:1").UDP(), "to all": at("10.0.1.5:1", "255.255.255.255:1").UDP(),
		"from nobody": at("0.0.0.0:1", "203.0.113.9:1").UDP(), "from many": at("224.0.0.5:1", "203.0.113.9:1").UDP(),
		"from itself": at("127.0.0.1:1", "203.0.113.9:1").UDP(), "from class E": at("240.0.0.1:1", "203.0.113.9:1").UDP(),
	}
	for name, packet := range silent {
		if out := n.FromSite(1, packet); len(out) != 0 {
			t.Errorf("%s: sent %+v", name, out)
		}
	}
	own := netip.AddrPortFrom(n.Config.Egress[0].Addr, 1)
	if out := n.FromSite(1, hubtest.IP{Src: own, Dst: hubtest.Web, TTL: 1}.UDP()); len(out) != 0 {
		t.Errorf("from our own address: sent %+v", out)
	}
	if c := n.Counters(); c.Drops[drop.TTLExpired] != uint64(len(silent)) || c.Drops[drop.SpoofedSource] != 1 || c.Answered != 1 {
		t.Errorf("counted %+v", c)
	}
}

// TestLastHop: a packet handed over with the second-hop mark ends here: it opens
// nothing and goes nowhere else.
func TestLastHop(t *testing.T) {
	c := hubtest.Options{ARR: hubtest.All, Datacenters: 1, Edit: func(c *hub.Config) {
		c.Servers[1].Live, c.Servers[1].Was = false, 1
	}}.Config()
	h, err := hub.New(c)
	if err != nil {
		t.Fatal(err)
	}
	p := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}
	marked := uint32(1<<26 | 1<<24 | 1)
	for _, f := range []hubtest.Flags{{SYN: true}, {ACK: true}} {
		var out hub.Out
		h.HandlePacket(0, &hub.Packet{Data: hubtest.GRE(c.Servers[1].Handover, c.Servers[0].Handover, &marked, p.TCP(f, 1, 1, 0)), Internal: true}, &out)
		if len(out.Send) != 0 {
			t.Errorf("%+v: sent %+v", f, out.Send)
		}
	}
	if got := h.Counters(); got.Drops[drop.Orphan] != 2 || got.FlowsStarted != 0 {
		t.Errorf("%d orphans, %d flows, want 2 and 0", got.Drops[drop.Orphan], got.FlowsStarted)
	}
}

// TestReopenAfterReset: a SYN on a reset connection ends its session and starts
// the next one on the same port.
func TestReopenAfterReset(t *testing.T) {
	n := alone(t, nil)
	c := &conversation{t: t, n: n}
	c.open()
	first := c.egress
	c.up(hubtest.Flags{RST: true}, 0xffffff01, 0, "")
	c.up(hubtest.Flags{SYN: true}, 7, 0, "")
	s, e := starts(n), ends(n)
	if len(s) != 2 || len(e) != 1 || e[0].ID != s[0].ID || e[0].Close != hub.ClientError || c.egress != first {
		t.Errorf("%d started, ends %+v, port %v then %v", len(s), e, first, c.egress)
	}
	n.Reconfigure(func(c *hub.Config) {
		c.Routes = []route.Route{{Tenant: 1, VNet: 1, Prefix: netip.PrefixFrom(hubtest.Web.Addr(), 32), NextHop: 2}}
	})
	c.up(hubtest.Flags{RST: true}, 8, 0, "")
	if out := c.up(hubtest.Flags{SYN: true}, 9, 0, ""); returned(t, out) != 2 {
		t.Errorf("the next SYN went to %+v, want the new route", out)
	}
	if e := ends(n); len(e) != 2 {
		t.Errorf("%d ended, want 2", len(e))
	}
}

// TestForgedQuotes: an ICMP error counts only if it quotes a packet between its
// own two ends: nobody can have one translated toward a third party.
func TestForgedQuotes(t *testing.T) {
	n := alone(t, nil)
	p := client(1)
	sent := n.FromSite(1, p.UDP())[0].Packet
	src := hubtest.Decode(sent).Src
	reply := n.Send(hubtest.IP{Src: p.Dst, Dst: src}.UDP())[0].Packet
	router := netip.MustParseAddr("192.88.99.1")
	redirect := func(icmp []byte, to netip.Addr) []byte {
		var m pkt.Meta
		m.Parse(icmp)
		m.SetDst(icmp, to, 0, pkt.Offload{})
		return icmp
	}
	n.Config.Egress = append(n.Config.Egress, n.Config.Egress[0])
	if out := n.FromSite(1, redirect(hubtest.Unreachable(hubtest.Till.Addr(), 3, 0, reply), router)); len(out) != 0 {
		t.Errorf("the client's error to a stranger came out as %+v", out)
	}
	quote := hubtest.Decode(sent)
	other := hubtest.IP{Src: netip.AddrPortFrom(router, quote.Src.Port()), Dst: quote.Dst}.UDP()
	if out := n.Send(redirect(hubtest.Unreachable(router, 3, 0, other), src.Addr())); len(out) != 0 {
		t.Errorf("an error about a stranger's packet came out as %+v", out)
	}
	if c := n.Counters(); c.Drops[drop.Unsupported] != 2 {
		t.Errorf("%d unsupported, want 2", c.Drops[drop.Unsupported])
	}
}

// TestConnectTimeout: stray acknowledgements do not keep a connect attempt alive.
func TestConnectTimeout(t *testing.T) {
	n := alone(t, nil)
	c := &conversation{t: t, n: n}
	c.up(hubtest.Flags{SYN: true}, 1, 0, "")
	n.Now = vt.Instant(20 * time.Second)
	c.up(hubtest.Flags{ACK: true}, 2, 1, "")
	c.up(hubtest.Flags{SYN: true}, 1, 0, "")
	n.Now = vt.Instant(30 * time.Second)
	n.Timer()
	if got := ends(n); len(got) != 1 || got[0].Close != hub.OriginUnreachable {
		t.Errorf("ends %+v, want one at 30 s", got)
	}
}

// TestSuperpackets: segmentation left to the hardware passes through; what
// counts against the tunnel's MTU is a segment.
func TestSuperpackets(t *testing.T) {
	c := hubtest.Options{ARR: hubtest.All, Datacenters: 1, Servers: 1}.Config()
	h, err := hub.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var out hub.Out
	syn := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}.TCP(hubtest.Flags{SYN: true}, 1, 0, 0)
	h.HandlePacket(0, &hub.Packet{Data: hubtest.GRE(c.OnRamps[0].Remote, hubtest.Tunnel, nil, syn)}, &out)
	src := hubtest.Decode(out.Send[0].Data).Src
	reply := hubtest.IP{Src: hubtest.Web, Dst: src, Payload: make([]byte, 60000)}
	send := func(segment uint16, df bool) hub.Send {
		reply.ClearDF = !df
		out.Reset()
		h.HandlePacket(0, &hub.Packet{Data: reply.TCP(hubtest.Flags{ACK: true}, 1, 2, 0), Offload: pkt.Offload{Segment: segment, Partial: true}}, &out)
		if len(out.Send) != 1 {
			t.Fatalf("segments of %d: %d packets", segment, len(out.Send))
		}
		return out.Send[0]
	}
	if s := send(1436, true); len(s.Data) != 60040 || s.Offload != (pkt.Offload{Segment: 1436, Partial: true}) || s.Encap.Dst != c.OnRamps[0].Remote {
		t.Errorf("fitting segments left as %d bytes, %+v into %+v", len(s.Data), s.Offload, s.Encap)
	}
	s := send(1448, true)
	if v := hubtest.Decode(s.Data); !s.Encap.IsZero() || v.ICMP == nil || v.ICMP.TypeCode != 0x0304 || v.ICMP.Seq != 1476 || !v.Sound {
		t.Errorf("too big segments were answered with %+v", v)
	} else if quoted := binary.BigEndian.Uint16(v.Payload[2:]); quoted != 1488 || !pkt.HeaderSound(v.Payload[:20]) {
		t.Errorf("the answer quotes a packet of %d bytes, want the segment's 1488", quoted)
	}
	if s := send(1448, false); s.Offload.Segment != 1436 || len(s.Data) != 60040 {
		t.Errorf("without DF they left as %+v, want smaller segments", s.Offload)
	}
}

// TestUDPSuperpackets: they are not accepted, see pkt.Offload.
func TestUDPSuperpackets(t *testing.T) {
	n := alone(t, nil)
	ramp := n.Config.OnRamps[0]
	var out hub.Out
	n.Hubs[1].HandlePacket(0, &hub.Packet{Data: hubtest.GRE(ramp.Remote, ramp.Local, nil, client(1).UDP()), Offload: pkt.Offload{Segment: 1000}}, &out)
	if c := n.Counters(); len(out.Send) != 0 || c.Drops[drop.Unsupported] != 1 {
		t.Errorf("sent %d packets, counted %+v", len(out.Send), c)
	}
}

// TestPartialFragments: a datagram whose checksum was left to the hardware is
// given it before it is cut up.
func TestPartialFragments(t *testing.T) {
	c := hubtest.Options{ARR: hubtest.All, Datacenters: 1, Servers: 1}.Config()
	h, err := hub.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var out hub.Out
	h.HandlePacket(0, &hub.Packet{Data: hubtest.GRE(c.OnRamps[0].Remote, hubtest.Tunnel, nil, hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}.UDP())}, &out)
	src := hubtest.Decode(out.Send[0].Data).Src
	reply := hubtest.IP{Src: hubtest.Web, Dst: src, ClearDF: true, Payload: bytes.Repeat([]byte{7, 9}, 1000)}
	data := reply.UDP()
	var sum uint32 // the pseudo header's, as a kernel leaves it
	for i := 12; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	sum += 17 + 2008
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(data[26:], uint16(sum))
	out.Reset()
	h.HandlePacket(0, &hub.Packet{Data: data, Offload: pkt.Offload{Partial: true}}, &out)
	if len(out.Send) != 2 {
		t.Fatalf("%d fragments, want 2", len(out.Send))
	}
	reply.Dst = hubtest.Till
	want := reply.UDP()
	if got := out.Send[0].Data[26:28]; !bytes.Equal(got, want[26:28]) || out.Send[0].Offload.Partial {
		t.Errorf("the checksum is %x, want %x", got, want[26:28])
	}
}

// TestTooBigError: an ICMP error too big for the tunnel is not answered with
// another. RFC 1122 section 3.2.2.
func TestTooBigError(t *testing.T) {
	n := alone(t, nil)
	p := client(1)
	sent := n.FromSite(1, p.UDP())[0].Packet
	icmp := hubtest.Unreachable(netip.MustParseAddr("192.88.99.1"), 3, 0, sent)
	long := append(icmp, make([]byte, 1500)...)
	binary.BigEndian.PutUint16(long[2:], uint16(len(long)))
	long[10], long[11] = 0, 0
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(long[i:]))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(long[10:], ^uint16(sum))
	if out := n.Send(long); len(out) != 0 {
		t.Errorf("answered with %+v", out)
	}
	if got := n.Counters().Drops[drop.TooBig]; got != 1 {
		t.Errorf("%d too big, want 1", got)
	}
}

// TestOX2: two tenants send the identical tuple at once: separate flows of
// separate ports, each with its own reply and its own tenant in the record; and
// what one closes does not touch the other's. SEMANTICS OX-2.
func TestOX2(t *testing.T) {
	n := alone(t, func(c *hub.Config) {
		c.Tenants = append(c.Tenants, hub.Tenant{ID: 2, Name: "other"})
		c.OnRamps[1].Tenant = 2
	})
	var egress [3]netip.AddrPort
	for site := ident.OnRamp(1); site <= 2; site++ {
		out := toInternet(n.FromSite(site, client(1).TCP(hubtest.Flags{SYN: true}, 1, 0, 0)))
		if len(out) != 1 {
			t.Fatalf("tenant %d: %d packets left, want 1", site, len(out))
		}
		egress[site] = hubtest.Decode(out[0].Packet).Src
	}
	started := starts(n)
	if len(started) != 2 || started[0].Tenant != 1 || started[1].Tenant != 2 || started[0].ID == started[1].ID || egress[1] == egress[2] {
		t.Errorf("sessions %+v leave as %v and %v, want one of each tenant", started, egress[1], egress[2])
	}
	n.FromSite(1, client(1).TCP(hubtest.Flags{RST: true}, 2, 0, 0))
	for site := ident.OnRamp(2); site >= 1; site-- {
		reply := hubtest.IP{Src: client(1).Dst, Dst: egress[site]}
		if got := returned(t, n.Send(reply.TCP(hubtest.Flags{SYN: true, ACK: true}, 7, 2, 0))); got != site {
			t.Errorf("the reply of tenant %d came to site %d", site, got)
		}
	}
}

// TestTenantsApart: two tenants with one tuple have two flows, and a next hop of
// another tenant is refused.
func TestTenantsApart(t *testing.T) {
	two := func(c *hub.Config) {
		c.Tenants = append(c.Tenants, hub.Tenant{ID: 2, FlowKey: hub.FlowKeyTuple})
		c.Tenants[0].FlowKey = hub.FlowKeyTuple
		c.OnRamps[1].Tenant = 2
	}
	n := alone(t, two)
	n.Origin = hubtest.Echo
	for site := ident.OnRamp(1); site <= 2; site++ {
		if got := returned(t, n.FromSite(site, client(1).UDP())); got != site {
			t.Errorf("tenant %d's reply went to %d", site, got)
		}
	}
	if c := n.Counters(); c.FlowsStarted != 2 {
		t.Errorf("%d flows, want 2", c.FlowsStarted)
	}
	_, err := hub.New(hubtest.Options{Edit: func(c *hub.Config) {
		two(c)
		c.Routes = []route.Route{{Tenant: 1, VNet: 1, Prefix: hubtest.LAN, NextHop: 2}}
	}}.Config())
	if err == nil {
		t.Error("a route into another tenant's on-ramp was accepted")
	}
}
