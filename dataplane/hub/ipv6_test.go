package hub_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
)

func six() hubtest.Family { return hubtest.Families()[1] }

// TestSU8: IPv6 egress takes no forwarding hop: a server's address is its own
// with every port, so a flow leaves by the server that keeps it, and a reply that
// is routed by its address alone arrives there. SEMANTICS SU-8.
func TestSU8(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 3, Servers: 3})
	owner := make(map[netip.Addr]ident.Server)
	served := make(map[ident.Server]int)
	for _, a := range n.Config.Egress {
		if a.Addr.Is4() {
			continue
		}
		for port := range 1 << 16 {
			want := a.Owner[1]
			if port < egress.SliceSize {
				want = 0
			}
			if got := a.OwnerOf(uint16(port)); got != want {
				t.Fatalf("%v port %d is owned by server %d, want %d", a.Addr, port, got, want)
			}
		}
		owner[a.Addr] = a.Owner[1]
		served[a.Owner[1]]++
	}
	if len(served) != 9 {
		t.Fatalf("%d servers have an IPv6 address of their own, want 9", len(served))
	}
	clear(served)
	for i := range 900 {
		p := six().Client(i)
		packet := p.UDP()
		if i%2 == 1 {
			packet = p.Ping()
		}
		out := n.FromSite(1, packet)
		if len(out) != 1 || out[0].Site != 0 {
			t.Fatalf("flow %d came out as %+v", i, out)
		}
		src := hubtest.Decode(out[0].Packet).Src
		if owner[src.Addr()] != out[0].Server {
			t.Fatalf("flow %d left server %d as %v, the address of server %d", i, out[0].Server, src, owner[src.Addr()])
		}
		served[out[0].Server]++
		reply := hubtest.IP{Src: p.Dst, Dst: src}
		answer := reply.UDP()
		if i%2 == 1 {
			reply.Src, reply.Dst = netip.AddrPortFrom(p.Dst.Addr(), 0), src
			answer = reply.Pong()
		}
		back := n.Send(answer)
		if len(back) != 1 || back[0].Site != 1 || back[0].Hops != 1 {
			t.Fatalf("the reply to %v came as %+v, want one server on its way to site 1", src, back)
		}
	}
	if len(served) != 3 && len(served) != 9 {
		t.Errorf("flows left by %v, want all servers of a datacenter", served)
	}
	if c := n.Counters(); c.HandedOver != c.Packets-c.Forwarded-c.Returned || c.Returned != 900 {
		t.Errorf("counted %+v", c)
	}
}

// TestNoEgress: where a family has no egress address, its flows are refused by
// that name, the client of TCP is told, and the other family is served.
func TestNoEgress(t *testing.T) {
	hubtest.EachFamily(t, func(t *testing.T, f hubtest.Family) {
		n := alone(t, func(c *hub.Config) {
			c.Egress = slices.DeleteFunc(c.Egress, func(a egress.Address) bool { return a.Addr.Is4() == f.Web.Addr().Is4() })
		})
		out := n.FromSite(1, f.Client(1).TCP(hubtest.Flags{SYN: true}, 5, 0, 1460))
		if len(out) != 1 || out[0].Site != 1 {
			t.Fatalf("the SYN came out as %+v, want a reset", out)
		}
		if v := hubtest.Decode(out[0].Packet); v.TCP == nil || !v.TCP.RST || v.TCP.Ack != 6 || !v.Sound || v.Dst != f.Client(1).Src {
			t.Errorf("the client was told %+v", v)
		}
		if out := n.FromSite(1, f.Client(2).UDP()); len(out) != 0 {
			t.Errorf("a datagram came out as %+v", out)
		}
		for _, other := range hubtest.Families() {
			if other.Name != f.Name && len(n.FromSite(1, other.Client(1).UDP())) != 1 {
				t.Errorf("%s was refused too", other.Name)
			}
		}
		if c := n.Counters(); c.Drops[drop.NoEgress] != 2 || c.FlowsStarted != 1 {
			t.Errorf("%d without egress, %d flows, want 2 and 1", c.Drops[drop.NoEgress], c.FlowsStarted)
		}
		refusals := 0
		for _, e := range n.Events {
			if e.Kind == hub.FlowRefused && e.Session.Close == hub.EgressPortAllocationError {
				refusals++
			}
		}
		if refusals != 2 {
			t.Errorf("%d sessions refused, want 2", refusals)
		}
	})
}

