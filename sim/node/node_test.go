package node_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/node"
	"github.com/homeward-lab/homeward/sim/packet"
)

// port keeps what leaves.
type port struct {
	pool *packet.Pool
	mtu  int
	sent []hubtest.View
	raw  [][]byte
}

func (p *port) MTU() int { return p.mtu }

func (p *port) Send(h packet.Handle) {
	b := append([]byte(nil), p.pool.Data(h)...)
	p.raw = append(p.raw, b)
	p.sent = append(p.sent, hubtest.Decode(b))
	p.pool.Free(h)
}

var (
	inside = netip.MustParseAddrPort("10.0.1.5:4000")
	web    = netip.MustParseAddrPort("203.0.113.9:443")
	router = netip.MustParseAddr("10.0.1.1")
)

// machine is a router with a LAN and the Internet.
func machine(pool *packet.Pool, mtu int) (n *node.Node, lan, wan *port) {
	n = node.New("router", pool, 1, true)
	lan, wan = &port{pool: pool, mtu: 1500}, &port{pool: pool, mtu: mtu}
	n.AddAddress(router)
	n.AddRoute(netip.MustParsePrefix("10.0.1.0/24"), lan)
	n.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), wan)
	n.AddRoute(netip.MustParsePrefix("192.168.0.0/16"))
	return n, lan, wan
}

// TestRouter: what a kernel's router does with packets.
func TestRouter(t *testing.T) {
	var pool packet.Pool
	n, lan, wan := machine(&pool, 1400)
	send := func(b []byte) { n.Input(pool.Make(b)) }
	send(hubtest.IP{Src: inside, Dst: web, Payload: []byte("x")}.UDP())
	if len(wan.sent) != 1 || !wan.sent[0].Sound || wan.sent[0].TTL != 63 || wan.sent[0].Src != inside {
		t.Errorf("forwarded %+v", wan.sent)
	}
	send(hubtest.IP{Src: inside, Dst: web, TTL: 1}.UDP())
	if len(lan.sent) != 1 || lan.sent[0].ICMP == nil || lan.sent[0].Src.Addr() != router || hubtest.Decode(lan.sent[0].Payload).Src != inside || n.Count(node.Expired) != 1 {
		t.Errorf("TTL 1: %+v", lan.sent)
	}
	send(hubtest.IP{Src: inside, Dst: web, Payload: make([]byte, 1400)}.UDP())
	if len(lan.sent) != 2 || lan.sent[1].ICMP == nil || lan.sent[1].ICMP.Seq != 1400 || n.Count(node.TooBig) != 1 {
		t.Errorf("too big: %+v", lan.sent)
	}
	send(hubtest.IP{Src: inside, Dst: web, ClearDF: true, Payload: make([]byte, 1400)}.UDP())
	if len(wan.sent) != 3 || len(wan.raw[1]) > 1400 || len(wan.raw[1])+len(wan.raw[2]) != 1428+20 {
		t.Errorf("fragments: %d packets", len(wan.sent)-1)
	}
	send(hubtest.IP{Src: inside, Dst: netip.AddrPortFrom(router, 7)}.Ping())
	if len(lan.sent) != 3 || lan.sent[2].ICMP == nil || lan.sent[2].Dst.Port() != 4000 {
		t.Errorf("ping: %+v", lan.sent)
	}
	send(hubtest.IP{Src: inside, Dst: netip.MustParseAddrPort("192.168.1.1:1")}.UDP())
	send([]byte{1, 2, 3})
	send(hubtest.IP{Src: inside, Dst: netip.AddrPortFrom(router, 7)}.UDP())
	if n.Count(node.NoRoute) != 1 || n.Count(node.Junk) != 1 || n.Count(node.NotForUs) != 1 || pool.Live() != 0 {
		t.Errorf("black hole %d, junk %d, not for us %d, %d packets live", n.Count(node.NoRoute), n.Count(node.Junk), n.Count(node.NotForUs), pool.Live())
	}
}

// TestNoRoute: who sends to where there is no way is told so (RFC 1812 section
// 4.3.3.1), but not about a packet that says so itself.
func TestNoRoute(t *testing.T) {
	var pool packet.Pool
	n := node.New("router", &pool, 1, true)
	lan := &port{pool: &pool, mtu: 1500}
	n.AddAddress(router)
	n.AddRoute(netip.MustParsePrefix("10.0.1.0/24"), lan)
	lost := hubtest.IP{Src: inside, Dst: web, Payload: []byte("x")}.UDP()
	n.Input(pool.Make(lost))
	if len(lan.sent) != 1 || lan.sent[0].ICMP == nil || lan.sent[0].ICMP.TypeCode.Type() != 3 || lan.sent[0].ICMP.TypeCode.Code() != 0 || lan.sent[0].Src.Addr() != router || hubtest.Decode(lan.sent[0].Payload).Src != inside {
		t.Fatalf("told %+v", lan.sent)
	}
	back := hubtest.IP{Src: web, Dst: inside}.UDP()
	var m pkt.Meta
	m.Parse(back)
	n.Input(pool.Make(m.AppendNetUnreachable(nil, back, inside.Addr())))
	if len(lan.sent) != 1 || n.Count(node.NoRoute) != 2 || pool.Live() != 0 {
		t.Errorf("%d errors, %d packets without a route, %d packets live", len(lan.sent), n.Count(node.NoRoute), pool.Live())
	}
}

