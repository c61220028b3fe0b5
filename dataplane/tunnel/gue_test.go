package tunnel_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// bare is a packet of the given version and length that a tunnel carries.
func bare(version byte, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * 13)
	}
	if version == 4 {
		b[0] = 0x45
		binary.BigEndian.PutUint16(b[2:], uint16(size))
	} else {
		b[0] = 0x60
		binary.BigEndian.PutUint16(b[4:], uint16(size-40))
	}
	return b
}

var (
	gue4 = tunnel.Encap{
		Proto: tunnel.ViaGUE, DstPort: tunnel.GUEPort,
		Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.2"), SrcPort: 50000, TTL: 9,
		Context: tunnel.GUEContext{Tenant: 0xabcd, OnRamp: ident.MaxOnRamp, VNet: 0x1234, Hops: 2},
	}
	gue6 = tunnel.Encap{
		Proto: tunnel.ViaGUE, DstPort: tunnel.GUEPort,
		Src: netip.MustParseAddr("2001:db8::1"), Dst: netip.MustParseAddr("2001:db8::2"), SrcPort: 65535,
		Context: tunnel.GUEContext{Return: true, SecondHop: true, Hops: 3},
	}
)

// TestGUEAppend: gopacket reads the outer headers, and ParseGUE what they carry.
func TestGUEAppend(t *testing.T) {
	for _, tt := range []struct {
		name     string
		g        tunnel.Encap
		inner    []byte
		overhead int
	}{
		{"IPv4 in IPv4", gue4, bare(4, 61), 40},
		{"IPv6 in IPv4", gue4, bare(6, 1280), 40},
		{"IPv4 in IPv6", gue6, bare(4, 20), 60},
		{"IPv6 in IPv6, odd", gue6, bare(6, 1301), 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, mtu := tt.g.Overhead(), tt.g.InnerMTU(1500); got != tt.overhead || mtu != 1500-tt.overhead {
				t.Errorf("overhead %d, inner MTU %d, want overhead %d", got, mtu, tt.overhead)
			}
			b := tt.g.Append([]byte("before"), tt.inner)
			if !bytes.HasPrefix(b, []byte("before")) || len(b) != 6+tt.overhead+len(tt.inner) {
				t.Fatalf("%d bytes appended, want %d", len(b)-6, tt.overhead+len(tt.inner))
			}
			b = b[6:]
			udp := readUDP(t, tt.g, b)
			payload, reason := guePayload(tt.g.Src, tt.g.Dst, b[tt.overhead-20:], true)
			if reason != drop.None || !bytes.Equal(payload, udp.Payload) {
				t.Fatalf("%v: %x, want %x", reason, payload, udp.Payload)
			}
			h, reason := tunnel.ParseGUE(payload)
			proto := uint8(4)
			if tt.inner[0]>>4 == 6 {
				proto = 41
			}
			if want := (tunnel.GUEHeader{Len: 12, Proto: proto, Context: tt.g.Context}); reason != drop.None || h != want {
				t.Errorf("%v: %+v, want %+v", reason, h, want)
			}
			if !bytes.Equal(payload[h.Len:], tt.inner) {
				t.Error("the inner packet differs")
			}
		})
	}
}