// TestErrorTranslated6: an ICMPv6 error about a translated packet reaches the
// site that sent it and quotes the packet as the client knows it, checksums and
// all; the client's own error reaches the origin likewise. This is path MTU
// discovery. SEMANTICS SU-9.
func TestErrorTranslated6(t *testing.T) {
	f := six()
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All})
	p := hubtest.IP{Src: f.Till, Dst: f.Web, Payload: []byte("hello")}
	for name, packet := range map[string][]byte{"udp": p.UDP(), "tcp": p.TCP(hubtest.Flags{SYN: true}, 1, 0, 0), "ping": p.Ping()} {
		sent := n.FromSite(2, packet)[0].Packet
		for _, mtu := range []uint16{0, 1300} {
			back := n.Send(hubtest.Unreachable(f.Router, 4, mtu, sent))
			if len(back) != 1 || back[0].Site != 2 {
				t.Fatalf("%s: the error went to %+v, want site 2", name, back)
			}
			v := hubtest.Decode(back[0].Packet)
			if v.Dst.Addr() != f.Till.Addr() || v.Src.Addr() != f.Router || v.TooBig() != int(mtu) || !v.Sound {
				t.Errorf("%s: error came back as %v", name, v)
			}
			original := bytes.Clone(packet)
			original[7]-- // sent on, it had one hop less
			if !bytes.Equal(v.Payload, original) {
				t.Errorf("%s: quotes\n%x, want\n%x", name, v.Payload, original)
			}
		}
	}
	sent := hubtest.Decode(n.FromSite(2, p.UDP())[0].Packet)
	reply := n.Send(hubtest.IP{Src: f.Web, Dst: sent.Src, Payload: []byte("x")}.UDP())[0].Packet
	out := n.FromSite(2, hubtest.Unreachable(netip.MustParseAddr("fd00:0:0:1::254"), 4, 0, reply))
	if len(out) != 1 || out[0].Site != 0 {
		t.Fatalf("the client's error came out as %+v", out)
	}
	v := hubtest.Decode(out[0].Packet)
	if quote := hubtest.Decode(v.Payload); v.Src.Addr() != sent.Src.Addr() || v.Dst.Addr() != f.Web.Addr() || quote.Dst != sent.Src || !v.Sound || !quote.Sound {
		t.Errorf("the client's error left as %v quoting %v", v, quote)
	}
}

// TestHopLimit6: a packet whose hop limit runs out is answered from the hub's
// IPv6 address inside the tunnel, and dropped in silence if it has none.
func TestHopLimit6(t *testing.T) {
	f := six()
	inside := netip.MustParseAddr("fd00:ff::1")
	n := alone(t, func(c *hub.Config) { c.OnRamps[0].Address6 = inside })
	p := f.Client(1)
	p.TTL = 1
	out := n.FromSite(1, p.UDP())
	if len(out) != 1 || out[0].Site != 1 {
		t.Fatalf("came out as %+v, want time exceeded", out)
	}
	v := hubtest.Decode(out[0].Packet)
	if v.ICMP6 == nil || v.ICMP6.TypeCode != 0x0300 || v.Src.Addr() != inside || v.Dst.Addr() != p.Src.Addr() || !v.Sound || !bytes.Equal(v.Payload, p.UDP()) {
		t.Errorf("answered with %+v", v)
	}
	if out := n.FromSite(2, p.UDP()); len(out) != 0 || n.Counters().Drops[drop.TTLExpired] != 1 {
		t.Errorf("without an address: %+v, want a drop", out)
	}
}

