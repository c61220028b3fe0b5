package node

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// TestMultipath: which of two equal ways each of forty flows takes is what Linux
// 6.18 answers, asked with `ip route get 203.0.113.9 from 192.0.2.1 ipproto tcp
// sport N dport 443`.
func TestMultipath(t *testing.T) {
	for seed, want := range map[uint32]string{
		12345: "1111100011011101000011100001110001000100",
		54321: "1011001000010100111100001101100111010000",
	} {
		var got strings.Builder
		for port := range len(want) {
			m := pkt.Meta{
				Kind: pkt.TCP, Proto: pkt.ProtoTCP, Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("203.0.113.9"),
				SrcPort: uint16(40000 + port), DstPort: 443,
			}
			fmt.Fprint(&got, multipath(seed, &m, 2))
		}
		if got.String() != want {
			t.Errorf("seed %d: %s, want %s", seed, &got, want)
		}
	}
}

// TestMultipathParts: equal ways get equal parts, and both directions of a flow
// the same, of either family.
func TestMultipathParts(t *testing.T) {
	for _, src := range []string{"192.0.2.1", "fd00::1"} {
		a := netip.MustParseAddr(src)
		for n := 2; n <= 5; n++ {
			count := make([]int, n)
			for port := range 5000 {
				m := pkt.Meta{Kind: pkt.UDP, Proto: pkt.ProtoUDP, Src: a, Dst: a.Next(), SrcPort: uint16(port + 1), DstPort: 7}
				back := pkt.Meta{Kind: pkt.UDP, Proto: pkt.ProtoUDP, Src: a.Next(), Dst: a, SrcPort: 7, DstPort: uint16(port + 1)}
				i := multipath(1, &m, n)
				count[i]++
				if j := multipath(1, &back, n); i != j {
					t.Fatalf("%v: one way is %d, back is %d", m, i, j)
				}
			}
			for i, c := range count {
				if share := 5000 / n; c < share*9/10 || c > share*11/10 {
					t.Errorf("%s: way %d of %d got %d, want %d", src, i, n, c, share)
				}
			}
		}
	}
}