// readOuter checks the outer headers with gopacket.
func readOuter(t *testing.T, e tunnel.Encap, proto layers.IPProtocol, b []byte) gopacket.Packet {
	t.Helper()
	first, ttl := layers.LayerTypeIPv4, e.TTL
	if ttl == 0 {
		ttl = 64
	}
	if b[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewPacket(b, first, gopacket.Default)
	switch ip := p.NetworkLayer().(type) {
	case *layers.IPv4:
		err, result := ip.VerifyChecksum()
		if !ip.SrcIP.Equal(e.Src.AsSlice()) || !ip.DstIP.Equal(e.Dst.AsSlice()) || ip.TTL != ttl || int(ip.Length) != len(b) ||
			ip.Flags != layers.IPv4DontFragment || ip.Protocol != proto || err != nil || !result.Valid {
			t.Errorf("outer header %+v", ip)
		}
	case *layers.IPv6:
		if !ip.SrcIP.Equal(e.Src.AsSlice()) || !ip.DstIP.Equal(e.Dst.AsSlice()) || ip.HopLimit != ttl || int(ip.Length) != len(b)-40 ||
			ip.NextHeader != proto {
			t.Errorf("outer header %+v", ip)
		}
	default:
		t.Fatalf("gopacket reads %v", p)
	}
	return p
}

// readUDP is readOuter of a GUE packet, and checks its UDP header too.
func readUDP(t *testing.T, g tunnel.Encap, b []byte) *layers.UDP {
	t.Helper()
	p := readOuter(t, g, layers.IPProtocolUDP, b)
	udp, ok := p.TransportLayer().(*layers.UDP)
	if !ok {
		t.Fatalf("gopacket reads %v", p)
	}
	if err := udp.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
		t.Fatal(err)
	}
	if udp.SrcPort != layers.UDPPort(g.SrcPort) || udp.DstPort != 6080 || int(udp.Length) != 8+len(udp.Payload) || (udp.Checksum == 0) != g.Dst.Is4() {
		t.Errorf("UDP header %+v", udp)
	}
	if err, result := udp.VerifyChecksum(); err != nil || !result.Valid {
		t.Errorf("UDP checksum: %v %+v", err, result)
	}
	return udp
}

// TestGUEBytes pins the wire: other servers read it.
func TestGUEBytes(t *testing.T) {
	b := gue4.Append(nil, bare(4, 20))
	want := []byte{0x02, 4, 0, 0, 0xab, 0xcd, 0x12, 0x34, 0x12, 0xff, 0xff, 0xff}
	if got := b[28:40]; !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
	b = gue6.Append(nil, bare(6, 40))
	want = []byte{0x02, 41, 0, 0, 0, 0, 0, 0, 0x1f, 0, 0, 0}
	if got := b[48:60]; !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
}

// TestGUEChecksumNeverZero: a sum of 0 is sent as 0xffff (RFC 768).
func TestGUEChecksumNeverZero(t *testing.T) {
	inner := bare(4, 20)
	b := gue6.Append(nil, inner)
	// The last two bytes take up what is missing to a sum of 0.
	sum := binary.BigEndian.Uint16(b[46:])
	word := binary.BigEndian.Uint16(inner[18:])
	total := uint32(word) + uint32(sum)
	binary.BigEndian.PutUint16(inner[18:], uint16(total+total>>16))
	b = gue6.Append(nil, inner)
	if got := binary.BigEndian.Uint16(b[46:]); got != 0xffff {
		t.Errorf("checksum %#x, want 0xffff", got)
	}
	if _, reason := guePayload(gue6.Src, gue6.Dst, b[40:], true); reason != drop.None {
		t.Error(reason)
	}
}

// TestGUEEgressBytes pins the second layout: what a flow that leaves from another
// server asks for, and what it is answered.
func TestGUEEgressBytes(t *testing.T) {
	ask := tunnel.GUEEgress{Addr: 0xc6336401, Rule: 0x0203, Given: true}
	given := tunnel.GUEEgress{Addr: 0xc6336401, Port: 0x0801, Refused: drop.PortsExhausted, Given: true}
	for _, tt := range []struct {
		context tunnel.GUEContext
		want    []byte
	}{
		{tunnel.GUEContext{Tenant: 1, VNet: 2, OnRamp: 3, Hops: 1, Egress: ask}, []byte{0x04, 4, 0, 0, 0, 1, 0, 2, 0x21, 0, 0, 3, 198, 51, 100, 1, 0, 0, 2, 3}},
		{tunnel.GUEContext{Tenant: 1, VNet: 2, OnRamp: 3, Hops: 1, Return: true, Egress: given}, []byte{0x04, 4, 0, 0, 0, 1, 0, 2, 0x29, 0, 0, 3, 198, 51, 100, 1, 8, 1, 0, byte(drop.PortsExhausted)}},
	} {
		e := gue4
		e.Context = tt.context
		b := e.Append(nil, bare(4, 20))[28:]
		if got := b[:len(tt.want)]; !bytes.Equal(got, tt.want) || e.Overhead() != 48 {
			t.Errorf("% x with an overhead of %d, want % x", got, e.Overhead(), tt.want)
		}
		if h, reason := tunnel.ParseGUE(b); reason != drop.None || h.Context != tt.context || h.Len != 20 {
			t.Errorf("%v: read as %+v", reason, h)
		}
		b[8] = b[8]&0x0f | 0x10 // the first layout, with words that it does not have
		if _, reason := tunnel.ParseGUE(b); reason != drop.BadTunnel {
			t.Errorf("another layout: %v", reason)
		}
	}
	if a := ask.Address(); a != netip.MustParseAddr("198.51.100.1") || (tunnel.GUEEgress{}).Address().IsValid() {
		t.Errorf("address %v", a)
	}
}