// TestExtensions6: a packet is read behind its extension headers and keeps them;
// one that means another destination than it says is not translated. RFC 8200.
func TestExtensions6(t *testing.T) {
	f := six()
	n := alone(t, nil)
	pad := func(proto byte) hubtest.Extension {
		return hubtest.Extension{Proto: 60, Bytes: []byte{proto, 0, 1, 4, 0, 0, 0, 0}}
	}
	hop := hubtest.Extension{Bytes: []byte{0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}
	routing := func(left byte) hubtest.Extension {
		e := hubtest.Extension{Proto: 43, Bytes: make([]byte, 24)}
		e.Bytes[1], e.Bytes[2], e.Bytes[3] = 2, 2, left
		return e
	}
	for name, before := range map[string][]hubtest.Extension{
		"options": {pad(0)}, "hop by hop": {hop}, "all": {hop, pad(0), routing(0), pad(0)},
	} {
		p := f.Client(1)
		p.Payload, p.Before = []byte("payload"), before
		for what, packet := range map[string][]byte{"udp": p.UDP(), "ping": p.Ping(), "tcp": p.TCP(hubtest.Flags{SYN: true}, 1, 0, 1460)} {
			out := toInternet(n.FromSite(1, packet))
			if len(out) != 1 {
				t.Fatalf("%s, %s: %d packets, want 1", name, what, len(out))
			}
			v := hubtest.Decode(out[0].Packet)
			if !v.Sound || string(v.Payload) != "payload" || len(out[0].Packet) != len(packet) || !bytes.Equal(out[0].Packet[40:40+8*len(before)], packet[40:40+8*len(before)]) {
				t.Errorf("%s, %s: left as %+v", name, what, v)
			}
		}
	}
	p := f.Client(2)
	p.Before = []hubtest.Extension{routing(1)}
	if out := n.FromSite(1, p.UDP()); len(out) != 0 || n.Counters().Drops[drop.Unsupported] != 1 {
		t.Errorf("a packet with segments left came out as %+v", out)
	}
}

// TestOuter6: tunnels over IPv6 carry both families, take 44 bytes, and find
// their on-ramp by address and key behind an encapsulation limit, as Linux sends
// it. RFC 2473 section 4.1.1.
func TestOuter6(t *testing.T) {
	key := uint32(7)
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Outer6: true, Edit: func(c *hub.Config) {
		c.OnRamps[1].Remote, c.OnRamps[1].Key = c.OnRamps[0].Remote, &key
	}})
	n.Origin = hubtest.Echo
	for _, f := range hubtest.Families() {
		for site := ident.OnRamp(1); site <= 2; site++ {
			if got := returned(t, n.FromSite(site, hubtest.IP{Src: f.Till, Dst: f.Web}.UDP())); got != site {
				t.Errorf("%s: the reply to site %d went to %d", f.Name, site, got)
			}
		}
		out := toInternet(n.FromSite(1, hubtest.IP{Src: f.Till, Dst: f.Web}.TCP(hubtest.Flags{SYN: true}, 1, 0, 1460)))
		v := hubtest.Decode(out[0].Packet)
		if got, want := int(binary.BigEndian.Uint16(v.TCP.Options[1].OptionData)), 1456-f.Header-20; got != want {
			t.Errorf("%s: MSS %d, want %d", f.Name, got, want)
		}
		big := hubtest.IP{Src: f.Web, Dst: v.Src, Payload: make([]byte, 1457-f.Header-20)}.TCP(hubtest.Flags{ACK: true}, 1, 2, 0)
		n.Origin = nil
		back := n.Send(big)
		if told := hubtest.Decode(back[0].Packet); len(back) != 1 || told.TooBig() != 1456 {
			t.Errorf("%s: 1457 bytes were answered with %+v", f.Name, back)
		}
		n.Origin = hubtest.Echo
	}
	limited := hubtest.GRE(n.Config.OnRamps[0].Remote, hubtest.Tunnel6, nil, six().Client(5).UDP())
	limited = slices.Concat(limited[:40], []byte{47, 0, 4, 1, 4, 1, 1, 0}, limited[40:])
	limited[6] = 60
	binary.BigEndian.PutUint16(limited[4:], uint16(len(limited)-40))
	if got := returned(t, n.Send(limited)); got != 1 {
		t.Errorf("behind an encapsulation limit: the reply went to site %d, want 1", got)
	}
}

