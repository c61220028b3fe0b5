package hub_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// sharing is a network whose tenant has an address over all the servers that can share
// one.
func sharing(t *testing.T, o hubtest.Options) *hubtest.Net {
	t.Helper()
	o.Servers, o.Sites, o.ARR = egress.Owners, 1, hubtest.All
	o.Edit = func(c *hub.Config) {
		own := whole(c, 1, inTokyo)
		own.Tenant = c.Tenants[0].ID
		c.Egress = append(c.Egress, own)
		c.Trace = false
	}
	return hubtest.New(t, o)
}

// TestEG7Address: an address over 31 servers has 40,000 flows toward one port of a
// destination, and the next is refused, although no slice is full; a second
// destination is served; and what has ended makes room. So it is for users of the
// address's datacenter as for those of another. SEMANTICS EG-7, SU-2.
func TestEG7Address(t *testing.T) {
	t.Run("here", func(t *testing.T) { testEG7Address(t, 1) })
	t.Run("from another datacenter", func(t *testing.T) { testEG7Address(t, 2) })
}

func testEG7Address(t *testing.T, users ident.Datacenter) {
	n := sharing(t, hubtest.Options{Datacenters: int(users)})
	land(n, users)
	most := map[ident.Server]int{}
	open := func(k int, to netip.AddrPort) *hub.Session {
		n.Events = n.Events[:0]
		n.FromSite(1, hubtest.IP{Src: netip.AddrPortFrom(hubtest.Till.Addr(), uint16(1024+k)), Dst: to}.TCP(hubtest.Flags{SYN: true}, 1, 0, 0))
		n.Timer() // what servers tell each other
		n.Learn()
		for _, e := range n.Events {
			if e.Session != nil {
				return e.Session
			}
		}
		return nil
	}
	refused := 0
	for k := range egress.Together + 50 {
		s := open(k, hubtest.Web)
		switch {
		case s == nil:
			t.Fatalf("flow %d has no record", k)
		case s.Refused == drop.PortsExhausted:
			refused++
		case s.Egress.Addr() != inTokyo:
			t.Fatalf("flow %d left as %v", k, s.Egress)
		default:
			most[ident.Server(egress.Slice(s.Egress.Port()))]++
		}
	}
	if refused != 50 {
		t.Errorf("%d of %d flows were refused, want 50", refused, egress.Together+50)
	}
	if s := open(0, netip.AddrPortFrom(hubtest.Web.Addr(), 80)); s == nil || s.Refused != drop.None {
		t.Errorf("a second destination: %+v", s)
	}
	n.Now = n.Now.Add(time.Hour) // nobody answered: what was opened is over
	n.Timer()
	n.Learn()
	if s := open(0, hubtest.Web); s == nil || s.Refused != drop.None {
		t.Errorf("with all flows ended: %+v", s)
	}
	for slice, n := range most {
		if n >= egress.SliceSize {
			t.Errorf("slice %d is full with %d: the address did not refuse first", slice, n)
		}
	}
}

// TestEG7Unheard: servers that hear nothing of one another open no flow too many, and
// a flow that was handed on, twice at most, is reached wherever its packets land.
func TestEG7Unheard(t *testing.T) {
	n := sharing(t, hubtest.Options{Datacenters: 1})
	n.Hold = true
	land(n, 1)
	opened := 0
	for k := range egress.Together + 2000 {
		ip := hubtest.IP{Src: netip.AddrPortFrom(hubtest.Till.Addr(), uint16(1024+k)), Dst: hubtest.Web}
		n.Events = n.Events[:0]
		n.FromSite(1, ip.TCP(hubtest.Flags{SYN: true}, 1, 0, 0))
		for _, e := range n.Events {
			if e.Kind != hub.FlowStart {
				continue
			}
			opened++
			before := n.Counters().Forwarded
			for range 2 { // each lands at another server
				n.FromSite(1, ip.TCP(hubtest.Flags{ACK: true}, 2, 1, 10))
			}
			if got := n.Counters().Forwarded - before; got != 2 {
				t.Fatalf("flow %d: %d of its next 2 packets left", k, got)
			}
		}
	}
	c := n.Counters()
	if opened > egress.Together || opened < egress.Together*9/10 || c.Relayed == 0 || c.Drops[drop.HopLimit] != 0 {
		t.Errorf("%d flows opened, %d were handed on, %d packets met the hop limit; want at most %d and not far from it, some, and none",
			opened, c.Relayed, c.Drops[drop.HopLimit], egress.Together)
	}
}
