package afpacket

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// build serializes layers with lengths and checksums filled in.
func build(t testing.TB, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(buf.Bytes())
}

func bytesOf(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// tcpPacket is an IPv4 or IPv6 TCP packet with options and all flags in play.
func tcpPacket(t testing.TB, v6 bool, payload []byte) []byte {
	t.Helper()
	tcp := &layers.TCP{
		SrcPort: 40000, DstPort: 443, Seq: 0xfffffc00, Ack: 7, Window: 512, ACK: true, PSH: true, FIN: true, CWR: true,
		Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindNop}, {OptionType: layers.TCPOptionKindNop},
			{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)}},
	}
	if v6 {
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: netip.MustParseAddr("2001:db8::5").AsSlice(), DstIP: netip.MustParseAddr("2001:db8::9").AsSlice()}
		_ = tcp.SetNetworkLayerForChecksum(ip)
		return build(t, ip, tcp, gopacket.Payload(payload))
	}
	ip := &layers.IPv4{Version: 4, Id: 0xfffe, TTL: 64, Protocol: layers.IPProtocolTCP, Flags: layers.IPv4DontFragment, SrcIP: []byte{10, 0, 1, 5}, DstIP: []byte{203, 0, 113, 9}}
	_ = tcp.SetNetworkLayerForChecksum(ip)
	return build(t, ip, tcp, gopacket.Payload(payload))
}

func udpPacket(t testing.TB, payload []byte) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: []byte{10, 0, 1, 5}, DstIP: []byte{203, 0, 113, 9}}
	udp := &layers.UDP{SrcPort: 40000, DstPort: 53}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return build(t, ip, udp, gopacket.Payload(payload))
}

// decoded is a TCP packet as gopacket, which nobody here wrote, reads it.
type decoded struct {
	id      uint16
	tcp     *layers.TCP
	payload []byte
}

func decode(t *testing.T, b []byte) decoded {
	t.Helper()
	first := gopacket.LayerType(layers.LayerTypeIPv4)
	if b[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewPacket(b, first, gopacket.Default)
	if p.ErrorLayer() != nil || p.Metadata().Truncated {
		t.Fatalf("%x: %v, truncated %v", b, p.ErrorLayer(), p.Metadata().Truncated)
	}
	d := decoded{tcp: p.Layer(layers.LayerTypeTCP).(*layers.TCP)}
	if err := d.tcp.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
		t.Fatal(err)
	}
	if err, mismatches := p.VerifyChecksums(); err != nil || len(mismatches) > 0 {
		t.Fatalf("%x: %v %v", b, err, mismatches)
	}
	d.payload = d.tcp.Payload
	if ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4); ok {
		d.id = ip.Id
	}
	return d
}

// Segments are complete packets that add up to the superpacket: CWR on the
// first alone, FIN and PSH on the last, ids and sequence numbers counting on.
func TestSegments(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const size = 1424
	for _, v6 := range []bool{false, true} {
		for _, n := range []int{1, size - 1, size, size + 1, 2 * size, 2*size + 1, 45 * size, 65535 - 60 - 32} {
			t.Run(fmt.Sprintf("v6=%v/%d", v6, n), func(t *testing.T) {
				payload := bytesOf(r, n)
				whole := tcpPacket(t, v6, payload)
				var g segmenter
				if !g.reset(whole, pkt.Offload{Segment: size, Partial: true}) {
					t.Fatal("reset = false, want true")
				}
				var all []byte
				for i := 0; g.more(); i++ {
					length := g.nextLen()
					head, rest := g.next(nil)
					segment := append(head, rest...)
					if len(segment) != length || len(rest) > size {
						t.Fatalf("segment %d is %d bytes with %d of payload, want %d and at most %d", i, len(segment), len(rest), length, size)
					}
					d := decode(t, segment)
					last := !g.more()
					if d.tcp.Seq != 0xfffffc00+uint32(len(all)) || d.tcp.CWR != (i == 0) || d.tcp.FIN != last || d.tcp.PSH != last || !d.tcp.ACK {
						t.Errorf("segment %d has seq %#x, cwr %v, fin %v, psh %v", i, d.tcp.Seq, d.tcp.CWR, d.tcp.FIN, d.tcp.PSH)
					}
					if want := uint16(0xfffe + i); !v6 && d.id != want {
						t.Errorf("segment %d has id %#x, want %#x", i, d.id, want)
					}
					all = append(all, d.payload...)
				}
				if !bytes.Equal(all, payload) {
					t.Errorf("segments carry %d bytes that differ from the %d sent", len(all), len(payload))
				}
			})
		}
	}
}

// What cannot be cut is refused, never cut wrongly.
func TestSegmentsRefused(t *testing.T) {
	tcp := tcpPacket(t, false, []byte("payload"))
	lies := bytes.Clone(tcp)
	lies[20+tcpOffset] = 0xf0
	for name, b := range map[string][]byte{
		"UDP": udpPacket(t, []byte("x")), "no payload": tcpPacket(t, false, nil), "cut header": tcp[:30], "header that lies": lies, "nothing": nil, "not IP": {0xff, 0xff},
	} {
		var g segmenter
		if g.reset(b, pkt.Offload{Segment: 1000}) {
			t.Errorf("%s: reset = true, want false", name)
		}
	}
}

