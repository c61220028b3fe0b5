package hub_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// crowded is one datacenter whose tenant does this when ports run out.
func crowded(t *testing.T, servers, addresses int, on hub.OnExhaustion) *hubtest.Net {
	return hubtest.New(t, hubtest.Options{
		ARR: hubtest.All, Datacenters: 1, Servers: servers, Addresses: addresses, Sites: 3,
		Edit: func(c *hub.Config) {
			c.Tenants[0].OnExhaustion, c.Trace = on, false
			c.Timers.UDP = time.Minute
		},
	})
}

// crowd is client i of the many that ask one origin, and the site it is at.
func crowd(i int) (ident.OnRamp, hubtest.IP) {
	return ident.OnRamp(1 + i%3), hubtest.IP{Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i >> 12)}), uint16(4096+i%4096)), Dst: hubtest.Web}
}

// opened is the egress address and port of a packet, and whether it left.
func opened(t *testing.T, n *hubtest.Net, out []hubtest.Arrival) (netip.AddrPort, bool) {
	t.Helper()
	outside := toInternet(out)
	if len(outside) == 0 {
		return netip.AddrPort{}, false
	}
	src := hubtest.Decode(outside[0].Packet).Src
	if owner := ownerOf(n, src); owner != outside[0].Server {
		t.Fatalf("%v left server %d, its port belongs to server %d", src, outside[0].Server, owner)
	}
	return src, true
}

func ownerOf(n *hubtest.Net, at netip.AddrPort) ident.Server {
	for i := range n.Config.Egress {
		if a := &n.Config.Egress[i]; a.Addr == at.Addr() {
			return a.OwnerOf(at.Port())
		}
	}
	return 0
}

// fill opens flows until one is refused or there are most; it returns what each
// left as.
func fill(t *testing.T, n *hubtest.Net, most int) (all []netip.AddrPort) {
	t.Helper()
	seen := make(map[netip.AddrPort]bool)
	for i := range most {
		site, p := crowd(i)
		src, ok := opened(t, n, n.FromSite(site, p.TCP(hubtest.Flags{SYN: true}, 1, 0, 0)))
		if !ok {
			break
		}
		if seen[src] {
			t.Fatalf("flow %d got %v, which another has", i, src)
		}
		seen[src] = true
		all = append(all, src)
	}
	return all
}

// refusedOnce opens one flow too many: its client is reset, and one record says
// why.
func refusedOnce(t *testing.T, n *hubtest.Net, i int) {
	t.Helper()
	n.Events = nil
	before := n.Counters()
	site, p := crowd(i)
	out := n.FromSite(site, p.TCP(hubtest.Flags{SYN: true}, 1, 0, 0))
	if len(out) != 1 || out[0].Site != site || !hubtest.Decode(out[0].Packet).TCP.RST {
		t.Errorf("flow %d: %+v, want a reset to site %d", i, out, site)
	}
	if r := refusals(n); len(r) != 1 || r[0].Close != hub.EgressPortAllocationError || r[0].Refused != drop.PortsExhausted {
		t.Errorf("flow %d: refusals %+v, want one for want of ports", i, r)
	}
	if c := n.Counters(); c.Drops[drop.PortsExhausted] != before.Drops[drop.PortsExhausted]+1 || c.Drops[drop.HopLimit] != 0 {
		t.Errorf("flow %d: dropped %v", i, c.Drops)
	}
}

// TestSU5Refuse: a flow whose address has no free port is refused, whatever the
// server's other addresses have. SEMANTICS SU-5, 5.5.
func TestSU5Refuse(t *testing.T) {
	n := crowded(t, 1, 2, hub.ExhaustionRefuse)
	all := fill(t, n, 2*egress.SliceSize)
	per := make(map[netip.Addr]int)
	for _, src := range all {
		per[src.Addr()]++
	}
	full := netip.Addr{}
	for addr, count := range per {
		if count == egress.SliceSize {
			full = addr
		}
	}
	if len(per) != 2 || !full.IsValid() || len(all) == 2*egress.SliceSize {
		t.Fatalf("refused after %d flows, by address %v: want one address full, and one not", len(all), per)
	}
	refusedOnce(t, n, len(all))
	// The same client to another port of the origin: SU-5's second half.
	site, p := crowd(len(all))
	p.Dst = netip.AddrPortFrom(p.Dst.Addr(), 80)
	if _, ok := opened(t, n, n.FromSite(site, p.TCP(hubtest.Flags{SYN: true}, 1, 0, 0))); !ok {
		t.Error("another port of the origin was not served")
	}
}

