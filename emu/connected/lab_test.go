package connected

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/emu/udp"
	"github.com/homeward-lab/homeward/topologies/plan"
)

var (
	anycast    = netip.MustParseAddr("198.18.0.1")
	wanAddr    = netip.MustParseAddr("192.0.2.2")
	deviceAddr = netip.MustParseAddr("100.96.0.1")
	originAddr = netip.MustParseAddr("203.0.113.9")
	hostAddr   = netip.MustParseAddr("10.0.9.5")
	natAddr    = netip.MustParseAddr("10.0.9.1")
	sourceAddr = netip.MustParseAddr("100.64.0.1")
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr  { return netip.MustParseAddr(s) }

// place is near – far, where near is a device, or a connector with a host behind
// it, and far plays the servers: UDP at the anycast address, and a tunnel end of
// its own (srv1) behind which its kernel plays everybody else.
func place(kind tunnel.Kind, change func(*plan.BranchTunnel)) *plan.Plan {
	near := plan.BranchTunnel{
		Name: "near", Kind: kind, Interface: "tun1", MTU: tunnel.UDPMTU, Local: wanAddr, Remote: anycast,
		Inner: deviceAddr, Peer: addr("169.254.240.0"), MAC: labtest.MAC(0x51), PeerMAC: labtest.MAC(0x52),
		Connect: &plan.Connect{Port: tunnel.ConnectedPort, Context: tunnel.Context{Kind: kind, Tenant: 1, Registration: [16]byte{7}}},
	}
	far := plan.BranchTunnel{
		Name: "far", Interface: "srv1", MTU: 1500, Inner: originAddr, Peer: addr("203.0.113.8"), MAC: labtest.MAC(0x61), PeerMAC: labtest.MAC(0x62),
		Local: anycast, Remote: wanAddr,
	}
	p := &plan.Plan{
		Scenario: "place",
		Nodes: []plan.Node{
			{ID: "far", Kind: plan.KindServer, Loopback: []netip.Prefix{pfx("198.18.0.1/32"), pfx("100.64.0.1/32")}, Routes: []plan.KernelRoute{
				labtest.Route("100.96.0.0/12", "srv1", "203.0.113.8"), labtest.Route("10.0.9.0/24", "srv1", "203.0.113.8"),
			}},
			{ID: "near", Kind: plan.KindDevice, Routes: []plan.KernelRoute{labtest.Route("198.18.0.0/16", "wan0", "192.0.2.1"), labtest.Route("0.0.0.0/0", "tun1", "169.254.240.0")}},
		},
		Links: []plan.Link{labtest.Link("access", 1500, labtest.Side{Node: "near", Interface: "wan0", Address: "192.0.2.2/30", MAC: 0x21}, labtest.Side{Node: "far", Interface: "b1", Address: "192.0.2.1/30", MAC: 0x22})},
	}
	if kind == tunnel.Connector {
		near.Connect.NAT, near.Inner = natAddr, addr("169.254.240.1")
		p.Nodes[1].Kind, p.Nodes[1].Forward = plan.KindConnector, true
		p.Nodes = append(p.Nodes, plan.Node{ID: "host", Kind: plan.KindHost, Routes: []plan.KernelRoute{labtest.Route("0.0.0.0/0", "eth0", "10.0.9.1")}})
		p.Links = append(p.Links, labtest.Link("lan", 1500, labtest.Side{Node: "host", Interface: "eth0", Address: "10.0.9.5/24", MAC: 0x11}, labtest.Side{Node: "near", Interface: "lan0", Address: "10.0.9.1/24", MAC: 0x12}))
	}
	if change != nil {
		change(&near)
	}
	p.Branches = []plan.Branch{{Node: "near", WAN: "wan0", Tunnels: []plan.BranchTunnel{near}}, {Node: "far", WAN: "b1", Tunnels: []plan.BranchTunnel{far}}}
	return p
}

// lab is a running place.
type lab struct {
	*keeper.Lab
	plan   *plan.Plan
	tunnel *Tunnel
	server *server
}

// raise brings a place up and attaches the tunnel; the server answers contexts
// with answer.
func raise(t *testing.T, p *plan.Plan, answer func(context tunnel.Context, times int) tunnel.Answer) *lab {
	t.Helper()
	k := labtest.Up(t, p)
	l := &lab{Lab: k, plan: p}
	l.server = l.serve(t, answer)
	var err error
	if l.tunnel, err = Attach(k.NS("near"), p.Branches[0].Tunnels[0], Options{}); err != nil {
		t.Fatal(err)
	}
	labtest.CloseTwice(t, "tunnel", l.tunnel.Close)
	return l
}

// server is the far end in a few lines: it answers contexts, and moves bare
// packets between its socket and srv1's peer.
type server struct {
	conn   *net.UDPConn
	bare   *labtest.Bare
	answer func(tunnel.Context, int) tunnel.Answer

	mu       sync.Mutex
	unknown  bool // forget who it was
	peer     netip.AddrPort
	contexts []heard
	packets  [][]byte
}

// heard is a context and where it came from.
type heard struct {
	context tunnel.Context
	from    netip.AddrPort
}

func (l *lab) serve(t *testing.T, answer func(tunnel.Context, int) tunnel.Answer) *server {
	t.Helper()
	s := &server{answer: answer, bare: labtest.NewBare(t, l.NS("far"), "srv1")}
	s.conn = labtest.Server(t, l.end("far", netip.AddrPortFrom(anycast, tunnel.ConnectedPort)))
	s.bare.Follow(t, s.toClient)
	labtest.Serve(t, s.conn, s.fromClient)
	return s
}

func (s *server) fromClient() {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if reply := s.take(buf[:n], from); reply != nil {
			if len(reply) > 0 {
				s.conn.WriteToUDPAddrPort(reply, from) // the test sees what does not arrive
			}
			continue
		}
		s.bare.Send(buf[:n])
	}
}

