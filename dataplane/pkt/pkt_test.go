package pkt_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"pgregory.net/rapid"
)

// build writes a packet with gopacket, which shares no code with this package.
func build(t testing.TB, l ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b.Bytes())
}

type network interface {
	gopacket.SerializableLayer
	gopacket.NetworkLayer
}

// sound checks every checksum of a packet with gopacket.
func sound(t testing.TB, b []byte) {
	t.Helper()
	first := layers.LayerTypeIPv4
	if b[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewPacket(b, first, gopacket.Default)
	// The layers beyond are guessed from ports and mean nothing here.
	var checked []gopacket.LayerWithChecksum
	if l, ok := p.NetworkLayer().(*layers.IPv4); ok {
		checked = append(checked, l)
	}
	n := len(checked)
	for _, l := range p.Layers()[1:] { // behind extension headers
		switch l := l.(type) {
		case *layers.TCP:
			_ = l.SetNetworkLayerForChecksum(p.NetworkLayer())
			checked = append(checked, l)
		case *layers.UDP:
			_ = l.SetNetworkLayerForChecksum(p.NetworkLayer())
			checked = append(checked, l)
		case *layers.ICMPv4:
			checked = append(checked, l)
		case *layers.ICMPv6:
			_ = l.SetNetworkLayerForChecksum(p.NetworkLayer())
			checked = append(checked, l)
		}
		if len(checked) > n {
			break
		}
	}
	if len(checked) == n {
		t.Fatalf("gopacket reads %v", p)
	}
	for _, l := range checked {
		if err, r := l.VerifyChecksum(); err != nil || !r.Valid {
			t.Fatalf("%T checksum: %v, %+v", l, err, r)
		}
	}
}

// drawn is a packet as gopacket wrote it, and what it should read as.
type drawn struct {
	bytes    []byte
	src, dst netip.AddrPort
	kind     pkt.Kind
	payload  int
	v6       bool
	zeroSum  bool // UDP without a checksum
}

var ports = rapid.OneOf(rapid.Uint16(), rapid.SampledFrom([]uint16{0, 1, 53, 2047, 2048, 32767, 32768, 65534, 65535}))

func drawAddr(t *rapid.T, v6 bool, name string) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, name)))
	}
	return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 10, 127, 128, 254, 255}), 4, 4).Draw(t, name)))
}