// TestSU5AnotherAddress: a server gives all its addresses before it refuses, and
// asks nobody else. SEMANTICS SU-5, 5.5.
func TestSU5AnotherAddress(t *testing.T) {
	for _, on := range []hub.OnExhaustion{"", hub.ExhaustionAnotherAddress} {
		n := crowded(t, 1, 2, on)
		if all := fill(t, n, 2*egress.SliceSize+1); len(all) != 2*egress.SliceSize {
			t.Errorf("%q: %d flows, want %d", on, len(all), 2*egress.SliceSize)
		}
		refusedOnce(t, n, 2*egress.SliceSize)
		two := crowded(t, 2, 1, on)
		if all := fill(t, two, 2*egress.SliceSize+1); len(all) == 2*egress.SliceSize || two.Counters().Relayed != 0 {
			t.Errorf("%q: %d flows of two servers, %d with another, want fewer than both have", on, len(all), two.Counters().Relayed)
		}
	}
}

// TestSU5AnotherServer: all ports of the datacenter serve one destination before
// a flow is refused; each flow's later packets leave with its port wherever they
// enter, and replies come home. SEMANTICS SU-5, 5.5.
func TestSU5AnotherServer(t *testing.T) {
	const servers = 3
	n := crowded(t, servers, 1, hub.ExhaustionAnotherServer)
	all := fill(t, n, servers*egress.SliceSize+1)
	if len(all) != servers*egress.SliceSize {
		t.Fatalf("%d flows, want %d", len(all), servers*egress.SliceSize)
	}
	c := n.Counters()
	if c.Relayed == 0 || c.FlowsStarted != uint64(len(all)) {
		t.Errorf("%d flows started, %d with another server", c.FlowsStarted, c.Relayed)
	}
	for i := len(all); i < len(all)+20; i++ {
		refusedOnce(t, n, i)
	}
	for i := 0; i < len(all); i += 7 {
		site, p := crowd(i)
		n.Enter = at(ident.Server(1 + i%servers))
		out := n.FromSite(site, p.TCP(hubtest.Flags{ACK: true}, 2, 1, 0))
		if src, ok := opened(t, n, out); !ok || src != all[i] || out[0].Hops > 4 {
			t.Fatalf("flow %d went on as %v, %v after %d hubs, want %v", i, src, ok, out[0].Hops, all[i])
		}
		reply := hubtest.IP{Src: p.Dst, Dst: all[i], ClearDF: true, Payload: make([]byte, 100)}
		back := n.Send(reply.TCP(hubtest.Flags{ACK: true}, 1, 2, 0))
		if got := returned(t, back); got != site {
			t.Fatalf("the reply to flow %d went to site %d, want %d", i, got, site)
		}
		// The client complains about the reply (path MTU discovery).
		complaint := n.FromSite(site, hubtest.Unreachable(p.Src.Addr(), 4, 1400, back[0].Packet))
		if len(complaint) != 1 || complaint[0].Site != 0 {
			t.Fatalf("the complaint of flow %d came out as %+v", i, complaint)
		}
	}
	if c := n.Counters(); c.Drops[drop.Orphan] != 0 || c.FlowsStarted != uint64(len(all)) {
		t.Errorf("%d orphans, %d flows started", c.Drops[drop.Orphan], c.FlowsStarted)
	}
}

// TestRelaysBounded: as many flows may be with other servers as the table holds;
// one more is refused as of a full table. When their timers have run out nothing
// is remembered, and the home serves its clients again.
func TestRelaysBounded(t *testing.T) {
	const bound = egress.SliceSize + 10
	n := crowded(t, 2, 1, hub.ExhaustionAnotherServer)
	n.Reconfigure(func(c *hub.Config) { c.Bounds.Flows = bound })
	for i := 0; n.Counters().Drops[drop.TableFull] == 0 && i < 10*bound; i++ {
		site, p := crowd(i)
		n.FromSite(site, p.TCP(hubtest.Flags{SYN: true}, 1, 0, 0))
	}
	for id, h := range n.Hubs {
		c := h.Counters()
		if full := c.Drops[drop.TableFull]; full > 1 || (c.Relayed == bound) != (full == 1) || c.Relayed > bound {
			t.Errorf("server %d passed %d flows on, and refused %d", id, c.Relayed, full)
		}
	}
	if full := n.Counters().Drops[drop.TableFull]; full != 1 {
		t.Fatalf("%d flows were refused for want of room, want the first that was", full)
	}
	n.Now = vt.Instant(time.Hour)
	n.Timer()
	before := n.Counters().Relayed
	for i := range 200 {
		site, p := crowd(i)
		if _, ok := opened(t, n, n.FromSite(site, p.TCP(hubtest.Flags{SYN: true}, 1, 0, 0))); !ok {
			t.Fatalf("flow %d was refused after all others had ended", i)
		}
	}
	if c := n.Counters(); c.Relayed != before || c.Flows != 200 {
		t.Errorf("%d flows, %d more with another server, want 200 and none", c.Flows, c.Relayed-before)
	}
}

