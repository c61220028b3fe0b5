package hub_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// between are two datacenters whose ways to each other pass 1300 bytes.
const between = 1300

func narrowBetween(n *hubtest.Net) {
	n.Narrow = func(from, to ident.Server) int {
		if dcOf(n, from) == dcOf(n, to) {
			return 0
		}
		return between
	}
}

// datagram is of size bytes in all, from a client's port.
func datagram(port uint16, size int, df bool) hubtest.IP {
	return hubtest.IP{Src: netip.AddrPortFrom(hubtest.Till.Addr(), port), Dst: hubtest.Web, Payload: make([]byte, size-28), ClearDF: !df}
}

// settled sends packets, whose replies land anywhere, until the ways that they take
// are known, of which each loses one; it returns how many did.
func settled(t *testing.T, n *hubtest.Net, send func()) int {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	for quiet, sent := 0, 0; quiet < 100; sent++ {
		if sent == 1000 {
			t.Fatalf("%d packets were lost of %d", n.TooBig, sent)
		}
		before := n.TooBig
		for range r.IntN(6) {
			n.Enter(nil)
		}
		send()
		if quiet++; n.TooBig > before {
			quiet = 0
		}
	}
	return n.TooBig
}

// TestPathMTUEgress: a flow that leaves from another datacenter finds out what the
// way there passes: what is too big and may be cut arrives whole, in both directions,
// also what opens the flow; whoever sent anything else is told what fits, and that
// does. SEMANTICS 2.10, 6.3.
func TestPathMTUEgress(t *testing.T) {
	n := dedicated(t, nil)
	narrowBetween(n)
	n.Origin = func(packet []byte) []byte {
		v := hubtest.Decode(packet)
		return hubtest.IP{Src: v.Dst, Dst: v.Src, Payload: v.Payload, ClearDF: true}.UDP()
	}
	port := uint16(20000)
	settled(t, n, func() { port++; n.FromSite(1, datagram(port, 1400, true).UDP()) })
	lost := settled(t, n, func() { port++; n.FromSite(1, datagram(port, 1400, false).UDP()) })
	if lost == 0 {
		t.Fatal("no way was found to be narrow")
	}
	size := 1400
	for _, open := range []bool{true, false} { // the packet that opens the flow, and later ones
		port++
		if !open {
			n.FromSite(1, datagram(port, 100, true).UDP())
		}
		told := n.FromSite(1, datagram(port, 1400, true).UDP())
		if len(told) != 1 || told[0].Site != 1 {
			t.Fatalf("open %v: a packet too big came out as %+v", open, told)
		}
		if size = tells(told[0]); size < 1200 || size > between-28 {
			t.Errorf("open %v: the client is told %d, want what fits into %d", open, size, between)
		}
		for _, p := range []hubtest.IP{datagram(port, size, true), datagram(port, 1400, false)} {
			all := hubtest.Whole(n.FromSite(1, p.UDP()))
			if out := toInternet(all); len(out) != 1 || hubtest.Decode(out[0].Packet).Src.Addr() != inTokyo || len(out[0].Packet) != 28+len(p.Payload) {
				t.Errorf("open %v: of %d bytes, DF %v, came out %+v", open, 28+len(p.Payload), !p.ClearDF, all)
			}
			if back := toSites(all); len(back) != 1 || len(back[0].Packet) != 28+len(p.Payload) || !hubtest.Decode(back[0].Packet).Sound {
				t.Errorf("open %v: of %d bytes, DF %v, came back %+v", open, 28+len(p.Payload), !p.ClearDF, back)
			}
			if open {
				port++
			}
		}
	}
	if n.TooBig != lost {
		t.Errorf("%d more packets met a narrow way, want none once it is known", n.TooBig-lost)
	}
}