// TestECMP: a flow sticks to one of equal routes, flows spread.
func TestECMP(t *testing.T) {
	var pool packet.Pool
	n := node.New("edge", &pool, 1, true)
	a, b := &port{pool: &pool, mtu: 1500}, &port{pool: &pool, mtu: 1500}
	n.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), a, b)
	for i := range uint16(1000) {
		p := hubtest.IP{Src: netip.AddrPortFrom(inside.Addr(), 1000+i), Dst: web}.UDP()
		n.Input(pool.Make(p))
		n.Input(pool.Make(p))
	}
	if len(a.sent)%2 != 0 || len(a.sent) < 800 || len(b.sent) < 800 {
		t.Errorf("%d and %d", len(a.sent), len(b.sent))
	}
}

// TestGRE: what goes into the tunnel comes out at the other end as it was, but
// for the MSS, which the tunnel has no room for.
func TestGRE(t *testing.T) {
	var pool packet.Pool
	n, lan, wan := machine(&pool, 1500)
	outer := tunnel.Encap{Src: netip.MustParseAddr("198.18.0.2"), Dst: netip.MustParseAddr("198.18.0.1")}
	g := node.NewGRE(n, wan, outer, tunnel.GREMTU, func() vt.Instant { return 0 })
	n.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), g)
	n.Input(pool.Make(hubtest.IP{Src: inside, Dst: web}.TCP(hubtest.Flags{SYN: true}, 1, 0, 1460)))
	if len(wan.sent) != 1 || wan.sent[0].GRE == nil {
		t.Fatalf("%+v", wan.sent)
	}
	inner := hubtest.Decode(wan.sent[0].Payload)
	if inner.Src != inside || !inner.Sound || inner.TCP.Options[1].OptionData[0] != 1436>>8 || inner.TCP.Options[1].OptionData[1] != 1436&0xff {
		t.Errorf("inside: %+v", inner)
	}
	back := hubtest.IP{Src: web, Dst: inside}.UDP()
	for _, tt := range []struct {
		name  string
		b     []byte
		takes bool
	}{
		{"of the tunnel", hubtest.GRE(outer.Dst, outer.Src, nil, back), true},
		{"of another", hubtest.GRE(router, outer.Src, nil, back), false},
		{"bare", back, false},
	} {
		h := pool.Make(tt.b)
		if got := g.Takes(h); got != tt.takes {
			t.Errorf("%s: %v", tt.name, got)
		} else if !got {
			pool.Free(h)
		}
	}
	if len(lan.sent) != 1 || lan.sent[0].Dst != inside || lan.sent[0].TTL != 63 || pool.Live() != 0 {
		t.Errorf("came out: %+v, %d live", lan.sent, pool.Live())
	}
	var m pkt.Meta
	m.Parse(lan.raw[0])
	if m.Kind != pkt.UDP {
		t.Errorf("%+v", m)
	}
}

// What is remembered of a way changes nothing: a packet leaves the second time as
// it did the first, whatever it is, and as routes and addresses are then.
func TestRememberedWays(t *testing.T) {
	var pool packet.Pool
	n, lan, wan := machine(&pool, 1400)
	good := func() []byte { return hubtest.IP{Src: inside, Dst: web, Payload: []byte("x")}.UDP() }
	damaged, junk, padded := good(), good(), append(good(), 0, 0)
	damaged[10] ^= 1
	junk[24] = 0xff // a length that lies, of UDP alone
	all := [][]byte{
		good(), damaged, junk, padded,
		hubtest.IP{Src: inside, Dst: web, TTL: 1}.UDP(),
		hubtest.IP{Src: inside, Dst: web, Payload: make([]byte, 1400)}.UDP(),
		hubtest.IP{Src: inside, Dst: web, ClearDF: true, Payload: make([]byte, 1400)}.UDP(),
		hubtest.IP{Src: web, Dst: netip.AddrPortFrom(router, 7)}.Ping(),
		hubtest.IP{Src: inside, Dst: netip.MustParseAddrPort("192.168.1.1:1")}.UDP(),
	}
	leave := func(b []byte) []string {
		lan.raw, wan.raw = nil, nil
		before := n.Count(node.Junk)
		n.Input(pool.Make(b))
		var out []string
		for port, p := range map[string]*port{"lan": lan, "wan": wan} {
			for _, x := range p.raw {
				out = append(out, port+string(x))
			}
		}
		slices.Sort(out)
		return append(out, fmt.Sprint(n.Count(node.Junk)-before))
	}
	var first [][]string
	for _, b := range all {
		first = append(first, leave(b))
	}
	for i, b := range all {
		if again := leave(b); !slices.Equal(again, first[i]) {
			t.Errorf("packet %d leaves as %q, and once as %q", i, again, first[i])
		}
	}
	if got := leave(junk); len(got) != 2 || got[0][:3] != "wan" {
		t.Errorf("a packet of which only the ports' header lies: %q, want it forwarded as any router would", got)
	}
	n.AddRoute(netip.MustParsePrefix("203.0.113.0/24"), lan)
	if got := leave(good()); got[0][:3] != "lan" {
		t.Errorf("after another route: %q", got)
	}
	n.DeleteRoute(netip.MustParsePrefix("203.0.113.0/24"))
	if got := leave(good()); got[0][:3] != "wan" {
		t.Errorf("after it was deleted: %q", got)
	}
	n.AddAddress(web.Addr())
	if leave(good()); len(wan.raw) != 0 {
		t.Error("a packet for the node's new address is forwarded")
	}
}

