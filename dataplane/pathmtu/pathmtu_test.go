package pathmtu_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/pathmtu"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

var (
	near, far   = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.7")
	near6, far6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::7")
	router      = netip.MustParseAddr("203.0.113.1")
)

func keyed(key uint32) tunnel.Encap { return tunnel.Encap{Src: near, Dst: far, Key: key, HasKey: true} }

// about is the ICMP error of a router that the packet of e with size bytes inside
// was too big.
func about(e tunnel.Encap, size, mtu int) []byte {
	inner := make([]byte, size)
	inner[0] = 0x45
	outer := e.Append(nil, inner)
	var m pkt.Meta
	m.Parse(outer)
	return m.AppendTooBig(nil, outer, mtu, 0)
}

// resum makes the checksum of an ICMP error over IPv4 right again.
func resum(b []byte) []byte {
	icmp := b[pkt.IPv4Header:]
	icmp[2], icmp[3] = 0, 0
	binary.BigEndian.PutUint16(icmp[2:], ^checksum.Checksum(icmp, 0))
	return b
}

// TestRead: RFC 1191 section 3 and 4, RFC 8201 section 4.
func TestRead(t *testing.T) {
	const quote = pkt.IPv4Header + pkt.ICMPHeader // where it begins
	gre6 := tunnel.Encap{Src: near6, Dst: far6}
	edit := func(b []byte, change func([]byte)) []byte { change(b); return resum(b) }
	fresh := func() []byte { return about(keyed(7), 1400, 1300) }
	for _, c := range []struct {
		name   string
		packet []byte
		mtu    int // 0: not believed
	}{
		{"a keyed tunnel's", fresh(), 1300},
		{"over IPv6", about(gre6, 1400, 1300), 1300},
		{"with UDP", about(tunnel.Encap{Src: near, Dst: far, Proto: tunnel.ViaUDP, SrcPort: 1, DstPort: 2}, 1400, 1300), 1300},
		{"eight bytes quoted", resum(headed(fresh()[:quote+pkt.IPv4Header+8])), 1300},
		{"less than every host takes", about(keyed(7), 1400, 100), pathmtu.Least4},
		{"less than any link", about(keyed(7), 1400, 67), 0},
		{"less than IPv6 has", about(gre6, 1400, 1279), 0},
		{"a router that does not say", about(keyed(7), 1472, 0), 1492},
		{"a router that does not say, of less", about(keyed(7), 1400, 0), 1006},
		{"a packet that would have fitted", about(keyed(7), 1272, 1300), 0},
		{"a packet that fitted exactly", about(keyed(7), 1300-28, 1300), 0},
		{"a packet that may be cut", edit(fresh(), func(b []byte) { b[quote+6] = 0 }), 0},
		{"a fragment", edit(fresh(), func(b []byte) { b[quote+7] = 1 }), 0},
		{"a packet of somebody else's", edit(fresh(), func(b []byte) { b[quote+15]++ }), 0},
		{"another error", edit(fresh(), func(b []byte) { b[21] = 1 }), 0},
		{"a damaged one", slices.Concat(fresh()[:100], []byte{0xff}, fresh()[101:]), 0},
		{"no quote", resum(headed(fresh()[:quote])), 0},
		{"half a header", resum(headed(fresh()[:quote+19])), 0},
		{"nothing", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, ok := pathmtu.Read(c.packet)
			if ok != (c.mtu != 0) || ok && r.MTU != c.mtu {
				t.Errorf("got %d, %v, want %d", r.MTU, ok, c.mtu)
			}
		})
	}
}

// headed makes the length in an IPv4 header right.
func headed(b []byte) []byte {
	b = slices.Clone(b)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^checksum.Checksum(b[:pkt.IPv4Header], 0))
	return b
}

