package tunnel_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// says is a packet that says so of congestion.
func says(version byte, ecn pkt.ECN) []byte {
	if version == 6 {
		b := make([]byte, 48)
		b[0], b[5], b[6], b[7] = 0x60, 8, 59, 9
		pkt.SetECN(b, ecn)
		return b
	}
	b := make([]byte, 28)
	b[0], b[1], b[3], b[8], b[9] = 0x45, byte(ecn), 28, 9, 17
	binary.BigEndian.PutUint16(b[10:], ^checksum.Checksum(b[:20], 0))
	return b
}

// TestUnwrapped is the table of RFC 6040 section 4.2, figure 4.
func TestUnwrapped(t *testing.T) {
	const dropped = pkt.CE + 1
	not, one, zero, ce := pkt.NotECT, pkt.ECT1, pkt.ECT0, pkt.CE
	want := map[pkt.ECN]map[pkt.ECN]pkt.ECN{ // inner, outer
		not:  {not: not, zero: not, one: not, ce: dropped},
		zero: {not: zero, zero: zero, one: one, ce: ce},
		one:  {not: one, zero: one, one: one, ce: ce},
		ce:   {not: ce, zero: ce, one: ce, ce: ce},
	}
	for inner, row := range want {
		for outer, is := range row {
			for _, version := range []byte{4, 6} {
				b := says(version, inner)
				ok := tunnel.Unwrapped(outer, b)
				switch {
				case ok != (is != dropped):
					t.Errorf("IPv%d, %d in %d: goes on %v", version, inner, outer, ok)
				case ok && !bytes.Equal(b, says(version, is)):
					t.Errorf("IPv%d, %d in %d: %x, want %x", version, inner, outer, b, says(version, is))
				}
			}
		}
	}
	for _, b := range [][]byte{nil, {0x45, 2}, {0xf0, 0x48, 1, 0}, says(6, pkt.ECT0)[:39]} {
		if before := bytes.Clone(b); !tunnel.Unwrapped(pkt.CE, b) || !bytes.Equal(b, before) {
			t.Errorf("%x is no packet, and was dropped or changed", before)
		}
	}
}

// Whatever a tunnel is made of, its outer header begins with what the packet says
// (RFC 6040 section 4.1, normal mode), and is right.
func TestOuterBeginsWithInner(t *testing.T) {
	a4, b4 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.18.0.1")
	a6, b6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	context := tunnel.GUEContext{OnRamp: 1, Tenant: 1}
	for name, e := range map[string]tunnel.Encap{
		"GRE":            {Src: a4, Dst: b4},
		"GRE over IPv6":  {Src: a6, Dst: b6},
		"keyed GRE":      {Src: a4, Dst: b4, HasKey: true, Key: 7},
		"GUE":            {Src: a4, Dst: b4, Proto: tunnel.ViaGUE, Context: context},
		"GUE over IPv6":  {Src: a6, Dst: b6, Proto: tunnel.ViaGUE, Context: context},
		"connected":      {Src: a4, Dst: b4, Proto: tunnel.ViaUDP},
		"connected, six": {Src: a6, Dst: b6, Proto: tunnel.ViaUDP},
	} {
		for _, version := range []byte{4, 6} {
			for ecn := pkt.NotECT; ecn <= pkt.CE; ecn++ {
				got := e.Append(nil, says(version, ecn))
				if _, ok := pkt.ParseOuter(got); !ok || pkt.ECNOf(got) != ecn {
					t.Errorf("%s of IPv%d with %d: %x", name, version, ecn, got)
				}
			}
		}
		if got := e.Append(nil, []byte{0xf0, 0x48, 1, 0xff}); pkt.ECNOf(got) != pkt.NotECT {
			t.Errorf("%s of what is no packet: %x", name, got)
		}
	}
}