// A packet whose payload is a number is wrapped as one with all of its bytes, of
// either family and in every kind of tunnel.
func TestWrapIsAppend(t *testing.T) {
	var pool packet.Pool
	v4 := hubtest.IP{Src: inside, Dst: web, Payload: make([]byte, 900)}.UDP()
	v6 := hubtest.IP{Src: netip.MustParseAddrPort("[fd00::5]:7"), Dst: netip.MustParseAddrPort("[2001:db8::1]:7"), Payload: make([]byte, 900)}.UDP()
	for _, inner := range [][]byte{v4, v6, {}, {1, 2, 3}} {
		for _, e := range []tunnel.Encap{
			{Src: netip.MustParseAddr("198.18.0.2"), Dst: netip.MustParseAddr("198.18.0.1")},
			{Src: netip.MustParseAddr("198.18.0.2"), Dst: netip.MustParseAddr("198.18.0.1"), Key: 7, HasKey: true},
			{Src: netip.MustParseAddr("198.18.0.2"), Dst: netip.MustParseAddr("198.18.0.1"), Proto: tunnel.ViaGUE, SrcPort: 1, DstPort: 2},
			{Src: netip.MustParseAddr("198.18.0.2"), Dst: netip.MustParseAddr("198.18.0.1"), Proto: tunnel.ViaUDP, SrcPort: 1, DstPort: 2},
			{Src: netip.MustParseAddr("2001:db8::2"), Dst: netip.MustParseAddr("2001:db8::1")},
			{Src: netip.MustParseAddr("2001:db8::2"), Dst: netip.MustParseAddr("2001:db8::1"), Proto: tunnel.ViaUDP, SrcPort: 1, DstPort: 2},
		} {
			h, head := pool.NewZero(len(inner), min(len(inner), 60))
			copy(head, inner)
			node.Wrap(&pool, h, &e)
			if want := e.Append(nil, inner); !bytes.Equal(pool.Data(h), want) {
				t.Errorf("%+v around %d bytes: %x, want %x", e, len(inner), pool.Data(h), want)
			}
			pool.Free(h)
		}
	}
}

// listener keeps what a node says of packets for itself.
type listener struct {
	pool *packet.Pool
	seen []pkt.Meta
}

func (l *listener) Receive(h packet.Handle, m *pkt.Meta) {
	l.seen = append(l.seen, *m)
	l.pool.Free(h)
}

// A packet whose payload is a number is read as one with all of its bytes, sound
// or not.
func TestReadIsParse(t *testing.T) {
	var pool packet.Pool
	n, _, _ := machine(&pool, 1500)
	l := &listener{pool: &pool}
	n.SetStack(l)
	to := netip.AddrPortFrom(router, 443)
	zeros := make([]byte, 900)
	good := [][]byte{
		hubtest.IP{Src: web, Dst: to, Payload: zeros}.UDP(),
		hubtest.IP{Src: web, Dst: to, Payload: zeros}.TCP(hubtest.Flags{ACK: true}, 1, 1, 0),
		hubtest.IP{Src: web, Dst: to, Payload: zeros}.Ping(),
	}
	all := slices.Clone(good)
	for _, b := range good {
		for _, at := range []int{0, 2, 3, 6, 7, 9, 10, 24, 32} { // version, length, fragment, protocol, checksum, lengths of headers
			damaged := bytes.Clone(b)
			damaged[at] ^= 0x20
			if at != 10 { // a sound checksum of an odd header
				damaged[10], damaged[11] = 0, 0
				sum := ^checksum.Checksum(damaged[:20], 0)
				damaged[10], damaged[11] = byte(sum>>8), byte(sum)
			}
			all = append(all, damaged)
		}
	}
	for _, b := range all {
		l.seen = nil
		before := n.Count(node.Junk)
		n.Input(pool.Make(b))
		h, head := pool.NewZero(len(b), 60)
		copy(head, b)
		n.Input(h)
		if d := n.Count(node.Junk) - before; d == 1 || len(l.seen) == 2 && l.seen[0] != l.seen[1] || len(l.seen) == 1 {
			t.Errorf("%x…: %d of two are junk, read as %+v", b[:40], d, l.seen)
		}
	}
	if pool.Live() != 0 {
		t.Errorf("%d packets are left", pool.Live())
	}
}
