package pkt_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"pgregory.net/rapid"
)

// extended is the IPv6 packet b with an extension header behind its first one;
// the extension's next-header and length fields are filled in.
func extended(b []byte, proto uint8, extension []byte) []byte {
	extension = bytes.Clone(extension)
	extension[0], b = b[6], bytes.Clone(b)
	if proto != 44 {
		extension[1] = byte(len(extension)/8 - 1)
	}
	b[6] = proto
	b = append(b[:40:40], append(extension, b[40:]...)...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

func udp6(t testing.TB, payload string) []byte {
	t.Helper()
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: 17, SrcIP: net.ParseIP("fd00::1"), DstIP: net.ParseIP("2001:db8::2")}
	udp := &layers.UDP{SrcPort: 1, DstPort: 2}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return build(t, ip, udp, gopacket.Payload(payload))
}

// seeds6 are IPv6 packets to start fuzzing from.
func seeds6(t testing.TB) [][]byte {
	plain := udp6(t, "x")
	options := extended(plain, 60, []byte{0, 0, 1, 4, 0, 0, 0, 0})
	return [][]byte{
		plain, options, extended(options, 0, make([]byte, 8)), extended(plain, 43, make([]byte, 24)),
		extended(plain, 43, []byte{0, 0, 0, 1, 0, 0, 0, 0}), extended(plain, 44, []byte{0, 0, 0, 1, 0, 0, 0, 7}),
		icmp6(t, 2, 0, plain), icmp6(t, 1, 4, extended(plain, 44, make([]byte, 8))), icmp6(t, 128, 0, []byte("ping")),
	}
}

// icmp6 is an ICMPv6 message with a word of zeros before its body.
func icmp6(t testing.TB, kind, code uint8, body []byte) []byte {
	t.Helper()
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: 58, SrcIP: net.ParseIP("2001:db8::2"), DstIP: net.ParseIP("fd00::1")}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, code)}
	_ = icmp.SetNetworkLayerForChecksum(ip)
	return build(t, ip, icmp, gopacket.Payload(append(make([]byte, 4), body...)))
}

// TestExtensionsAgreeWithGvisor: whatever chain of headers stands in front, the
// transport is found where gVisor finds it, or the packet is called unreadable.
func TestExtensionsAgreeWithGvisor(t *testing.T) {
	protos := rapid.SampledFrom([]uint8{0, 43, 44, 60, 60, 60, 17, 6, 58, 59, 50, 51})
	rapid.Check(t, func(rt *rapid.T) {
		var chain []byte
		first := protos.Draw(rt, "first")
		for proto, n := first, rapid.IntRange(0, 10).Draw(rt, "headers"); n > 0; n-- {
			units := rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(rt, "units")
			if proto == 44 {
				units = 0
			}
			head := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 0, 0, 1, 8, 0xff}), 8+8*units, 8+8*units).Draw(rt, "header")
			proto = protos.Draw(rt, "next")
			head[0], head[1] = proto, byte(units)
			chain = append(chain, head...)
		}
		chain = append(chain, udp6(t, "x")[40:]...)
		chain = chain[:rapid.IntRange(0, len(chain)).Draw(rt, "cut")]
		b := append(udp6(t, "")[:40], chain...)
		b[6] = first
		binary.BigEndian.PutUint16(b[4:], uint16(len(chain)))
		var m pkt.Meta
		m.Parse(b)
		o, ok := pkt.ParseOuter(b)

		it := header.MakeIPv6PayloadIterator(header.IPv6ExtensionHeaderIdentifier(first), buffer.MakeWithData(bytes.Clone(chain)))
		for n := 0; ; n++ {
			h, done, err := it.Next()
			switch h := h.(type) {
			case header.IPv6HopByHopOptionsExtHdr:
				if n > 0 {
					refused(rt, &m)
					return
				}
				continue
			case header.IPv6RoutingExtHdr:
				if h.SegmentsLeft() != 0 {
					refused(rt, &m)
					return
				}
				if n == 8 {
					refused(rt, &m)
					return
				}
				continue
			case header.IPv6DestinationOptionsExtHdr:
				if n == 8 {
					refused(rt, &m)
					return
				}
				continue
			case header.IPv6FragmentExtHdr:
				if m.Kind != pkt.Fragment || m.FragOffset != h.FragmentOffset()*8 || m.MoreFragments != h.More() || m.FragID != h.ID() || !ok || !o.Fragment {
					rt.Fatalf("read as %+v and %+v, gVisor says %+v", m, o, h)
				}
			case header.IPv6RawPayloadHeader:
				at := len(b) - int(h.Buf.Size())
				if m.L4 != at || m.Proto != uint8(h.Identifier) || !ok || o.Head != at || o.Proto != m.Proto || o.Fragment {
					rt.Fatalf("read as %+v and %+v, gVisor says %d at %d", m, o, h.Identifier, at)
				}
			default:
				if err != nil {
					refused(rt, &m)
				} else if !done || m.Proto != 59 || m.Kind != pkt.Other {
					rt.Fatalf("read as %+v, gVisor is done", m)
				}
			}
			return
		}
	})
}

