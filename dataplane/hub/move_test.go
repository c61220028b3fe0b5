package hub_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// moving is a network whose datacenter 1 has two addresses, of which the second
// moves to datacenter 2.
type moving struct {
	*hubtest.Net
	was, now egress.Address
}

func newMoving(t *testing.T) *moving {
	m := &moving{Net: hubtest.New(t, hubtest.Options{Datacenters: 3, Servers: 2, Addresses: 2, Sites: 2, ARR: hubtest.All, Edit: func(c *hub.Config) { c.Trace = false }})}
	land(m.Net, 1)
	m.Origin = hubtest.Echo
	for _, a := range m.Config.Egress {
		if a.Datacenter == 1 && a.Addr.Is4() {
			m.was = a // the last of them
		}
	}
	m.now = whole(&m.Config, 2, m.was.Addr)
	m.now.Version = 1
	return m
}

// tell lets the servers of datacenters know an entry of the directory.
func (m *moving) tell(e egress.Address, held []hub.Held, datacenters ...ident.Datacenter) {
	m.Config.Epoch++
	for _, s := range m.Config.Servers {
		if !slices.Contains(datacenters, s.Datacenter) {
			continue
		}
		c := m.Hubs[s.ID].Config()
		c.Epoch, c.Held, c.Egress = m.Config.Epoch, held, slices.Clone(c.Egress)
		for i := range c.Egress {
			if c.Egress[i].Addr == e.Addr {
				c.Egress[i] = e
			}
		}
		if err := m.Hubs[s.ID].Reconfigure(m.Now, c); err != nil {
			m.TB.Fatal(err)
		}
	}
}

// occupied are the flows of datacenter 1 with the address.
func (m *moving) occupied() (held []hub.Held) {
	for _, s := range m.Config.Servers {
		if s.Datacenter == 1 {
			held = append(held, hub.Occupies(s.ID, m.Hubs[s.ID].Sessions(), m.was.Addr)...)
		}
	}
	return held
}

// open opens flows of datacenter dc and returns what each left as.
func (m *moving) open(dc ident.Datacenter, first, n uint16) map[uint16]netip.AddrPort {
	land(m.Net, dc)
	all := map[uint16]netip.AddrPort{}
	for port := first; port < first+n; port++ {
		for _, a := range m.FromSite(1, syn(hubtest.Web, port)) {
			if a.Site == 0 {
				all[port] = hubtest.Decode(a.Packet).Src
			}
		}
	}
	return all
}

// answered counts the flows whose client gets an answer of the origin, and the
// most hubs that one passed.
func (m *moving) answered(flows map[uint16]netip.AddrPort) (n, hops int) {
	for port, at := range flows {
		p := hubtest.IP{Src: hubtest.Web, Dst: at, Payload: []byte("x")}.TCP(hubtest.Flags{ACK: true}, 1001, 2, 0)
		for range 6 { // wherever it lands
			for _, a := range m.Send(p) {
				if v := hubtest.Decode(a.Packet); a.Site == 1 && v.Dst.Port() == port {
					n, hops = n+1, max(hops, a.Hops)
				}
			}
		}
	}
	return n / 6, hops
}

func of(flows map[uint16]netip.AddrPort, addr netip.Addr) map[uint16]netip.AddrPort {
	some := map[uint16]netip.AddrPort{}
	for port, at := range flows {
		if at.Addr() == addr {
			some[port] = at
		}
	}
	return some
}

