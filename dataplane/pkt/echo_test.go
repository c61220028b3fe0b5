package pkt_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// TestEcho: gopacket reads the echo messages that are made here, and their
// answers, which carry the same payload.
func TestEcho(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		first    gopacket.Decoder
	}{
		{"169.254.240.0", "169.254.240.1", layers.LayerTypeIPv4},
		{"fd00::1", "fd00::2", layers.LayerTypeIPv6},
	} {
		from, to := netip.MustParseAddr(tt.from), netip.MustParseAddr(tt.to)
		for _, reply := range []bool{false, true} {
			b := pkt.AppendEcho([]byte{9}, from, to, reply, 0xabcd, 0x1234)[1:]
			var m pkt.Meta
			m.Parse(b)
			want := pkt.EchoRequest
			if reply {
				want = pkt.EchoReply
			}
			if m.Kind != want || m.Src != from || m.Dst != to || m.SrcPort|m.DstPort != 0xabcd || m.EchoSeq(b) != 0x1234 {
				t.Errorf("%s, reply %v: %+v", tt.from, reply, m)
			}
			checksums(t, b, tt.first)
			if reply {
				continue
			}
			answer := m.AppendEchoReply(nil, b)
			var a pkt.Meta
			a.Parse(answer)
			if a.Kind != pkt.EchoReply || a.Src != to || a.Dst != from || a.DstPort != 0xabcd || a.EchoSeq(answer) != 0x1234 || !bytes.Equal(answer[a.Payload:], b[m.Payload:]) {
				t.Errorf("%s: answered with %+v", tt.from, a)
			}
			checksums(t, answer, tt.first)
		}
	}
}

// checksums checks the checksums of an ICMP packet.
func checksums(t *testing.T, b []byte, first gopacket.Decoder) {
	t.Helper()
	p := gopacket.NewPacket(b, first, gopacket.Default)
	if p.ErrorLayer() != nil {
		t.Fatal(p.ErrorLayer().Error())
	}
	errs, mismatches := p.VerifyChecksums()
	if errs != nil || len(mismatches) != 0 {
		t.Errorf("%v: %v, wrong sums %v", p, errs, mismatches)
	}
}
