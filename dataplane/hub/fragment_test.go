package hub_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// filling is size bytes that differ from place to place and from seed to seed.
func filling(size int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// sendCut sends a packet's fragments in some order and returns what came of them, as
// fragments.
func sendCut(n *hubtest.Net, r *rand.Rand, site ident.OnRamp, fragments [][]byte) (all []hubtest.Arrival) {
	for _, i := range r.Perm(len(fragments)) {
		if site == 0 {
			all = append(all, n.Send(fragments[i])...)
		} else {
			all = append(all, n.FromSite(site, fragments[i])...)
		}
	}
	return all
}

// TestFragments: fragmented datagrams of overlapping sites, with the same
// addresses, ports and identification, fragments out of order over four servers,
// reach the origin whole and apart, and its fragmented answers the right site.
// SEMANTICS 4.2, 5.2.
func TestFragments(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Sites: 3})
	for round := range 40 {
		p := client(round)
		ids := make(map[uint16]bool)
		var asked []hubtest.Arrival
		var payloads [][]byte
		for site := ident.OnRamp(1); site <= 3; site++ {
			p.Payload = filling(1500+r.IntN(8000), uint64(site)<<32|uint64(round))
			packet := p.UDP()
			if round%2 == 1 {
				packet = p.Ping()
			}
			payloads = append(payloads, p.Payload)
			out := sendCut(n, r, site, hubtest.Cut(packet, 1448, 77))
			whole := toInternet(hubtest.Whole(out))
			if len(out) < 2 || len(whole) != 1 {
				t.Fatalf("round %d, site %d: %d fragments came out, %d datagrams", round, site, len(out), len(whole))
			}
			v := hubtest.Decode(whole[0].Packet)
			if !v.Sound || !bytes.Equal(v.Payload, p.Payload) || v.Dst.Addr() != p.Dst.Addr() || n.Config.Egress[0].Addr == v.Dst.Addr() {
				t.Fatalf("round %d, site %d: %v to %v, sound %v, %d bytes", round, site, v.Src, v.Dst, v.Sound, len(v.Payload))
			}
			if ids[v.IP.Id] {
				t.Errorf("round %d: identification %d twice", round, v.IP.Id)
			}
			ids[v.IP.Id] = true
			asked = append(asked, whole[0])
		}
		for i, a := range asked {
			reply := hubtest.Cut(hubtest.Echo(a.Packet), 1480, 99)
			home := toSites(hubtest.Whole(sendCut(n, r, 0, reply)))
			if len(home) != 1 || home[0].Site != ident.OnRamp(i+1) {
				t.Fatalf("round %d: the answer for site %d came to %d places", round, i+1, len(home))
			}
			if v := hubtest.Decode(home[0].Packet); !v.Sound || !bytes.Equal(v.Payload, payloads[i]) || v.Dst.Addr() != p.Src.Addr() {
				t.Fatalf("round %d, site %d: %v to %v, sound %v, %d bytes", round, i+1, v.Src, v.Dst, v.Sound, len(v.Payload))
			}
		}
	}
	c := n.Counters()
	if c.FlowsStarted != 120 || c.Forwarded != 120 || c.Returned != 120 || c.Held == 0 || n.Hubs[1].NextWake() == vt.Never {
		t.Errorf("counted %+v", c)
	}
	for r, count := range c.Drops {
		if count != 0 {
			t.Errorf("%d dropped as %v", count, drop.Reason(r))
		}
	}
	if n.Largest > 1500 {
		t.Errorf("a packet of %d bytes was sent, want 1500 at most besides a hand-over's headers", n.Largest)
	}
}

