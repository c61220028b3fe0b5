package pkt_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// TestEcho: gopacket reads the echo messages that are made here, and their
// answers, which carry the same payload.
func TestEcho(t *testing.T) {
	for _, tt := range []struct {
		from, to string
	}{
		{"169.254.240.0", "169.254.240.1"},
		{"fd00::1", "fd00::2"},
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
			sound(t, b)
			if reply {
				continue
			}
			answer := m.AppendEchoReply(nil, b)
			var a pkt.Meta
			a.Parse(answer)
			if a.Kind != pkt.EchoReply || a.Src != to || a.Dst != from || a.DstPort != 0xabcd || a.EchoSeq(answer) != 0x1234 || !bytes.Equal(answer[a.Payload:], b[m.Payload:]) {
				t.Errorf("%s: answered with %+v", tt.from, a)
			}
			sound(t, answer)
		}
	}
}
