package hub_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// A configuration that takes an on-ramp away ends its flows, and their ports are
// held as those of any closed flow: nobody else gets one before, toward the same
// remote end, and somebody does after (SEMANTICS 5.5).
func TestReconfigureHoldsPorts(t *testing.T) {
	const hold = 60 * time.Second
	n := alone(t, nil)
	port := func(site ident.OnRamp, source uint16) uint16 {
		p := hubtest.IP{Src: netip.AddrPortFrom(netip.MustParseAddr("10.0.1.5"), source), Dst: hubtest.Web}
		out := n.FromSite(site, p.TCP(hubtest.Flags{SYN: true}, 1, 0, 0))
		if len(out) == 0 {
			return 0
		}
		return hubtest.Decode(out[0].Packet).Src.Port()
	}
	const flows = 2000 // of the slice's 2048 ports toward one remote end
	held := map[uint16]bool{}
	for i := range uint16(flows) {
		held[port(2, 1024+i)] = true
	}
	if len(held) != flows {
		t.Fatalf("%d ports of %d flows", len(held), flows)
	}
	n.Reconfigure(func(c *hub.Config) {
		c.OnRamps = slices.DeleteFunc(slices.Clone(c.OnRamps), func(o hub.OnRamp) bool { return o.ID == 2 })
	})
	again := func() (taken int) {
		for i := range uint16(2048 - flows) {
			if held[port(1, 5000+i)] {
				taken++
			}
		}
		return taken
	}
	n.Now = n.Now.Add(hold - time.Second)
	if k := again(); k != 0 {
		t.Errorf("%d ports were given out again before their time", k)
	}
	n.Now = n.Now.Add(2 * time.Second)
	n.Timer()
	got := 0
	for i := range uint16(500) {
		if held[port(1, 20000+i)] {
			got++
		}
	}
	if got != 500 {
		t.Errorf("%d of 500 ports were given out again after it, want all", got)
	}
	if w := n.Hubs[1].NextWake(); w != vt.Never && w < n.Now {
		t.Errorf("next wake %v, and it is %v", w, n.Now)
	}
}

// TestRestartHoldsNothing: a server that begins anew gives the ports that it held
// before at once, and the same flow has the same again (SEMANTICS 5.5).
func TestRestartHoldsNothing(t *testing.T) {
	p := hubtest.IP{Src: netip.MustParseAddrPort("10.0.1.5:40000"), Dst: hubtest.Web}
	opened := func(n *hubtest.Net) netip.AddrPort {
		out := n.FromSite(1, p.TCP(hubtest.Flags{SYN: true}, 1, 0, 0))
		if len(out) != 1 {
			t.Fatalf("the SYN came out as %+v", out)
		}
		return hubtest.Decode(out[0].Packet).Src
	}
	n := alone(t, nil)
	first := opened(n)
	n.FromSite(1, p.TCP(hubtest.Flags{RST: true}, 2, 0, 0))
	c := n.ConfigOf(1)
	c.Life++
	h, err := hub.New(c)
	if err != nil {
		t.Fatal(err)
	}
	n.Hubs[1] = h
	if again := opened(n); again != first {
		t.Errorf("the same flow leaves as %v after the restart, and as %v before", again, first)
	}
}
