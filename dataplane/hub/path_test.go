package hub_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pathmtu"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// narrowed is the ICMP error of a router on the way that a packet of size bytes
// inside e was too big.
func narrowed(e tunnel.Encap, size, mtu int) []byte {
	outer := e.Append(nil, make([]byte, size))
	var m pkt.Meta
	m.Parse(outer)
	return m.AppendTooBig(nil, outer, mtu, 0)
}

// intoSite is the outer header of a site's tunnel.
func intoSite(n *hubtest.Net, site int) tunnel.Encap {
	r := &n.Config.OnRamps[site-1]
	e := tunnel.Encap{Src: r.Local, Dst: r.Remote}
	if r.Key != nil {
		e.Key, e.HasKey = *r.Key, true
	}
	return e
}

// begun is the egress address and port of a flow from a site, which is there
// afterwards.
func begun(t *testing.T, n *hubtest.Net, site ident.OnRamp, p hubtest.IP) netip.AddrPort {
	t.Helper()
	out := toInternet(n.FromSite(site, p.TCP(hubtest.Flags{SYN: true}, 1, 0, 1460)))
	if len(out) != 1 {
		t.Fatalf("%d packets left, want the SYN", len(out))
	}
	return hubtest.Decode(out[0].Packet).Src
}

// replied is what became of a reply of size bytes in all.
func replied(n *hubtest.Net, from, to netip.AddrPort, size int, df bool) []hubtest.Arrival {
	p := hubtest.IP{Src: from, Dst: to, Payload: make([]byte, size-40), ClearDF: !df}
	return n.Send(p.TCP(hubtest.Flags{ACK: true}, 2, 2, 0))
}

// tells is the MTU that a packet tells; 0 if it is another one.
func tells(a hubtest.Arrival) int {
	v := hubtest.Decode(a.Packet)
	return v.TooBig()
}

// TestPathMTU: whichever server hears that a link under a tunnel passes less, all
// of them send no more into it, and tell senders and first packets; other tunnels
// stay as they are, and after ten minutes so is this one (RFC 1191 section 6.3).
func TestPathMTU(t *testing.T) {
	for heard := ident.Server(1); heard <= 4; heard++ {
		n := hubtest.New(t, hubtest.Options{ARR: hubtest.All})
		var flows []netip.AddrPort
		for i := range 40 {
			flows = append(flows, begun(t, n, 1, client(i)))
		}
		other := begun(t, n, 2, client(3))
		n.Enter = func([]byte) ident.Server { return heard }
		if all := n.Send(narrowed(intoSite(n, 1), 1476, 1300)); len(all) != 0 {
			t.Fatalf("the error went on as %+v", all)
		}
		n.Enter = nil
		for i, egress := range flows {
			web := client(i).Dst
			back := replied(n, web, egress, 1276, true)
			if len(back) != 1 || back[0].Site != 1 {
				t.Fatalf("flow %d: a reply that fits came out as %+v", i, back)
			}
			refused := replied(n, web, egress, 1277, true)
			if v := hubtest.Decode(refused[0].Packet); len(refused) != 1 || v.TooBig() != 1276 || v.Dst.Addr() != web.Addr() || v.Src.Addr() != egress.Addr() || !v.Sound {
				t.Fatalf("heard by %d, flow %d: a reply too big came out as %+v", heard, i, refused)
			}
			for _, piece := range replied(n, web, egress, 1400, false) {
				if len(piece.Packet) > 1276 || piece.Site != 1 {
					t.Errorf("without DF %d bytes went to site %d", len(piece.Packet), piece.Site)
				}
			}
		}
		if got := replied(n, client(3).Dst, other, 1476, true); len(got) != 1 || got[0].Site != 2 {
			t.Errorf("a packet into another tunnel came out as %+v", got)
		}
		syn := hubtest.Decode(toInternet(n.FromSite(1, client(99).TCP(hubtest.Flags{SYN: true}, 1, 0, 1460)))[0].Packet)
		if mss := binary.BigEndian.Uint16(syn.TCP.Options[1].OptionData); mss != 1236 {
			t.Errorf("a new connection is told segments of %d, want 1236", mss)
		}
		n.Now = n.Now.Add(pathmtu.Age)
		n.Timer()
		egress := begun(t, n, 1, client(77))
		if got := replied(n, client(77).Dst, egress, 1476, true); len(got) != 1 || got[0].Site != 1 {
			t.Errorf("after ten minutes a packet of the tunnel's MTU came out as %+v", got)
		}
	}
}