// TestOf: an error counts for the tunnel whose packet it quotes and no other.
func TestOf(t *testing.T) {
	udp := tunnel.Encap{Src: near, Dst: far, Proto: tunnel.ViaUDP, SrcPort: 40000, DstPort: 50000}
	other := func(change func(*tunnel.Encap)) tunnel.Encap { e := udp; change(&e); return e }
	for _, c := range []struct {
		name     string
		sent, of tunnel.Encap
		want     bool
	}{
		{"its own", keyed(7), keyed(7), true},
		{"another key", keyed(7), keyed(8), false},
		{"no key", keyed(7), tunnel.Encap{Src: near, Dst: far}, false},
		{"a key", tunnel.Encap{Src: near, Dst: far}, keyed(0), false},
		{"another end", keyed(7), tunnel.Encap{Src: near, Dst: router, Key: 7, HasKey: true}, false},
		{"another beginning", keyed(7), tunnel.Encap{Src: router, Dst: far, Key: 7, HasKey: true}, false},
		{"of UDP", udp, udp, true},
		{"of another source port", udp, other(func(e *tunnel.Encap) { e.SrcPort++ }), false},
		{"of another port", udp, other(func(e *tunnel.Encap) { e.DstPort++ }), false},
		{"GRE for UDP", keyed(7), udp, false},
		{"UDP for GRE", udp, keyed(7), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, ok := pathmtu.Read(about(c.sent, 1400, 1300))
			if !ok || r.Of(&c.of) != c.want {
				t.Errorf("read %v, of the tunnel %v, want %v", ok, r.Of(&c.of), c.want)
			}
		})
	}
}

// TestTable: what is told twice holds longer, what is told to be more does not
// count, and all of it ends (RFC 1191 sections 3 and 6.3).
func TestTable(t *testing.T) {
	var table pathmtu.Table
	a, b := pkt.NumberOf(far), pkt.NumberOf(far6)
	at := func(n int) vt.Instant { return vt.Instant(n) }
	if table.NextWake() != vt.Never || table.MTU(a) != 0 {
		t.Error("an empty table knows something")
	}
	for i, step := range []struct {
		mtu  int
		news bool
		want int
	}{{1400, true, 1400}, {1400, false, 1400}, {1450, false, 1400}, {1300, true, 1300}} {
		if got := table.Learn(at(i), a, step.mtu); got != step.news || table.MTU(a) != step.want {
			t.Errorf("told %d: news %v, then %d, want %v and %d", step.mtu, got, table.MTU(a), step.news, step.want)
		}
	}
	table.Learn(at(1000), b, 1300)
	if got := table.NextWake(); got != at(3).Add(pathmtu.Age) {
		t.Errorf("wakes at %v", got)
	}
	if table.Expire(at(2).Add(pathmtu.Age)) || !table.Expire(at(3).Add(pathmtu.Age)) || table.MTU(a) != 0 || table.MTU(b) != 1300 {
		t.Errorf("after Age: %d and %d", table.MTU(a), table.MTU(b))
	}
	table.Keep(func(n pkt.Number) bool { return n == a })
	if table.Len() != 0 {
		t.Errorf("keeps %d of no far end", table.Len())
	}
}

// FuzzRead: whatever comes, what is believed is within bounds, and comes to who
// sent what it quotes.
func FuzzRead(f *testing.F) {
	f.Add(about(keyed(7), 1400, 1300))
	f.Add(about(tunnel.Encap{Src: near6, Dst: far6}, 1400, 1300))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := pathmtu.Read(b)
		if !ok {
			return
		}
		o, sound := pkt.ParseOuter(b)
		least := pathmtu.Least4
		if !o.Dst.Is4() {
			least = pathmtu.Least6
		}
		if !sound || r.Src != o.Dst || r.MTU < least || r.MTU > 0xffff {
			t.Errorf("%d of %v, to %v", r.MTU, r.Src, o.Dst)
		}
		r.Ports()
		e := keyed(1)
		r.Of(&e)
	})
}