func draw(t *rapid.T, tb testing.TB) drawn {
	d := drawn{v6: rapid.Bool().Draw(t, "v6")}
	src, dst := drawAddr(t, d.v6, "src"), drawAddr(t, d.v6, "dst")
	sport, dport := ports.Draw(t, "sport"), ports.Draw(t, "dport")
	payload := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "payload")
	d.payload = len(payload)
	d.kind = rapid.SampledFrom([]pkt.Kind{pkt.TCP, pkt.UDP, pkt.EchoRequest, pkt.EchoReply}).Draw(t, "kind")
	proto := map[pkt.Kind]layers.IPProtocol{pkt.TCP: 6, pkt.UDP: 17, pkt.EchoRequest: 1, pkt.EchoReply: 1}[d.kind]
	if d.v6 && proto == 1 {
		proto = 58
	}
	ttl := rapid.Uint8Range(2, 255).Draw(t, "ttl")
	var ip network
	if d.v6 {
		ip = &layers.IPv6{Version: 6, NextHeader: proto, HopLimit: ttl, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	} else {
		ip4 := &layers.IPv4{Version: 4, Protocol: proto, TTL: ttl, SrcIP: src.AsSlice(), DstIP: dst.AsSlice(), Id: ports.Draw(t, "id"), Flags: layers.IPv4DontFragment}
		if rapid.Bool().Draw(t, "options") {
			ip4.Options = []layers.IPv4Option{{OptionType: 1}, {OptionType: 1}, {OptionType: 1}, {OptionType: 1}}
		}
		ip = ip4
	}
	var l4 []gopacket.SerializableLayer
	switch d.kind {
	case pkt.TCP:
		tcp := &layers.TCP{SrcPort: layers.TCPPort(sport), DstPort: layers.TCPPort(dport), Seq: rapid.Uint32().Draw(t, "seq"), Ack: 7, ACK: true, Window: 9}
		_ = tcp.SetNetworkLayerForChecksum(ip)
		l4 = append(l4, tcp)
	case pkt.UDP:
		udp := &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
		_ = udp.SetNetworkLayerForChecksum(ip)
		l4 = append(l4, udp)
	default:
		request := d.kind == pkt.EchoRequest
		if d.v6 {
			kind := map[bool]uint8{true: 128, false: 129}[request]
			icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
			_ = icmp.SetNetworkLayerForChecksum(ip)
			l4 = append(l4, icmp, &layers.ICMPv6Echo{Identifier: sport, SeqNumber: 3})
		} else {
			kind := map[bool]uint8{true: 8, false: 0}[request]
			l4 = append(l4, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 0), Id: sport, Seq: 3})
		}
		dport = 0
		if !request {
			sport, dport = 0, sport
		}
	}
	d.src, d.dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	d.bytes = build(tb, append(append([]gopacket.SerializableLayer{ip}, l4...), gopacket.Payload(payload))...)
	if d.v6 {
		for range rapid.IntRange(0, 3).Draw(t, "extension headers") {
			d.bytes = extended(d.bytes, 60, []byte{0, 0, 1, 4, 0, 0, 0, 0})
		}
	}
	if d.kind == pkt.UDP && !d.v6 && rapid.Bool().Draw(t, "zero checksum") {
		d.zeroSum = true
		at := len(d.bytes) - len(payload) - 2
		d.bytes[at], d.bytes[at+1] = 0, 0
	}
	return d
}

// TestParseRewrite: what gopacket writes is read as it was meant; after any
// rewrite gopacket finds the new addresses, the same payload, and every checksum
// right; and a checksum that was absent stays so.
func TestParseRewrite(t *testing.T) {
	var m pkt.Meta // one for all, so that nothing of an earlier packet may shine through
	rapid.Check(t, func(rt *rapid.T) {
		d := draw(rt, t)
		padding := rapid.SliceOfN(rapid.Byte(), 0, 6).Draw(rt, "padding")
		m.Parse(append(bytes.Clone(d.bytes), padding...))
		var fresh pkt.Meta
		fresh.Parse(d.bytes)
		if m != fresh {
			rt.Fatalf("reads %+v after another packet, %+v at first", m, fresh)
		}
		got := [2]netip.AddrPort{netip.AddrPortFrom(m.Src, m.SrcPort), netip.AddrPortFrom(m.Dst, m.DstPort)}
		if m.Kind != d.kind || got != [2]netip.AddrPort{d.src, d.dst} || m.PayloadLen != d.payload || m.Len != len(d.bytes) || m.Len-m.Payload != d.payload {
			rt.Fatalf("got %+v, want %v %v → %v with %d bytes", m, d.kind, d.src, d.dst, d.payload)
		}
		was := bytes.Clone(d.bytes)
		src := netip.AddrPortFrom(drawAddr(rt, d.v6, "new src"), ports.Draw(rt, "new sport"))
		dst := netip.AddrPortFrom(drawAddr(rt, d.v6, "new dst"), ports.Draw(rt, "new dport"))
		m.SetSrc(d.bytes, src.Addr(), src.Port(), pkt.Offload{})
		m.SetDst(d.bytes, dst.Addr(), dst.Port(), pkt.Offload{})
		m.DecTTL(d.bytes)
		sound(t, d.bytes)
		if d.zeroSum && binary.BigEndian.Uint16(d.bytes[m.L4+6:]) != 0 {
			rt.Fatal("a UDP checksum appeared where there was none")
		}
		fresh.Parse(d.bytes)
		if fresh != m {
			rt.Fatalf("Meta says %+v, the packet %+v", m, fresh)
		}
		if m.Src != src.Addr() || m.Dst != dst.Addr() || !bytes.Equal(d.bytes[m.Payload:], was[m.Payload:]) {
			rt.Fatalf("rewritten to %+v, want %v → %v and the same payload", m, src, dst)
		}
	})
}