// TestPathMTUForged: an error that quotes no packet of ours narrows nothing, and
// nobody else hears of it.
func TestPathMTUForged(t *testing.T) {
	key := uint32(7)
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Edit: func(c *hub.Config) { c.OnRamps[0].Key = &key }})
	egress := begun(t, n, 1, client(1))
	mine := intoSite(n, 1)
	with := func(change func(e *tunnel.Encap)) tunnel.Encap { e := mine; change(&e); return e }
	peer := n.Config.Servers[1]
	before := n.Counters()
	forged := [][]byte{
		narrowed(with(func(e *tunnel.Encap) { e.Key = 8 }), 1472, 1300),
		narrowed(with(func(e *tunnel.Encap) { e.HasKey = false }), 1472, 1300),
		narrowed(with(func(e *tunnel.Encap) { e.Dst = netip.MustParseAddr("198.18.99.99") }), 1472, 1300),
		narrowed(with(func(e *tunnel.Encap) { e.Proto, e.SrcPort, e.DstPort = tunnel.ViaUDP, 53, 53 }), 1472, 1300),
		narrowed(mine, 1272, 1300),
		narrowed(mine, 1472, 60),
		// Hand-overs are the network's own: nobody outside knows of their ways.
		narrowed(tunnel.Encap{Src: peer.Handover, Dst: n.Config.Servers[0].Handover, HasKey: true}, 1472, 1300),
	}
	for i, b := range forged {
		if all := n.Send(b); len(all) != 0 {
			t.Errorf("%d: it went on as %+v", i, all)
		}
	}
	c := n.Counters()
	if got := c.Packets - before.Packets; got != uint64(len(forged)) {
		t.Errorf("%d packets were handled, want the %d forged ones alone", got, len(forged))
	}
	if got := c.Drops[drop.UnknownTunnel] + c.Drops[drop.Unsupported]; got != uint64(len(forged)) {
		t.Errorf("%d dropped, want %d", got, len(forged))
	}
	if got := replied(n, client(1).Dst, egress, 1472, true); len(got) != 1 || got[0].Site != 1 {
		t.Errorf("a packet of the tunnel's MTU came out as %+v", got)
	}
}

// TestPathMTUBounded: errors that only another server could judge are handed to
// all of them, but no more than so many a second.
func TestPathMTUBounded(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All})
	e := tunnel.Encap{Src: hubtest.Tunnel, Dst: netip.MustParseAddr("198.18.99.99"), Proto: tunnel.ViaUDP, SrcPort: tunnel.ConnectedPort, DstPort: 40000}
	n.Enter = func([]byte) ident.Server { return 1 }
	for range 1000 {
		n.Send(narrowed(e, 1472, 1300))
	}
	if got := n.Counters().Packets; got != 1000+100*3 {
		t.Errorf("%d packets were handled, want 1000 and 100 told to 3 others", got)
	}
}