// TestExhaustionHistories: whatever clients, origins, timers and servers do while
// ports are short, no two live flows share a reverse key, none uses a port of
// another server's slice, a live flow keeps its port, and replies come home.
func TestExhaustionHistories(t *testing.T) {
	for seed := range uint64(10) {
		h := &shortage{T: t, n: crowded(t, 3, 1, hub.ExhaustionAnotherServer), rng: rand.New(rand.NewPCG(seed, 1)), live: make(map[netip.AddrPort]*hub.Session), by: make(map[netip.AddrPort]netip.AddrPort)}
		for i := range 3 * egress.SliceSize {
			h.send(i)
		}
		for range 4000 {
			h.step()
		}
		if c := h.n.Counters(); c.Relayed == 0 || c.Drops[drop.PortsExhausted] == 0 || c.FlowsEnded == 0 {
			t.Errorf("seed %d: %d flows with another server, %d refused, %d ended: ports were never short", seed, c.Relayed, c.Drops[drop.PortsExhausted], c.FlowsEnded)
		}
	}
}

// shortage is a history of UDP flows to one origin, and its book-keeping.
type shortage struct {
	*testing.T
	n   *hubtest.Net
	rng *rand.Rand
	// live are the sessions by egress, by is the egress of each client's.
	live map[netip.AddrPort]*hub.Session
	by   map[netip.AddrPort]netip.AddrPort
	seen int
}

func (h *shortage) step() {
	switch i := h.rng.IntN(3*egress.SliceSize + 500); h.rng.IntN(20) {
	case 0:
		h.n.Now = h.n.Now.Add(time.Duration(h.rng.IntN(2000)) * time.Millisecond)
		h.n.Timer()
		h.read()
	case 1, 2, 3, 4, 5:
		h.reply(i)
	case 6:
		if h.rng.IntN(20) == 0 {
			h.n.Reconfigure(func(c *hub.Config) {
				c.Change(c.Servers[2].Name, func(s *hub.Server) { s.Live = !s.Live })
			})
			clear(h.by) // a bucket that moves takes its flows' later packets with it
			h.read()
		}
	default:
		h.send(i)
	}
}

// send is a datagram of client i.
func (h *shortage) send(i int) {
	h.Helper()
	site, p := crowd(i)
	was, known := h.by[p.Src]
	known = known && h.has(was, p.Src)
	src, ok := opened(h.T, h.n, h.n.FromSite(site, p.UDP()))
	h.read()
	if known && h.has(was, p.Src) && src != was {
		h.Fatalf("client %v of a live flow left as %v (%v), had %v", p.Src, src, ok, was)
	}
	if ok {
		h.by[p.Src] = src
	}
}

// has reports whether the live flow that leaves as at is that of a client: another
// may have its port by now.
func (h *shortage) has(at, client netip.AddrPort) bool {
	s := h.live[at]
	return s != nil && s.Tuple.Src == client
}

// reply answers whoever has the port of client i.
func (h *shortage) reply(i int) {
	h.Helper()
	_, p := crowd(i)
	at := h.by[p.Src]
	s := h.live[at]
	if s == nil {
		return
	}
	out := h.n.Send(hubtest.IP{Src: p.Dst, Dst: at}.UDP())
	h.read()
	if h.live[at] == nil {
		return // its time had come
	}
	if got := returned(h.T, out); got != s.Return {
		h.Fatalf("the reply to %v went to site %d, want %d", s.Tuple, got, s.Return)
	}
}

// read follows the events.
func (h *shortage) read() {
	h.Helper()
	for ; h.seen < len(h.n.Events); h.seen++ {
		switch e := &h.n.Events[h.seen]; e.Kind {
		case hub.FlowStart:
			if old := h.live[e.Session.Egress]; old != nil {
				h.Fatalf("%+v shares its reverse key with the live %+v", e.Session, old)
			}
			h.live[e.Session.Egress] = e.Session
		case hub.FlowEnd:
			delete(h.live, e.Session.Egress)
		}
	}
}