func TestParseGUERefuses(t *testing.T) {
	good := gue4.Append(nil, bare(4, 40))[28:]
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	unknown := tunnel.Encap{Proto: tunnel.ViaGUE, DstPort: tunnel.GUEPort, Src: gue4.Src, Dst: gue4.Dst}
	with := func(c tunnel.GUEContext) []byte {
		unknown.Context = c
		return unknown.Append(nil, bare(4, 40))[28:]
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want drop.Reason
	}{
		{"good", good, drop.None},
		{"nothing", nil, drop.Malformed},
		{"three bytes", good[:3], drop.Malformed},
		{"version 1", change(0, 0x42), drop.BadTunnel},
		{"version 1, a bare IPv4 packet", bare(4, 40), drop.BadTunnel},
		{"version 2", change(0, 0x82), drop.BadTunnel},
		{"control message", change(0, 0x22), drop.BadTunnel},
		{"first flag", change(2, 0x80), drop.BadTunnel},
		{"last flag", change(3, 1), drop.BadTunnel},
		{"no private data", change(0, 0), drop.BadTunnel},
		{"too little private data", change(0, 1), drop.BadTunnel},
		{"more private data", change(0, 3), drop.BadTunnel},
		{"Hlen past the end", change(0, 31), drop.Malformed},
		{"private data cut off", good[:11], drop.Malformed},
		{"TCP inside", change(1, 6), drop.BadTunnel},
		{"IPv4 called IPv6", change(1, 41), drop.BadTunnel},
		{"IPv6 called IPv4", change(12, 0x60), drop.BadTunnel},
		{"nothing inside", good[:12], drop.Malformed},
		{"part of a header inside", good[:31], drop.Malformed},
		{"part of an IPv6 header inside", gue4.Append(nil, bare(6, 40)[:39])[28:], drop.Malformed},
		{"another layout", change(8, 0x22), drop.BadTunnel},
		{"no tenant", with(tunnel.GUEContext{OnRamp: 1}), drop.BadTunnel},
		{"no on-ramp", with(tunnel.GUEContext{Tenant: 1}), drop.BadTunnel},
		{"neither", with(tunnel.GUEContext{}), drop.BadTunnel},
		{"neither, on the way back", with(tunnel.GUEContext{Return: true}), drop.None},
		{"both, on the way back", with(tunnel.GUEContext{Return: true, Tenant: 1, OnRamp: 1}), drop.None},
		{"a tenant alone on the way back", with(tunnel.GUEContext{Return: true, Tenant: 1}), drop.BadTunnel},
		{"a network alone on the way back", with(tunnel.GUEContext{Return: true, VNet: 1}), drop.BadTunnel},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, reason := tunnel.ParseGUE(tt.b)
			if reason != tt.want || (reason != drop.None) != (h == tunnel.GUEHeader{}) {
				t.Errorf("%v %+v, want %v", reason, h, tt.want)
			}
		})
	}
}

// guePayload is what a UDP datagram to GUEPort carries.
func guePayload(src, dst netip.Addr, b []byte, verify bool) ([]byte, drop.Reason) {
	_, port, payload, reason := tunnel.UDPPayload(src, dst, b, verify)
	if reason == drop.None && port != tunnel.GUEPort {
		return nil, drop.UnknownTunnel
	}
	return payload, reason
}

