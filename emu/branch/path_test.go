package branch

import (
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/wire"
)

// narrowed is the ICMP error of a router on the way that a packet of e was too big.
func narrowed(e tunnel.Encap, mtu int) []byte {
	outer := e.Append(nil, make([]byte, 1400))
	var m pkt.Meta
	m.Parse(outer)
	return m.AppendTooBig(nil, outer, mtu, 0)
}

// A tunnel's interface has the MTU that the way leaves: as an ICMP error tells
// that quotes a packet of the tunnel's, or as the WAN itself has it; an error that
// quotes another packet tells nothing.
func TestPath(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		routes, err := wire.OpenRoutes(l.NS("branch"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(routes.Close)
		has := func(what string, want int) {
			t.Helper()
			for limit := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
				got, err := routes.MTU("gre1")
				if err != nil {
					t.Fatal(err)
				}
				if got == want {
					return
				}
				if time.Now().After(limit) {
					t.Fatalf("%s: the tunnel has an MTU of %d, want %d", what, got, want)
				}
			}
		}
		tell := func(e tunnel.Encap, mtu int) {
			l.send.Whole(narrowed(e, mtu), zero, 0)
			l.send.Flush()
		}
		mine := tunnel.Encap{Src: wanAddr, Dst: anycast, Key: l.encap.Key, HasKey: l.encap.HasKey}
		full, head := mine.InnerMTU(1500), mine.Overhead()

		forged := mine
		forged.Key, forged.HasKey = 12345, true
		tell(forged, 1000)
		elsewhere := mine
		elsewhere.Dst = farAddr
		tell(elsewhere, 1000)
		tell(mine, 1400)
		has("told of 1400", 1400-head)
		tell(mine, 1450)
		tell(mine, 1350)
		has("told of more, and of less", 1350-head)

		if err := routes.SetMTU("wan0", 1320); err != nil {
			t.Fatal(err)
		}
		has("a WAN of 1320", 1320-head)
		if err := routes.SetMTU("wan0", 1500); err != nil {
			t.Fatal(err)
		}
		has("a whole WAN, and a way of 1350", 1350-head)
		if full <= 1350-head {
			t.Fatal("nothing was narrowed")
		}
	})
}