// TestPartial: with a checksum left to the hardware, completing it after a
// rewrite gives what gopacket would have written.
func TestPartial(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := draw(rt, t)
		if d.kind != pkt.TCP && d.kind != pkt.UDP || d.zeroSum {
			return
		}
		var m pkt.Meta
		m.Parse(d.bytes)
		at := m.L4 + 16
		if d.kind == pkt.UDP {
			at = m.L4 + 6
		}
		// What a kernel leaves: the pseudo header's sum, not complemented.
		var sum uint32
		word := func(b []byte) {
			for i := 0; i < len(b); i += 2 {
				sum += uint32(binary.BigEndian.Uint16(b[i:]))
			}
		}
		word(m.Src.AsSlice())
		word(m.Dst.AsSlice())
		sum += uint32(m.Proto) + uint32(m.Len-m.L4)
		for sum>>16 != 0 {
			sum = sum>>16 + sum&0xffff
		}
		binary.BigEndian.PutUint16(d.bytes[at:], uint16(sum))
		off := pkt.Offload{Partial: true}
		m.SetSrc(d.bytes, drawAddr(rt, d.v6, "new src"), ports.Draw(rt, "new sport"), off)
		m.SetDst(d.bytes, drawAddr(rt, d.v6, "new dst"), ports.Draw(rt, "new dport"), off)
		m.ClampMSS(d.bytes, 100, off)
		m.FillChecksum(d.bytes)
		sound(t, d.bytes)
	})
}

func TestClampMSS(t *testing.T) {
	nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop, OptionLength: 1}
	mss := func(v uint16) layers.TCPOption {
		return layers.TCPOption{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: binary.BigEndian.AppendUint16(nil, v)}
	}
	scale := layers.TCPOption{OptionType: layers.TCPOptionKindWindowScale, OptionLength: 3, OptionData: []byte{7}}
	tests := []struct {
		name    string
		syn     bool
		options []layers.TCPOption
		want    []uint16
	}{
		{"first", true, []layers.TCPOption{mss(1460)}, []uint16{1436}},
		{"after another", true, []layers.TCPOption{scale, mss(1460), nop}, []uint16{1436}},
		{"odd offset", true, []layers.TCPOption{nop, mss(9000), scale}, []uint16{1436}},
		{"twice", true, []layers.TCPOption{mss(1460), nop, mss(1500)}, []uint16{1436, 1436}},
		{"small enough", true, []layers.TCPOption{mss(1436)}, []uint16{1436}},
		{"smaller", true, []layers.TCPOption{mss(536)}, []uint16{536}},
		{"none", true, []layers.TCPOption{nop}, nil},
		{"no SYN", false, []layers.TCPOption{mss(1460)}, []uint16{1460}},
	}
	for i := range 2 * len(tests) {
		tt, ip := tests[i/2], network(&layers.IPv4{Version: 4, TTL: 64, Protocol: 6, SrcIP: []byte{10, 0, 0, 1}, DstIP: []byte{10, 0, 0, 2}})
		if i%2 == 1 {
			ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: 6, SrcIP: net.ParseIP("2001:db8::1"), DstIP: net.ParseIP("2001:db8::2")}
		}
		t.Run(fmt.Sprintf("%s over %v", tt.name, ip.LayerType()), func(t *testing.T) {
			tcp := &layers.TCP{SYN: tt.syn, SrcPort: 1, DstPort: 2, Options: tt.options}
			_ = tcp.SetNetworkLayerForChecksum(ip)
			b := build(t, ip, tcp)
			before := bytes.Clone(b)
			var m pkt.Meta
			m.Parse(b)
			if changed := m.ClampMSS(b, 1436, pkt.Offload{}); changed == bytes.Equal(b, before) {
				t.Errorf("says changed: %v", changed)
			}
			sound(t, b)
			var got []uint16
			p := gopacket.NewPacket(b, ip.LayerType(), gopacket.Default)
			for _, o := range p.TransportLayer().(*layers.TCP).Options {
				if o.OptionType == layers.TCPOptionKindMSS {
					got = append(got, binary.BigEndian.Uint16(o.OptionData))
				}
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("got %v, want %v", got, tt.want)
				}
			}
		})
	}
}