func TestUDPPayloadRefuses(t *testing.T) {
	udp4, udp6 := gue4.Append(nil, bare(4, 41))[20:], gue6.Append(nil, bare(4, 41))[40:]
	change := func(b []byte, at int, to byte) []byte {
		b = bytes.Clone(b)
		b[at] = to
		return b
	}
	summed := change(udp4, 6, 1)
	for _, tt := range []struct {
		name string
		v6   bool
		b    []byte
		lazy bool
		want drop.Reason
	}{
		{"good", false, udp4, false, drop.None},
		{"with padding", false, append(bytes.Clone(udp4), 0, 0), false, drop.None},
		{"good over IPv6", true, udp6, false, drop.None},
		{"cut off", false, udp4[:7], false, drop.Malformed},
		{"length past the end", false, udp4[:len(udp4)-1], false, drop.Malformed},
		{"length too short", false, change(udp4, 5, 7), false, drop.Malformed},
		{"another port", false, change(udp4, 3, 0), false, drop.UnknownTunnel},
		{"wrong checksum", false, summed, false, drop.BadTunnel},
		{"wrong checksum, not looked at", false, summed, true, drop.None},
		{"wrong checksum over IPv6", true, change(udp6, 30, 1), false, drop.BadTunnel},
		{"no checksum over IPv6", true, change(change(udp6, 6, 0), 7, 0), false, drop.BadTunnel},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := gue4
			if tt.v6 {
				g = gue6
			}
			payload, got := guePayload(g.Src, g.Dst, tt.b, !tt.lazy)
			if got != tt.want || (got == drop.None) != (len(payload) == 12+41) {
				t.Errorf("%v, %d bytes, want %v", got, len(payload), tt.want)
			}
		})
	}
}

// TestOX3: packets of two contexts, interleaved on one path, stay separate.
// Source: SEMANTICS 4.5.
func TestOX3(t *testing.T) {
	a, b := gue4, gue4
	b.Context.Tenant++
	for i := range 10 {
		g := a
		if i%2 == 1 {
			g = b
		}
		h, reason := tunnel.ParseGUE(g.Append(nil, bare(4, 40))[28:])
		if reason != drop.None || h.Context != g.Context {
			t.Fatalf("packet %d: %v %+v, want %+v", i, reason, h.Context, g.Context)
		}
	}
}

func TestGUESourcePort(t *testing.T) {
	for hash, want := range map[uint64]uint16{0: 49152, 1: 49152, ^uint64(0): 65535, 1 << 63: 49152 + 8192} {
		if got := tunnel.GUESourcePort(hash); got != want {
			t.Errorf("hash %#x: %d, want %d", hash, got, want)
		}
	}
}

func TestGUEAllocatesNothing(t *testing.T) {
	buf, in := make([]byte, 0, 2048), bare(6, 1300)
	for _, g := range []*tunnel.Encap{&gue4, &gue6} {
		udp := g.Overhead() - 20
		if got := testing.AllocsPerRun(100, func() {
			b := g.Append(buf, in)
			payload, _ := guePayload(g.Src, g.Dst, b[udp:], true)
			if _, reason := tunnel.ParseGUE(payload); reason != drop.None {
				t.Fatal(reason)
			}
		}); got != 0 {
			t.Errorf("%v allocations", got)
		}
	}
}

// FuzzParseGUE: what is accepted is what Append writes, byte for byte.
func FuzzParseGUE(f *testing.F) {
	for _, g := range []tunnel.Encap{gue4, gue6} {
		for _, in := range [][]byte{bare(4, 40), bare(6, 60)} {
			b := g.Append(nil, in)
			f.Add(b[g.Overhead()-20:])
		}
	}
	f.Fuzz(func(t *testing.T, udp []byte) {
		for _, g := range []tunnel.Encap{gue4, gue6} {
			payload, reason := guePayload(g.Src, g.Dst, udp, false)
			if reason != drop.None {
				payload = udp
			}
			h, reason := tunnel.ParseGUE(payload)
			if reason != drop.None {
				if h != (tunnel.GUEHeader{}) {
					t.Fatalf("%v with %+v", reason, h)
				}
				continue
			}
			g.Context = h.Context
			in := payload[h.Len:]
			b := g.Append(nil, in)
			if !bytes.Equal(b[g.Overhead()-12:], payload) {
				t.Fatalf("%x read and written as %x", payload, b[g.Overhead()-12:])
			}
		}
	})
}