// take notes a datagram and returns what is answered to it: nothing if the answer
// is to get lost, nil for a packet.
func (s *server) take(datagram []byte, from netip.AddrPort) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	context, err := tunnel.ParseContext(datagram)
	if err != nil {
		if s.unknown || from != s.peer {
			return tunnel.AppendAnswer(nil, tunnel.Unknown, 0)
		}
		s.packets = append(s.packets, append([]byte(nil), datagram...))
		return nil
	}
	s.contexts = append(s.contexts, heard{context, from})
	a := tunnel.Accepted
	if s.answer != nil {
		a = s.answer(context, len(s.contexts))
	}
	if a == tunnel.Unknown { // as if it was lost
		return []byte{}
	}
	s.peer, s.unknown = from, false
	return tunnel.AppendAnswer(nil, a, context.VNet)
}

func (s *server) toClient(packet []byte) {
	s.mu.Lock()
	to := s.peer
	s.mu.Unlock()
	s.conn.WriteToUDPAddrPort(packet, to) // the test sees what does not arrive
}

func (s *server) heard() []heard {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]heard(nil), s.contexts...)
}

// forget makes the server one that has not heard the tunnel's context.
func (s *server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unknown = true
}

// patience is how long something that must happen may take.
const patience = 5 * time.Second

// eventually waits for something to become true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// echo answers every datagram at a node's address with itself and the address
// that it saw, until the test ends.
func (l *lab) echo(t *testing.T, node string, at netip.AddrPort) {
	t.Helper()
	c := l.udp(t, node, at)
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			c.WriteToUDPAddrPort(append(append(buf[:n:n], ' '), from.String()...), from) // the asker sees what is lost
		}
	}()
}

func (l *lab) udp(t *testing.T, node string, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	return labtest.UDP(t, l.end(node, at))
}

func (l *lab) end(node string, at netip.AddrPort) labtest.End {
	return labtest.End{NS: l.NS(node), Addr: at}
}

// transfer sends n bytes each way over a TCP connection between two nodes.
func (l *lab) transfer(t *testing.T, from string, fromAddr netip.Addr, at string, atAddr netip.Addr, n int64) (seen netip.AddrPort) {
	t.Helper()
	return labtest.Transfer(t, l.end(from, netip.AddrPortFrom(fromAddr, 0)), l.end(at, netip.AddrPortFrom(atAddr, 0)), n)
}

// losses are the tunnel's counters that say so.
func losses(all map[string]uint64) map[string]uint64 {
	lost := map[string]uint64{}
	for name, n := range all {
		if len(name) > 5 && name[:5] == "drop_" {
			lost[name] = n
		}
	}
	return lost
}

// connect connects a UDP socket, so that it hears of errors.
func connect(fd int, to netip.AddrPort) error { return udp.Connect(fd, to) }