// TestFragments: fragments of every size, put together again, are the packet.
func TestFragments(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		payload := rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(rt, "payload")
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: 17, SrcIP: []byte{10, 0, 0, 1}, DstIP: []byte{10, 0, 0, 2}, Id: 77}
		if rapid.Bool().Draw(rt, "options") { // a copied and an uncopied one
			ip.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}, {OptionType: 7, OptionLength: 4, OptionData: []byte{4, 0}}}
		}
		udp := &layers.UDP{SrcPort: 1, DstPort: 2}
		_ = udp.SetNetworkLayerForChecksum(ip)
		b := build(t, ip, udp, gopacket.Payload(payload))
		var m pkt.Meta
		m.Parse(b)
		mtu := rapid.IntRange(m.L4+8, 200).Draw(rt, "mtu")
		whole := make([]byte, m.Len-m.L4)
		covered, ended := 0, false
		for from, more := 0, true; more; more = from != 0 {
			var part []byte
			part, from = m.AppendFragment(nil, b, mtu, from)
			p := gopacket.NewPacket(part, layers.LayerTypeIPv4, gopacket.Default).NetworkLayer().(*layers.IPv4)
			if len(part) > mtu || !pkt.HeaderSound(part[:int(p.IHL)*4]) || p.Id != 77 {
				rt.Fatalf("fragment of %d bytes for %d: %+v", len(part), mtu, p)
			}
			if int(p.FragOffset)*8 != covered {
				rt.Fatalf("a fragment starts at %d, want %d", p.FragOffset*8, covered)
			}
			if want := 20 + 4*btoi(len(ip.Options) > 0)*(1+btoi(covered == 0)); len(ip.Options) > 0 && int(p.IHL)*4 != want {
				rt.Fatalf("header of %d bytes, want %d", p.IHL*4, want)
			}
			copy(whole[covered:], p.Payload)
			covered += len(p.Payload)
			ended = p.Flags&layers.IPv4MoreFragments == 0
		}
		if !ended || covered != len(whole) || !bytes.Equal(whole, b[m.L4:]) {
			rt.Fatalf("%d of %d bytes, ended %v", covered, len(whole), ended)
		}
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// FuzzParse: junk is never a panic, its Meta never points outside of the packet,
// and whatever may be rewritten stays readable.
func FuzzParse(f *testing.F) {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: 6, SrcIP: []byte{10, 0, 0, 1}, DstIP: []byte{10, 0, 0, 2}}
	tcp := &layers.TCP{SYN: true, Options: []layers.TCPOption{{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 180}}}}
	_ = tcp.SetNetworkLayerForChecksum(ip)
	f.Add(build(f, ip, tcp))
	icmp := &layers.ICMPv4{TypeCode: 0x0304}
	ip.Protocol = 1
	f.Add(build(f, ip, icmp, gopacket.Payload(build(f, ip, &layers.ICMPv4{TypeCode: 0x0800}))))
	f.Add([]byte{0x60})
	for _, seed := range seeds6(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		mend(b)
		var m, q pkt.Meta
		m.Parse(b)
		o, ok := pkt.ParseOuter(b)
		if ok && (o.Len > len(b) || o.Head > o.Len) {
			t.Fatalf("outer %+v of %d bytes", o, len(b))
		}
		if ok != (m.Version != 0) {
			t.Fatalf("outer read %v, packet version %d", ok, m.Version)
		}
		if m.Kind == pkt.Malformed {
			return
		}
		if m.Len > len(b) || m.L4 > m.Len || m.Kind != pkt.Fragment && (m.Payload > m.Len || m.PayloadLen < 0 || m.Payload+m.PayloadLen > m.Len) {
			t.Fatalf("%+v of %d bytes", m, len(b))
		}
		was := m
		if m.Quoted(b, &q) {
			q.SetSrc(b[m.Payload:m.Len], m.Src, 1, pkt.Offload{})
			q.SetDst(b[m.Payload:m.Len], m.Dst, 2, pkt.Offload{})
			m.RefreshICMP(b)
		}
		m.ClampMSS(b, 100, pkt.Offload{})
		m.SetSrc(b, m.Dst, 7, pkt.Offload{})
		m.SetDst(b, was.Src, 9, pkt.Offload{})
		if m.TTL > 1 {
			m.DecTTL(b)
		}
		q.Parse(b)
		if q.Kind != m.Kind || q.Src != was.Dst || q.Dst != was.Src {
			t.Fatalf("rewritten to %+v, want %v with addresses swapped", q, m.Kind)
		}
	})
}

