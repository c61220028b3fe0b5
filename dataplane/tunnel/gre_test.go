package tunnel_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

var inner = []byte{0x45, 1, 2, 3, 4, 5}

// TestAppend: gopacket reads what Append writes, over IPv4 and IPv6, with and
// without key.
func TestAppend(t *testing.T) {
	tests := []struct {
		name     string
		encap    tunnel.Encap
		overhead int
	}{
		{"plain", tunnel.Encap{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.18.0.1")}, 24},
		{"key", tunnel.Encap{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.18.0.1"), Key: 0xdeadbeef, HasKey: true, TTL: 9}, 28},
		{"key 0", tunnel.Encap{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.18.0.1"), HasKey: true}, 28},
		{"plain ipv6", tunnel.Encap{Src: netip.MustParseAddr("2001:db8::1"), Dst: netip.MustParseAddr("2001:db8::2")}, 44},
		{"ipv6", tunnel.Encap{Src: netip.MustParseAddr("2001:db8::1"), Dst: netip.MustParseAddr("2001:db8::2"), Key: 7, HasKey: true}, 48},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.encap.Overhead(); got != tt.overhead {
				t.Errorf("overhead %d, want %d", got, tt.overhead)
			}
			b := tt.encap.Append([]byte("before"), inner)
			if !bytes.HasPrefix(b, []byte("before")) || len(b) != 6+tt.overhead+len(inner) {
				t.Fatalf("%d bytes appended, want %d", len(b)-6, tt.overhead+len(inner))
			}
			b = b[6:]
			p := readOuter(t, tt.encap, layers.IPProtocolGRE, b)
			gre, ok := p.Layer(layers.LayerTypeGRE).(*layers.GRE)
			if !ok || gre.KeyPresent != tt.encap.HasKey || gre.Key != tt.encap.Key || gre.Protocol != layers.EthernetTypeIPv4 || gre.ChecksumPresent || gre.SeqPresent || !bytes.Equal(gre.Payload, inner) {
				t.Errorf("GRE header %+v", gre)
			}
			h, reason := tunnel.ParseGRE(b[tt.overhead-h4(tt.encap):], true)
			if reason != drop.None || h.Key != tt.encap.Key || h.HasKey != tt.encap.HasKey || h.Protocol != tunnel.EtherTypeIPv4 {
				t.Errorf("reads back as %+v, %v", h, reason)
			}
		})
	}
	if got := new(tunnel.Encap).Append(nil, inner); !bytes.Equal(got, inner) || new(tunnel.Encap).Overhead() != 0 {
		t.Errorf("no encapsulation writes %x", got)
	}
	six := tunnel.Encap{Src: tests[0].encap.Src, Dst: tests[0].encap.Dst}
	if got := six.Append(nil, []byte{0x60}); binary.BigEndian.Uint16(got[22:]) != 0x86dd {
		t.Errorf("IPv6 inside is marked %x", got[22:24])
	}
}

// TestFamilies: either family inside either family reads back as it was, at
// gopacket's and at ours.
func TestFamilies(t *testing.T) {
	for _, outer := range []tunnel.Encap{
		{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.18.0.1")},
		{Src: netip.MustParseAddr("2001:db8::1"), Dst: netip.MustParseAddr("2001:db8::2")},
	} {
		for version, inside := range map[uint8][]byte{4: append([]byte{0x45}, make([]byte, 19)...), 6: append([]byte{0x60}, make([]byte, 39)...)} {
			b := outer.Append(nil, inside)
			first := layers.LayerTypeIPv4
			if outer.Dst.Is6() {
				first = layers.LayerTypeIPv6
			}
			gre, ok := gopacket.NewPacket(b, first, gopacket.Default).Layer(layers.LayerTypeGRE).(*layers.GRE)
			if want := map[uint8]layers.EthernetType{4: layers.EthernetTypeIPv4, 6: layers.EthernetTypeIPv6}[version]; !ok || gre.Protocol != want || !bytes.Equal(gre.Payload, inside) {
				t.Errorf("IPv%d in %v: gopacket reads %+v", version, outer.Dst, gre)
			}
			h, reason := tunnel.ParseGRE(b[outer.Overhead()-4:], true)
			if reason != drop.None || h.Version() != version || !bytes.Equal(b[outer.Overhead():], inside) {
				t.Errorf("IPv%d in %v: read as %+v, %v", version, outer.Dst, h, reason)
			}
		}
	}
}

func h4(e tunnel.Encap) int {
	if e.HasKey {
		return 8
	}
	return 4
}

// TestParseGRE: what RFC 2784 and 2890 allow is read, the rest refused. Bits 6
// to 12 are ignored on receipt (RFC 2784 section 2.3).
func TestParseGRE(t *testing.T) {
	withChecksum := func(good bool) []byte {
		b := append([]byte{0x80, 0, 8, 0, 0, 0, 0, 0}, inner...)
		var sum uint32
		for i := 0; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		for sum>>16 != 0 {
			sum = sum>>16 + sum&0xffff
		}
		binary.BigEndian.PutUint16(b[4:], ^uint16(sum))
		if !good {
			b[5] ^= 1
		}
		return b
	}
	tests := []struct {
		name   string
		b      []byte
		verify bool
		want   drop.Reason
		head   int
		key    uint32
	}{
		{"plain", append([]byte{0, 0, 8, 0}, inner...), true, drop.None, 4, 0},
		{"ipv6", []byte{0, 0, 0x86, 0xdd, 0x60}, true, drop.None, 4, 0},
		{"key", []byte{0x20, 0, 8, 0, 1, 2, 3, 4}, true, drop.None, 8, 0x01020304},
		{"ignored reserved bits", []byte{0x03, 0xf8, 8, 0}, true, drop.None, 4, 0},
		{"checksum", withChecksum(true), true, drop.None, 8, 0},
		{"checksum and key", []byte{0xa0, 0, 8, 0, 0x57, 0xff, 0, 0, 0, 0, 0, 0}, true, drop.None, 12, 0},
		{"wrong checksum", withChecksum(false), true, drop.BadTunnel, 0, 0},
		{"wrong checksum, not verified", withChecksum(false), false, drop.None, 8, 0},
		{"routing", []byte{0x40, 0, 8, 0}, true, drop.BadTunnel, 0, 0},
		{"sequence", []byte{0x10, 0, 8, 0, 0, 0, 0, 1}, true, drop.BadTunnel, 0, 0},
		{"strict source route", []byte{0x08, 0, 8, 0}, true, drop.BadTunnel, 0, 0},
		{"recursion", []byte{0x04, 0, 8, 0}, true, drop.BadTunnel, 0, 0},
		{"version 1", []byte{0, 1, 8, 0}, true, drop.BadTunnel, 0, 0},
		{"keepalive", []byte{0, 0, 0, 0}, true, drop.BadTunnel, 0, 0},
		{"ethernet", []byte{0, 0, 0x65, 0x58}, true, drop.BadTunnel, 0, 0},
		{"empty", nil, true, drop.Malformed, 0, 0},
		{"cut", []byte{0, 0, 8}, true, drop.Malformed, 0, 0},
		{"cut key", []byte{0x20, 0, 8, 0, 1, 2, 3}, true, drop.Malformed, 0, 0},
		{"cut checksum", []byte{0x80, 0, 8, 0}, true, drop.Malformed, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, reason := tunnel.ParseGRE(tt.b, tt.verify)
			if reason != tt.want || h.Len != tt.head || h.Key != tt.key {
				t.Errorf("got %+v, %v, want %v with %d bytes and key %#x", h, reason, tt.want, tt.head, tt.key)
			}
		})
	}
}

// TestMTU: 24 bytes of GRE leave 1476 of 1500, and 1436 of TCP payload; a key
// costs four more. SEMANTICS 2.10.
func TestMTU(t *testing.T) {
	plain := tunnel.Encap{Dst: netip.MustParseAddr("198.18.0.1")}
	keyed := tunnel.Encap{Dst: plain.Dst, HasKey: true}
	if plain.InnerMTU(1500) != tunnel.GREMTU || tunnel.GREMTU != 1476 || keyed.InnerMTU(1500) != 1472 {
		t.Errorf("inner MTU %d and %d, want 1476 and 1472", plain.InnerMTU(1500), keyed.InnerMTU(1500))
	}
	if got := tunnel.MSS(tunnel.GREMTU); got != 1436 {
		t.Errorf("MSS %d, want 1436", got)
	}
	six := tunnel.Encap{Dst: netip.MustParseAddr("2001:db8::2")}
	if six.InnerMTU(1500) != tunnel.GREMTU6 || tunnel.GREMTU6 != 1456 {
		t.Errorf("inner MTU %d over IPv6, want 1456", six.InnerMTU(1500))
	}
	if got := tunnel.MSS6(tunnel.GREMTU); got != 1416 {
		t.Errorf("MSS %d of IPv6, want 1416", got)
	}
	if tunnel.MSS6(40) != 0 || tunnel.MSS(20) != 0 || tunnel.MSS(1<<20) != 65535 {
		t.Error("MSS is not kept in its range")
	}
}

func FuzzParseGRE(f *testing.F) {
	f.Add([]byte{0xa0, 0, 8, 0, 0, 0, 0, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, reason := tunnel.ParseGRE(b, true)
		if (reason == drop.None) != (h.Len >= 4) || h.Len > len(b) {
			t.Fatalf("%+v, %v of %d bytes", h, reason, len(b))
		}
	})
}