// TestPathMTUHandover: a narrow way to another server is known from an error to
// the server's own address; then what is to be handed over fits, or its sender is
// told.
func TestPathMTUHandover(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 1})
	n.Enter = func([]byte) ident.Server { return 1 }
	var flow hubtest.IP
	var egress netip.AddrPort
	for i := 0; ; i++ { // one whose home is the other server
		flow = client(i)
		all := n.FromSite(1, flow.TCP(hubtest.Flags{SYN: true}, 1, 0, 1460))
		if egress = hubtest.Decode(all[0].Packet).Src; all[0].Server == 2 {
			break
		}
	}
	e := tunnel.Encap{Src: n.Config.Servers[0].Handover, Dst: n.Config.Servers[1].Handover, Key: 99, HasKey: true}
	var out hub.Out
	n.Hubs[1].HandlePacket(n.Now, &hub.Packet{Data: narrowed(e, 1476, 1300), Internal: true}, &out)
	if len(out.Send) != 0 {
		t.Errorf("it was told to others, who have ways of their own: %+v", out.Send)
	}
	e.Dst = netip.MustParseAddr("172.31.99.99")
	out.Reset()
	n.Hubs[1].HandlePacket(n.Now, &hub.Packet{Data: narrowed(e, 1476, 600), Internal: true}, &out)
	if c := n.Hubs[1].Counters(); c.Drops[drop.UnknownTunnel] != 1 {
		t.Errorf("an error about a way to nobody was taken: %+v", c)
	}
	const fits = 1300 - 28
	if got := replied(n, flow.Dst, egress, fits, true); len(got) != 1 || got[0].Site != 1 || got[0].Hops != 2 {
		t.Errorf("a reply that fits came out as %+v", got)
	}
	refused := replied(n, flow.Dst, egress, fits+1, true)
	if v := hubtest.Decode(refused[0].Packet); len(refused) != 1 || v.TooBig() != fits || v.Dst.Addr() != flow.Dst.Addr() {
		t.Errorf("a reply too big to be handed over came out as %+v", refused)
	}
	flow.Payload = make([]byte, fits-40+1)
	up := n.FromSite(1, flow.TCP(hubtest.Flags{ACK: true}, 2, 2, 0))
	if v := hubtest.Decode(up[0].Packet); len(up) != 1 || up[0].Site != 1 || v.TooBig() != fits {
		t.Errorf("a packet of the site's came out as %+v", up)
	}
	flow.ClearDF = true
	if up = n.FromSite(1, flow.TCP(hubtest.Flags{ACK: true}, 2, 2, 0)); len(toInternet(up)) != 1 {
		t.Errorf("what may be cut came out as %+v, want one whole again", up)
	}
}

// TestPathMTUConnected: the way to a device is known where it is attached, and
// senders learn of it through whichever server is the flow's home.
func TestPathMTUConnected(t *testing.T) {
	const device = hubtest.FirstDevice
	for heard := ident.Server(1); heard <= 4; heard++ {
		n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Devices: 1})
		answer := n.Connect(device, 0)
		at := hubtest.Decode(answer[0].Packet).Dst
		if answer[0].Site == device { // without its outer header
			at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(device >> 8), byte(device & 0xff)}), 30000)
		}
		var flows []netip.AddrPort
		for i := range 20 {
			p := client(i)
			p.Src = netip.AddrPortFrom(hubtest.DeviceAddr(device), p.Src.Port())
			flows = append(flows, begun(t, n, device, p))
		}
		e := tunnel.Encap{Src: hubtest.Tunnel, Dst: at.Addr(), Proto: tunnel.ViaUDP, SrcPort: tunnel.ConnectedPort, DstPort: at.Port()}
		enter := n.Enter
		n.Enter = func([]byte) ident.Server { return heard }
		n.Send(narrowed(e, 1472, 1300))
		n.Enter = enter
		for i, egress := range flows {
			web := client(i).Dst
			if back := replied(n, web, egress, 1272, true); len(back) != 1 || back[0].Site != device {
				t.Fatalf("flow %d: a reply that fits came out as %+v", i, back)
			}
			refused := replied(n, web, egress, 1273, true)
			if v := hubtest.Decode(refused[0].Packet); len(refused) != 1 || v.TooBig() != 1272 || v.Dst.Addr() != web.Addr() || v.Src.Addr() != egress.Addr() || !v.Sound {
				t.Fatalf("heard by %d, flow %d: a reply too big came out as %+v", heard, i, refused)
			}
		}
		for i := 50; i < 70; i++ {
			p := client(i)
			p.Src = netip.AddrPortFrom(hubtest.DeviceAddr(device), p.Src.Port())
			syn := hubtest.Decode(toInternet(n.FromSite(device, p.TCP(hubtest.Flags{SYN: true}, 1, 0, 1460)))[0].Packet)
			answer := hubtest.IP{Src: p.Dst, Dst: syn.Src}.TCP(hubtest.Flags{SYN: true, ACK: true}, 1, 2, 1460)
			for _, v := range []hubtest.View{syn, hubtest.Decode(n.Send(answer)[0].Packet)} {
				if mss := binary.BigEndian.Uint16(v.TCP.Options[1].OptionData); mss != 1232 || !v.Sound {
					t.Errorf("a new connection is told segments of %d, want 1232", mss)
				}
			}
		}
	}
}