// mend makes the header checksum right, or IPv6's length, so that fuzzing gets past it.
func mend(b []byte) {
	if len(b) >= 40 && b[0]>>4 == 6 {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		return
	}
	if len(b) < 20 || b[0]>>4 != 4 || int(b[0]&15)*4 < 20 || int(b[0]&15)*4 > len(b) {
		return
	}
	head := b[:int(b[0]&15)*4]
	head[10], head[11] = 0, 0
	var sum uint32
	for i := 0; i < len(head); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(head[i:]))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(head[10:], ^uint16(sum))
}

func TestParseDoesNotAllocate(t *testing.T) {
	udp := &layers.UDP{SrcPort: 1, DstPort: 2}
	four := &layers.IPv4{Version: 4, TTL: 64, Protocol: 17, SrcIP: []byte{10, 0, 0, 1}, DstIP: []byte{10, 0, 0, 2}}
	_ = udp.SetNetworkLayerForChecksum(four)
	packets := map[string][]byte{"192.0.2.1": build(t, four, udp, gopacket.Payload("x"))}
	six := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: 17, SrcIP: net.ParseIP("2001:db8::1"), DstIP: net.ParseIP("2001:db8::2")}
	_ = udp.SetNetworkLayerForChecksum(six)
	packets["2001:db8::3"] = extended(build(t, six, udp, gopacket.Payload("x")), 60, make([]byte, 16))
	for addr, b := range packets {
		m, addr := new(pkt.Meta), netip.MustParseAddr(addr)
		if n := testing.AllocsPerRun(100, func() {
			m.Parse(b)
			m.SetSrc(b, addr, 9, pkt.Offload{})
			m.SetDst(b, addr, 9, pkt.Offload{})
		}); n != 0 || m.Kind != pkt.UDP {
			t.Errorf("%v: %v allocations, want 0", m, n)
		}
	}
}

// TestHeaderSound: the short cut agrees with gVisor's sum on any bytes.
func TestHeaderSound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		head := rapid.SliceOfN(rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte{0, 0xff})), 20, 20).Draw(rt, "header")
		head[0] = 0x45
		if rapid.Bool().Draw(rt, "right") {
			mend(head)
		}
		if got, want := pkt.HeaderSound(head), checksum.Checksum(head, 0) == 0xffff; got != want {
			rt.Fatalf("sound %v, gVisor says %v", got, want)
		}
	})
}

// TestDecTTL4 lowers the TTL of headers of every checksum as DecTTL does, to the
// bit: also where the sum is 0.
func TestDecTTL4(t *testing.T) {
	for sum := range 1 << 16 {
		var a, b [pkt.IPv4Header]byte
		a[0], a[8] = 0x45, 64
		binary.BigEndian.PutUint16(a[10:], uint16(sum))
		b = a
		m := pkt.Meta{Version: 4, TTL: 64}
		m.DecTTL(a[:])
		if pkt.DecTTL4(&b); a != b {
			t.Fatalf("checksum %04x: %x, want %x", sum, b, a)
		}
	}
}