// TestRefused6: what must not be carried on, by its reason.
func TestRefused6(t *testing.T) {
	f := six()
	from := func(src string) hubtest.IP {
		return hubtest.IP{Src: netip.MustParseAddrPort(src), Dst: f.Web}
	}
	zero := f.Client(1).UDP()
	zero[46], zero[47] = 0, 0
	mapped := f.Client(1).UDP()
	copy(mapped[8:], netip.MustParseAddr("::ffff:10.0.1.5").AsSlice())
	own := hubtest.Options{Datacenters: 1, Servers: 1}.Config().Egress[1].Addr
	tests := []struct {
		name  string
		inner []byte
		want  drop.Reason
	}{
		{"link-local source", from("[fe80::1]:1").UDP(), drop.SpoofedSource},
		{"no source", from("[::]:1").UDP(), drop.SpoofedSource},
		{"multicast source", from("[ff02::1]:1").Pong(), drop.SpoofedSource},
		{"our own source", hubtest.IP{Src: netip.AddrPortFrom(own, 1), Dst: f.Web}.UDP(), drop.SpoofedSource},
		{"mapped IPv4", mapped, drop.Malformed},
		{"UDP without checksum", zero, drop.Malformed},
		{"cut", f.Client(1).UDP()[:47], drop.Malformed},
		{"private, no route", hubtest.IP{Src: f.Till, Dst: netip.AddrPortFrom(f.Private, 1)}.UDP(), drop.NullRouted},
		{"link-local destination", hubtest.IP{Src: f.Till, Dst: netip.MustParseAddrPort("[fe80::1]:1")}.UDP(), drop.NullRouted},
	}
	for _, tt := range tests {
		n := alone(t, nil)
		if out := n.FromSite(1, tt.inner); len(out) != 0 || n.Counters().Drops[tt.want] != 1 {
			t.Errorf("%s: sent %+v, dropped %v, want %v", tt.name, out, n.Counters().Drops, tt.want)
		}
	}
	n := alone(t, nil)
	wrong := hubtest.GRE(n.Config.OnRamps[0].Remote, hubtest.Tunnel, nil, f.Client(1).UDP())
	wrong[22], wrong[23] = 8, 0
	if out := n.Send(wrong); len(out) != 0 || n.Counters().Drops[drop.BadTunnel] != 1 {
		t.Errorf("IPv6 marked as IPv4: sent %+v", out)
	}
	for port, want := range map[uint16]drop.Reason{80: drop.NoOwner, 2048: drop.NoFlow} {
		if out := n.Send(hubtest.IP{Src: f.Web, Dst: netip.AddrPortFrom(own, port)}.UDP()); len(out) != 0 || n.Counters().Drops[want] != 1 {
			t.Errorf("a reply to port %d came out as %+v, want %v", port, out, want)
		}
	}
}

// fragments cuts an IPv6 packet as its sender would, which calls it id.
func fragments(packet []byte, mtu int, id uint32) (all [][]byte) {
	var m pkt.Meta
	m.Parse(packet)
	m.FragID = id
	for from, more := 0, true; more; more = from != 0 {
		var part []byte
		part, from = m.AppendFragment(nil, packet, mtu, from)
		all = append(all, part)
	}
	return all
}

// TestFragments6: a datagram in fragments is translated as a whole in both
// directions and goes on in fragments that fit; coming back, they need no
// forwarding hop either. Coming back they have the identification that the origin gave
// them: replies of one origin to equal addresses may meet where they are put together.
// RFC 8200 section 4.5, SEMANTICS SU-8.
func TestFragments6(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 2, Servers: 3})
	for i := range 20 {
		p := six().Client(i)
		p.Payload = bytes.Repeat([]byte{byte(i), 1, 2, 3}, 900)
		join := func(arrived []hubtest.Arrival, mtu int) []byte {
			t.Helper()
			var whole []byte
			for _, a := range arrived {
				var m pkt.Meta
				if m.Parse(a.Packet); m.Kind != pkt.Fragment || int(m.FragOffset) != len(whole) || len(a.Packet) > mtu {
					t.Fatalf("got %+v of %d bytes at %d", m, len(a.Packet), len(whole))
				}
				whole = append(whole, a.Packet[m.L4+8:]...)
			}
			return whole
		}
		var out []hubtest.Arrival
		for _, part := range fragments(p.UDP(), 1400, 77) {
			out = append(out, n.FromSite(1, part)...)
		}
		whole := join(toInternet(out), 1500)
		if len(whole) != 3608 {
			t.Fatalf("flow %d: %d bytes left", i, len(whole))
		}
		var m pkt.Meta
		m.Parse(out[0].Packet)
		left := hubtest.IP{Src: netip.AddrPortFrom(m.Src, binary.BigEndian.Uint16(whole)), Dst: p.Dst, Payload: p.Payload}
		if !bytes.Equal(whole, left.UDP()[40:]) {
			t.Fatalf("flow %d left as %x", i, whole[:8])
		}
		var back []hubtest.Arrival
		id := 0xabcd0000 + uint32(i)
		for _, part := range fragments(hubtest.IP{Src: p.Dst, Dst: left.Src, Payload: p.Payload}.UDP(), 1500, id) {
			back = append(back, n.Send(part)...)
		}
		for _, a := range back {
			if m.Parse(a.Packet); m.FragID != id {
				t.Errorf("flow %d: a fragment came back as %#x, want %#x", i, m.FragID, id)
			}
			if a.Site != 1 || a.Hops != 1 || a.Server != out[0].Server {
				t.Fatalf("flow %d: a fragment came back to site %d by server %d in %d hops", i, a.Site, a.Server, a.Hops)
			}
		}
		reply := hubtest.IP{Src: p.Dst, Dst: p.Src, Payload: p.Payload}
		if whole := join(back, 1476); !bytes.Equal(whole, reply.UDP()[40:]) {
			t.Fatalf("flow %d came back as %x", i, whole[:8])
		}
	}
}