// TestSU7: an address that moves with drain breaks no flow, wherever replies land
// and whoever knows how much; nobody gives out a pair that is taken, and the new
// place serves new flows. SEMANTICS SU-7, 5.2. SU-14: one datacenter that knows
// late costs one hop at most, and never a loop.
func TestSU7(t *testing.T) {
	m := newMoving(t)
	before := m.open(1, 10000, 200)
	mine := of(before, m.was.Addr)
	if len(mine) == 0 || len(mine) == len(before) {
		t.Fatalf("%d of %d flows have the address", len(mine), len(before))
	}
	_, usual := m.answered(before)
	know := func(step string) {
		t.Helper()
		n, hops := m.answered(before)
		if n != len(before) || hops > usual+1 {
			t.Errorf("%s: %d of %d flows are answered, over %d hubs at most; before it was %d", step, n, len(before), hops, usual)
		}
	}
	closed := m.now
	closed.Was, closed.Closed = m.was.Owner, true
	m.tell(closed, nil, 1)
	know("the old place knows")
	m.tell(closed, nil, 2)
	know("both know")
	for port, at := range m.open(1, 11000, 100) { // flows still begin where it was
		before[port] = at
	}
	if len(of(before, m.was.Addr)) == len(mine) {
		t.Error("no flow began with the address although it has not gone yet")
	}
	drains := closed
	drains.Closed = false
	m.tell(drains, nil, 1)
	held := m.occupied()
	m.tell(drains, held, 2)
	know("it drains, and the third knows nothing") // SU-14
	m.tell(drains, nil, 3)
	know("all know")
	if some := of(m.open(1, 12000, 100), m.was.Addr); len(some) != 0 {
		t.Errorf("%d flows began with the address where it was", len(some))
	}
	taken := map[netip.AddrPort]bool{}
	for _, h := range held {
		taken[h.Egress] = true
	}
	after := of(m.open(2, 20000, 2000), m.was.Addr)
	for _, at := range after {
		if taken[at] {
			t.Errorf("%v was given out again toward the same destination", at)
		}
	}
	if n, _ := m.answered(after); len(after) == 0 || n != len(after) {
		t.Errorf("%d of %d new flows are answered", n, len(after))
	}
	m.tell(m.now, nil, 1, 2, 3)
	if n, _ := m.answered(of(before, m.was.Addr)); n != 0 {
		t.Errorf("%d flows are answered after the drain", n)
	}
	if c := m.Counters(); c.Drops[drop.HopLimit] != 0 {
		t.Errorf("%d packets ran into the hop limit", c.Drops[drop.HopLimit])
	}
}

// Without drain the address's flows break at once, and no others.
func TestSU7NoDrain(t *testing.T) {
	m := newMoving(t)
	before := m.open(1, 10000, 200)
	mine := of(before, m.was.Addr)
	m.tell(m.now, nil, 1, 2, 3)
	if n, _ := m.answered(before); n != len(before)-len(mine) {
		t.Errorf("%d of %d flows are answered, want all but the %d of the address", n, len(before), len(mine))
	}
	if c := m.Counters(); c.FlowsEnded != uint64(len(mine)) {
		t.Errorf("%d flows ended, want %d", c.FlowsEnded, len(mine))
	}
}

// TestSU14: whatever two datacenters believe of an address, a packet to it ends.
func TestSU14(t *testing.T) {
	m := newMoving(t)
	m.tell(m.now, nil, 1) // 1 sends to 2, and 2 to 1
	flows := map[uint16]netip.AddrPort{1: netip.AddrPortFrom(m.was.Addr, 2048)}
	if n, _ := m.answered(flows); n != 0 {
		t.Error("a reply nobody asked for was answered")
	}
	if c := m.Counters(); c.Drops[drop.HopLimit]+c.Drops[drop.NoFlow] != 6 {
		t.Errorf("drops %v, want each packet dropped once", c.Drops)
	}
}

// TestSU6: a server's end breaks its own flows and no other server's. SEMANTICS SU-6.
func TestSU6(t *testing.T) {
	m := newMoving(t)
	flows := m.open(1, 10000, 200)
	lost := 0
	for _, at := range flows {
		if ownerOf(m.Net, at) == 1 {
			lost++
		}
	}
	h, err := hub.New(m.ConfigOf(1)) // it begins anew, without flows
	if err != nil {
		t.Fatal(err)
	}
	m.Hubs[1] = h
	if n, _ := m.answered(flows); lost == 0 || n != len(flows)-lost {
		t.Errorf("%d of %d flows are answered, %d were the server's", n, len(flows), lost)
	}
}

// TestSU9: an ICMP error that quotes a port reaches its owner, from every server,
// also of a flow that leaves from another datacenter than its home. SEMANTICS SU-9.
func TestSU9(t *testing.T) {
	n := dedicated(t, nil)
	for port := uint16(40000); port < 40032; port++ {
		s, _, _ := talk(t, n, 1, syn(hubtest.Web, port))
		sent := hubtest.IP{Src: s.Egress, Dst: hubtest.Web}.TCP(hubtest.Flags{ACK: true}, 2, 1001, 0)
		told := false
		for _, a := range n.Send(hubtest.Unreachable(netip.MustParseAddr("203.0.113.1"), 4, 1300, sent)) {
			told = told || a.Site == 1
		}
		if !told {
			t.Errorf("the sender of %v was not told", s.Egress)
		}
	}
}