// TestFragmentsRefused: what cannot be put together is dropped by its reason, or
// counted when its time is over.
func TestFragmentsRefused(t *testing.T) {
	n := alone(t, func(c *hub.Config) {
		c.Bounds.Fragmented = 2
		c.Timers.Reassembly = 5 * time.Second
	})
	big := client(1)
	big.Payload = filling(4000, 1)
	cut := func(id uint16) [][]byte { return hubtest.Cut(big.UDP(), 1400, id) }
	n.FromSite(1, cut(1)[0])
	n.FromSite(1, cut(1)[0]) // a duplicate
	n.FromSite(1, hubtest.Cut(big.UDP(), 1392, 1)[1])
	n.FromSite(1, cut(2)[2])
	n.FromSite(1, cut(3)[0])
	n.FromSite(1, cut(2)[0][:100]) // cut off
	// What is around a tunnel is not put together.
	n.Send(hubtest.Cut(hubtest.IP{Src: hubtest.Web, Dst: netip.AddrPortFrom(hubtest.Tunnel, 1), Payload: big.Payload}.UDP(), 1400, 1)[0])
	c := n.Counters()
	want := map[drop.Reason]uint64{drop.Fragment: 2, drop.Overlap: 1, drop.ReassemblyFull: 1, drop.Malformed: 1}
	for r, count := range want {
		if c.Drops[r] != count {
			t.Errorf("%d dropped as %v, want %d", c.Drops[r], r, count)
		}
	}
	if c.Held != 2 {
		t.Errorf("%d held, want 2", c.Held)
	}
	h := n.Hubs[1]
	if got := h.NextWake(); got != vt.Instant(5*time.Second) {
		t.Errorf("wakes at %v, want 5 s", got)
	}
	n.Now = vt.Instant(5 * time.Second)
	n.Timer()
	if c := n.Counters(); c.ReassemblyTimeouts != 1 || h.NextWake() != vt.Never {
		t.Errorf("%d timed out, next wake %v, want 1 and never", c.ReassemblyTimeouts, h.NextWake())
	}
	n.FromSite(1, cut(4)[0])
	n.Now = vt.Instant(11 * time.Second)
	n.FromSite(1, cut(5)[0]) // notices without a timer
	if c := n.Counters(); c.ReassemblyTimeouts != 2 {
		t.Errorf("%d timed out, want 2", c.ReassemblyTimeouts)
	}
	n.Reconfigure(func(c *hub.Config) { c.Bounds.Fragmented = 1 })
	n.FromSite(1, cut(6)[0])
	n.FromSite(1, cut(7)[0])
	if c := n.Counters(); c.Drops[drop.ReassemblyFull] != 2 {
		t.Errorf("%d found no room, want 2", c.Drops[drop.ReassemblyFull])
	}
	var out hub.Out
	h.Close(n.Now, &out)
	if h.NextWake() != vt.Never {
		t.Errorf("after Close it wakes at %v", h.NextWake())
	}
}

// TestFragmentsAsAnyPacket: a whole is decided like a packet that came whole:
// routed to a site, denied, expired.
func TestFragmentsAsAnyPacket(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Edit: func(c *hub.Config) {
		c.Routes = []route.Route{{Tenant: 1, VNet: 1, Prefix: netip.MustParsePrefix("10.9.0.0/16"), NextHop: 2}}
		policed(policy.Policies{Network: []policy.Rule{rule("no", policy.Block, 53)}})(c)
	}})
	send := func(to string, ttl uint8) []hubtest.Arrival {
		p := hubtest.IP{Src: hubtest.Till, Dst: netip.MustParseAddrPort(to), TTL: ttl, Payload: filling(3000, 3)}
		return sendCut(n, r, 1, hubtest.Cut(p.UDP(), 1400, uint16(r.Uint32())))
	}
	out := hubtest.Whole(send("10.9.0.1:80", 0))
	if len(out) != 1 || out[0].Site != 2 || !bytes.Equal(hubtest.Decode(out[0].Packet).Payload, filling(3000, 3)) {
		t.Errorf("to a site: %+v", out)
	}
	if out := send("203.0.113.9:53", 0); len(out) != 0 || n.Counters().Drops[drop.PolicyDenied] != 1 {
		t.Errorf("denied: %+v", out)
	}
	out = send("203.0.113.9:80", 1)
	if len(out) != 1 || out[0].Site != 1 || hubtest.Decode(out[0].Packet).ICMP == nil {
		t.Fatalf("expired: %+v", out)
	}
	if v := hubtest.Decode(out[0].Packet); v.ICMP.TypeCode != 0x0b00 || !v.Sound || len(out[0].Packet) > 576 {
		t.Errorf("expired: %+v of %d bytes", v.ICMP, len(out[0].Packet))
	}
	// An error on the way that quotes a first fragment finds the client too.
	out = send("203.0.113.9:80", 0)
	first := slices.IndexFunc(out, func(a hubtest.Arrival) bool { return hubtest.Decode(a.Packet).IP.FragOffset == 0 })
	icmp := hubtest.Unreachable(netip.MustParseAddr("192.88.99.1"), 1, 0, out[first].Packet)
	if back := n.Send(icmp); len(back) != 1 || back[0].Site != 1 || hubtest.Decode(back[0].Packet).Dst.Addr() != hubtest.Till.Addr() {
		t.Errorf("an error about a fragment came to %+v", back)
	}
}