// TestPathMTUReturn: a reply that is too big for the way home is refused toward its
// sender, or arrives whole if it may be cut.
func TestPathMTUReturn(t *testing.T) {
	n := dedicated(t, nil)
	n.Origin = nil
	narrowBetween(n)
	client := datagram(30000, 100, true)
	out := toInternet(n.FromSite(1, client.UDP()))
	at := hubtest.Decode(out[0].Packet).Src
	reply := func(size int, df bool) []hubtest.Arrival {
		return hubtest.Whole(n.Send(hubtest.IP{Src: client.Dst, Dst: at, Payload: make([]byte, size-28), ClearDF: !df}.UDP()))
	}
	lost := settled(t, n, func() { reply(1400, true) })
	for range 20 { // they land anywhere
		refused := reply(1400, true)
		if v := hubtest.Decode(refused[0].Packet); len(refused) != 1 || v.TooBig() != between-28 || v.Dst.Addr() != client.Dst.Addr() || v.Src.Addr() != at.Addr() || !v.Sound {
			t.Fatalf("a reply too big came out as %+v", refused)
		}
		for size, df := range map[int]bool{between - 28: true, 1400: false} {
			if back := reply(size, df); len(back) != 1 || back[0].Site != 1 || len(back[0].Packet) != size || !hubtest.Decode(back[0].Packet).Sound {
				t.Errorf("a reply of %d bytes came out as %+v", size, back)
			}
		}
	}
	if n.TooBig != lost {
		t.Errorf("%d more packets met a narrow way, want none once it is known", n.TooBig-lost)
	}
}

// TestPathMTUThird: also where the egress server has no port left and asks another
// one, by a way that only it finds narrow, is the client told.
func TestPathMTUThird(t *testing.T) {
	n := dedicated(t, func(c *hub.Config) {
		c.Tenants[0].OnExhaustion, c.Trace = hub.ExhaustionAnotherServer, false
	})
	opened := map[ident.Server]int{}
	port := uint16(1024)
	for ; len(opened) < 2 || opened[3] < egress.SliceSize && opened[4] < egress.SliceSize; port++ {
		for _, a := range toInternet(n.FromSite(1, datagram(port, 100, true).UDP())) {
			opened[a.Server]++
		}
	}
	n.Narrow = func(from, to ident.Server) int {
		if dcOf(n, from) == tokyo && dcOf(n, to) == tokyo {
			return between
		}
		return 0
	}
	n.Origin = nil
	lost := settled(t, n, func() { port++; n.FromSite(1, datagram(port, 1400, true).UDP()) })
	if lost == 0 {
		t.Fatal("no way was found to be narrow")
	}
	told := 0
	for range 40 {
		port++
		for _, a := range n.FromSite(1, datagram(port, 1400, true).UDP()) {
			if size := tells(a); a.Site == 1 && size > 0 && size < between {
				told++
			}
		}
	}
	if told == 0 || n.TooBig != lost {
		t.Errorf("clients were told %d times, and %d more packets were lost on the way", told, n.TooBig-lost)
	}
}

// TestPathMTUNumbers: datagrams that are cut on their way to another server, where
// they all come from one source, never have one identification there, whatever their
// clients gave them (RFC 6864).
func TestPathMTUNumbers(t *testing.T) {
	n := dedicated(t, nil)
	narrowBetween(n)
	n.Origin = nil
	port := uint16(20000)
	settled(t, n, func() { port++; n.FromSite(1, datagram(port, 1400, true).UDP()) })
	e := intoSite(n, 1)
	e.Src, e.Dst = e.Dst, e.Src
	whose := map[uint16]uint16{}
	for range 40 {
		port++
		for home := ident.Server(1); home <= 2; home++ {
			var out hub.Out
			n.Hubs[home].HandlePacket(n.Now, &hub.Packet{Data: e.Append(nil, datagram(port, 1400, false).UDP())}, &out)
			if len(out.Send) != 2 {
				continue // the other one is home
			}
			id := binary.BigEndian.Uint16(out.Send[0].Data[4:])
			if other := whose[id]; other != 0 || id != binary.BigEndian.Uint16(out.Send[1].Data[4:]) {
				t.Fatalf("the datagrams of ports %d and %d are both %d, or one of them is two", other, port, id)
			}
			whose[id] = port
		}
	}
	if len(whose) == 0 {
		t.Error("no datagram was cut")
	}
}