// refused wants a packet that makes no flow.
func refused(t *rapid.T, m *pkt.Meta) {
	t.Helper()
	if m.Kind != pkt.Malformed && m.Kind != pkt.Other {
		t.Fatalf("read as %+v, want it refused", m)
	}
}

// TestMade: errors and resets about any packet have right checksums and sizes,
// and say what gopacket understands.
func TestMade(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := draw(rt, t)
		var m, q, back pkt.Meta
		m.Parse(d.bytes)
		from := drawAddr(rt, d.v6, "router")
		mtu := rapid.IntRange(576, 9000).Draw(rt, "mtu")
		for _, b := range [][]byte{m.AppendTooBig([]byte("front"), d.bytes, mtu, 0), m.AppendTimeExceeded([]byte("front"), d.bytes, from, 0), m.AppendPortUnreachable([]byte("front"), d.bytes)} {
			b = b[5:]
			sound(t, b)
			back.Parse(b)
			if back.Kind != pkt.ICMPError || back.Len != len(b) || back.Dst != m.Src || !back.Quoted(b, &q) {
				rt.Fatalf("made %+v", back)
			}
			if q.Kind != m.Kind || q.Src != m.Src || q.SrcPort != m.SrcPort || q.Dst != m.Dst || q.DstPort != m.DstPort {
				rt.Fatalf("it quotes %+v, want %+v", q, m)
			}
		}
		big := m.AppendTooBig(nil, d.bytes, mtu, 0)
		kind, code := byte(3), byte(4)
		if d.v6 {
			kind, code = 2, 0
		}
		back.Parse(big)
		if back.ICMPType != kind || back.ICMPCode != code || back.Src != m.Dst || int(binary.BigEndian.Uint16(big[back.L4+6:])) != mtu {
			rt.Fatalf("too big for %d is told as %+v", mtu, back)
		}
		late := m.AppendTimeExceeded(nil, d.bytes, from, 0)
		kind = 11
		if d.v6 {
			kind = 3
		}
		if back.Parse(late); back.ICMPType != kind || back.ICMPCode != 0 || back.Src != from {
			rt.Fatalf("the end of hops is told as %+v", back)
		}
		kind = 3
		if d.v6 {
			kind = 1
		}
		if back.Parse(m.AppendNetUnreachable(nil, d.bytes, from)); back.ICMPType != kind || back.ICMPCode != 0 || back.Src != from {
			rt.Fatalf("no route is told as %+v", back)
		}
		if back.Parse(m.AppendPortUnreachable(nil, d.bytes)); !back.PortUnreachable() || back.Src != m.Dst {
			rt.Fatalf("a closed port is told as %+v", back)
		}
		if m.Kind != pkt.TCP {
			return
		}
		reset := m.AppendReset(nil)
		sound(t, reset)
		if back.Parse(reset); back.Src != m.Dst || back.SrcPort != m.DstPort || back.Dst != m.Src || back.DstPort != m.SrcPort || back.Flags != pkt.RST || back.Seq != m.Ack {
			rt.Fatalf("reset %+v of %+v", back, m)
		}
	})
}

// TestQuoteSizes: an error about a large packet holds as much of it as the
// family allows, and of a superpacket it shows one segment.
func TestQuoteSizes(t *testing.T) {
	ip4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: 6, SrcIP: []byte{10, 0, 0, 1}, DstIP: []byte{10, 0, 0, 2}}
	ip6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: 6, SrcIP: net.ParseIP("fd00::1"), DstIP: net.ParseIP("2001:db8::2")}
	tests := []struct {
		ip   network
		want int
		size func([]byte) int
	}{
		{ip4, 576, func(b []byte) int { return int(binary.BigEndian.Uint16(b[2:])) }},
		{ip6, 1280, func(b []byte) int { return int(binary.BigEndian.Uint16(b[4:])) + 40 }},
	}
	for _, tt := range tests {
		tcp := &layers.TCP{ACK: true}
		_ = tcp.SetNetworkLayerForChecksum(tt.ip)
		b := build(t, tt.ip, tcp, gopacket.Payload(make([]byte, 9000)))
		var m pkt.Meta
		m.Parse(b)
		got := m.AppendTooBig(nil, b, 1476, 0)
		if sound(t, got); len(got) != tt.want {
			t.Errorf("IPv%d: %d bytes, want %d", m.Version, len(got), tt.want)
		}
		got = m.AppendTooBig(nil, b, 1476, 1448)
		sound(t, got)
		quote := got[len(got)-tt.want+m.L4+8:]
		if size := tt.size(quote); size != m.Payload+1448 || m.Version == 4 && !pkt.HeaderSound(quote[:20]) {
			t.Errorf("IPv%d: it quotes a packet of %d bytes, want the segment's %d", m.Version, size, m.Payload+1448)
		}
	}
}