// partial replaces a complete checksum by the pseudo header's sum.
func partial(b []byte) []byte {
	b = bytes.Clone(b)
	tr, _ := own(b)
	binary.BigEndian.PutUint16(b[tr.at+tr.sum:], pseudo(b, tr, len(b)-tr.at))
	return b
}

func TestFillChecksum(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	zero := udpPacket(t, []byte{0, 0})
	// Make the sum come out as 0, which UDP sends as 0xffff.
	sum := binary.BigEndian.Uint16(zero[26:])
	binary.BigEndian.PutUint16(zero[28:], sum)
	binary.BigEndian.PutUint16(zero[26:], 0xffff)
	for _, want := range [][]byte{
		tcpPacket(t, false, bytesOf(r, 1001)), tcpPacket(t, true, bytesOf(r, 1000)), udpPacket(t, bytesOf(r, 333)), zero,
	} {
		got := partial(want)
		if bytes.Equal(got, want) {
			t.Fatalf("%x: nothing left to fill in", want)
		}
		if fillChecksum(got); !bytes.Equal(got, want) {
			t.Errorf("filled in\n got %x\nwant %x", got, want)
		}
	}
}

// vnet writes a virtio header as the kernel does.
func vnet(flags, gso uint8, size, start, offset uint16) []byte {
	b := make([]byte, vnetSize)
	b[0], b[1] = flags, gso
	ne := binary.NativeEndian
	ne.PutUint16(b[4:], size)
	ne.PutUint16(b[6:], start)
	ne.PutUint16(b[8:], offset)
	return b
}

// A virtio header is about the whole frame, an Offload about the packet that
// the hub works on: the inner one of a tunnel.
func TestOffloadOfReceived(t *testing.T) {
	const need = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM
	const tcp4, tcp6 = unix.VIRTIO_NET_HDR_GSO_TCPV4, unix.VIRTIO_NET_HDR_GSO_TCPV6
	plain := tcpPacket(t, false, make([]byte, 3000))
	v6 := tcpPacket(t, true, make([]byte, 3000))
	e := tunnel.Encap{Src: netip.MustParseAddr("192.0.2.2"), Dst: netip.MustParseAddr("198.18.0.1")}
	keyed := e
	keyed.HasKey, keyed.Key = true, 9
	for _, c := range []struct {
		name   string
		vnet   []byte
		packet []byte
		want   pkt.Offload
		err    error
	}{
		{"complete", vnet(0, 0, 0, 0, 0), plain, pkt.Offload{}, nil},
		{"partial", vnet(need, 0, 0, 34, 16), plain, pkt.Offload{Partial: true}, nil},
		{"superpacket", vnet(need, tcp4, 1448, 34, 16), plain, pkt.Offload{Partial: true, Segment: 1448}, nil},
		{"superpacket with ECN", vnet(need, tcp4|gsoECN, 1448, 34, 16), plain, pkt.Offload{Partial: true, Segment: 1448}, nil},
		{"superpacket from a card", vnet(0, tcp4, 1448, 0, 0), plain, pkt.Offload{Segment: 1448}, nil},
		{"IPv6", vnet(need, tcp6, 1428, 54, 16), v6, pkt.Offload{Partial: true, Segment: 1428}, nil},
		{"in GRE", vnet(need, tcp4, 1424, 34+24, 16), e.Append(nil, plain), pkt.Offload{Partial: true, Segment: 1424}, nil},
		{"in keyed GRE", vnet(need, tcp4, 1420, 34+28, 16), keyed.Append(nil, plain), pkt.Offload{Partial: true, Segment: 1420}, nil},
		{"UDP superpacket", vnet(need, 5, 1400, 34, 6), plain, pkt.Offload{}, ErrSuperpacket},
		{"superpacket with another checksum", vnet(need, tcp4, 1448, 36, 16), plain, pkt.Offload{}, ErrChecksum},
		{"beyond the end", vnet(need, 0, 0, 0xfff0, 16), plain, pkt.Offload{}, ErrChecksum},
		{"within Ethernet", vnet(need, 0, 0, 3, 2), plain, pkt.Offload{}, ErrChecksum},
	} {
		before := bytes.Clone(c.packet)
		got, err := parseVnet(c.vnet).Offload(c.packet)
		if got != c.want || err != c.err {
			t.Errorf("%s: %+v, %v, want %+v, %v", c.name, got, err, c.want, c.err)
		}
		if !bytes.Equal(before, c.packet) {
			t.Errorf("%s: the packet was changed", c.name)
		}
	}
}

// A checksum that Offload cannot name is filled in: here an ICMP one, as if its
// sender's kernel had left it.
func TestForeignChecksumIsFilledIn(t *testing.T) {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: []byte{10, 0, 1, 5}, DstIP: []byte{203, 0, 113, 9}}
	want := build(t, ip, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 1, Seq: 1}, gopacket.Payload("ping"))
	got := bytes.Clone(want)
	got[22], got[23] = 0, 0
	off, err := parseVnet(vnet(unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, 0, 34, 2)).Offload(got)
	if off != (pkt.Offload{}) || err != nil || !bytes.Equal(got, want) {
		t.Errorf("Offload = %+v, %v and %x, want a complete packet %x", off, err, got, want)
	}
	if checksum.Checksum(got[20:], 0) != 0xffff {
		t.Error("the ICMP checksum is wrong")
	}
}