// TestUplink: a server whose own link passes less knows, without being told.
func TestUplink(t *testing.T) {
	n := alone(t, func(c *hub.Config) { c.Uplink = 1400 })
	p := client(1)
	egress := begun(t, n, 1, p)
	if back := replied(n, p.Dst, egress, 1376, true); len(back) != 1 || back[0].Site != 1 {
		t.Errorf("a reply that fits came out as %+v", back)
	}
	if refused := replied(n, p.Dst, egress, 1377, true); len(refused) != 1 || tells(refused[0]) != 1376 {
		t.Errorf("a reply too big came out as %+v", refused)
	}
	p.Payload = make([]byte, 1400-40+1)
	up := n.FromSite(1, p.TCP(hubtest.Flags{ACK: true}, 2, 2, 0))
	if len(up) != 1 || up[0].Site != 1 || tells(up[0]) != 1400 {
		t.Errorf("a packet too big to leave came out as %+v", up)
	}
	p.ClearDF = true
	for _, piece := range n.FromSite(1, p.TCP(hubtest.Flags{ACK: true}, 2, 2, 0)) {
		if len(piece.Packet) > 1400 || piece.Site != 0 {
			t.Errorf("without DF %d bytes left by %d", len(piece.Packet), piece.Site)
		}
	}
}

// asked is a hub.Fast that carries nothing and notes what it is asked to leave.
type asked struct {
	ramps   map[ident.OnRamp]bool
	servers map[ident.Server]bool
}

func (*asked) Install(hub.FastFlow) bool               { return false }
func (*asked) Look(hub.FastFlow) (hub.Account, bool)   { return hub.Account{}, false }
func (*asked) Remove(hub.FastFlow) (hub.Account, bool) { return hub.Account{}, false }
func (a *asked) Ask(id ident.OnRamp, ask bool)         { a.ramps[id] = ask }
func (a *asked) AskServer(id ident.Server, ask bool)   { a.servers[id] = ask }
func (a *asked) Pass(flow.Key, ident.Server)           {}
func (a *asked) PassNone()                             {}

// TestPathMTUFast: what carries flows beside the hub leaves to it what may be too
// big for a narrow way, as long as that is narrow.
func TestPathMTUFast(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 1})
	fast := &asked{map[ident.OnRamp]bool{}, map[ident.Server]bool{}}
	n.Hubs[1].SetFast(fast)
	n.Enter = func([]byte) ident.Server { return 2 }
	n.Send(narrowed(intoSite(n, 1), 1476, 1300))
	if !fast.ramps[1] || fast.ramps[2] || fast.servers[2] {
		t.Errorf("leaves %+v, want what goes into site 1", fast)
	}
	n.Now = n.Now.Add(pathmtu.Age)
	n.Timer()
	if fast.ramps[1] {
		t.Error("it still does when the error is forgotten")
	}
	n.Reconfigure(func(c *hub.Config) { c.Uplink = 1400 })
	if !fast.ramps[1] || !fast.ramps[2] || !fast.servers[2] {
		t.Errorf("leaves %+v of a narrow uplink, want everything", fast)
	}
	n.Reconfigure(func(c *hub.Config) { c.Uplink = 0 })
	if fast.ramps[1] || fast.servers[2] {
		t.Errorf("leaves %+v of a whole one", fast)
	}
}