// TestQuoteTranslated: a quote of any length is translated as the packet itself
// was, and the error around it is right again.
func TestQuoteTranslated(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := draw(rt, t)
		if !d.v6 {
			return
		}
		var m, e, q pkt.Meta
		m.Parse(d.bytes)
		cut := rapid.IntRange(m.L4+8, len(d.bytes)).Draw(rt, "cut")
		if cut == m.L4+17 && m.Kind == pkt.TCP {
			cut++ // half a checksum is left as it is
		}
		b := icmp6(t, 3, 0, d.bytes[:cut])
		if e.Parse(b); e.Kind != pkt.ICMPError || !e.Quoted(b, &q) {
			rt.Fatalf("read as %+v quoting %+v", e, q)
		}
		src, dst := drawAddr(rt, true, "new src"), drawAddr(rt, true, "new dst")
		sport, dport := ports.Draw(rt, "new sport"), ports.Draw(rt, "new dport")
		q.SetSrc(b[e.Payload:e.Len], src, sport, pkt.Offload{})
		q.SetDst(b[e.Payload:e.Len], dst, dport, pkt.Offload{})
		e.SetDst(b, src, 0, pkt.Offload{})
		e.RefreshICMP(b)
		sound(t, b)
		m.SetSrc(d.bytes, src, sport, pkt.Offload{})
		m.SetDst(d.bytes, dst, dport, pkt.Offload{})
		if !bytes.Equal(b[e.Payload:e.Len], d.bytes[:cut]) {
			rt.Fatalf("quotes\n%x, want\n%x", b[e.Payload:e.Len], d.bytes[:cut])
		}
	})
}

// TestRefused6: what IPv6 forbids is malformed.
func TestRefused6(t *testing.T) {
	good := udp6(t, "payload")
	edit := func(change func([]byte)) []byte {
		b := bytes.Clone(good)
		change(b)
		return b
	}
	mapped := netip.MustParseAddr("::ffff:10.0.0.1").AsSlice()
	tests := map[string][]byte{
		"cut header":           good[:39],
		"cut payload":          good[:len(good)-1],
		"UDP without checksum": edit(func(b []byte) { b[46], b[47] = 0, 0 }),
		"UDP too long":         edit(func(b []byte) { b[45]++ }),
		"mapped source":        edit(func(b []byte) { copy(b[8:], mapped) }),
		"mapped destination":   edit(func(b []byte) { copy(b[24:], mapped) }),
		"cut extension":        edit(func(b []byte) { b[6], b[41] = 60, 9 }),
		"length without end":   edit(func(b []byte) { b[4], b[5] = 0, 0 }),
	}
	for name, b := range tests {
		var m pkt.Meta
		if m.Parse(b); m.Kind != pkt.Malformed {
			t.Errorf("%s: read as %+v", name, m)
		}
	}
	var m pkt.Meta
	if m.Parse(good); m.Kind != pkt.UDP {
		t.Errorf("the packet itself is read as %+v", m)
	}
}

// TestICMP6Kinds: echo has flows, errors quote, the rest belongs to links.
func TestICMP6Kinds(t *testing.T) {
	for kind := range 256 {
		want := pkt.Other
		switch {
		case kind < 128:
			want = pkt.ICMPError
		case kind == 128:
			want = pkt.EchoRequest
		case kind == 129:
			want = pkt.EchoReply
		}
		var m pkt.Meta
		if m.Parse(icmp6(t, uint8(kind), 0, udp6(t, "x"))); m.Kind != want {
			t.Errorf("type %d is %v, want %v", kind, m.Kind, want)
		}
	}
}

// TestFragmentLongHeaders: what every fragment repeats never fills the fragment,
// however long the headers are; the fragments make up the packet.
func TestFragmentLongHeaders(t *testing.T) {
	for _, size := range []int{8, 216, 224, 2048} {
		b := extended(extended(udp6(t, string(make([]byte, 3000))), 43, make([]byte, size)), 0, make([]byte, 8))
		var m, part pkt.Meta
		m.Parse(b)
		var whole []byte
		for from, more := 0, true; more; more = from != 0 {
			var p []byte
			p, from = m.AppendFragment(nil, b, 576, from)
			part.Parse(p)
			if len(p) > 576 || part.Kind != pkt.Fragment || int(part.FragOffset) != len(whole) {
				t.Fatalf("headers of %d: fragment %+v of %d bytes", size, part, len(p))
			}
			whole = append(whole, p[part.L4+8:]...)
		}
		if !bytes.HasSuffix(b, whole) || len(whole) < 3008 {
			t.Errorf("headers of %d: %d bytes came out", size, len(whole))
		}
	}
}
