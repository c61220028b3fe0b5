package interconnect

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/topologies/plan"
)

var (
	edgeAddr   = netip.MustParseAddr("198.18.0.9")
	guestAddr  = netip.MustParseAddr("198.18.0.2") // the servers'
	siteAddr   = netip.MustParseAddr("10.0.1.5")   // every site's
	originAddr = netip.MustParseAddr("203.0.113.9")
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr  { return netip.MustParseAddr(s) }

// tenant of all sites but the last.
const tenant = 3

// vlans are the tags of three sites, of which two are alike in all else.
var vlans = []int{0, 7, 4094}

var sites = []string{"plain", "tagged", "other"}

// region is three sites with one address, linked to an edge in three ways, and a
// server beyond, whose tunnel end (srv1) has a kernel behind it that plays
// everybody else.
func region() *plan.Plan {
	p := &plan.Plan{
		Scenario: "region",
		Nodes: []plan.Node{
			{ID: "edge", Kind: plan.KindEdge, Forward: true, Loopback: []netip.Prefix{pfx("198.18.0.9/32")}, Routes: []plan.KernelRoute{
				labtest.Route("198.18.0.2/32", "s1", "172.16.1.2"),
			}},
			{ID: "server", Kind: plan.KindServer, Loopback: []netip.Prefix{pfx("198.18.0.2/32")}, Routes: []plan.KernelRoute{
				labtest.Route("198.18.0.9/32", "up0", "172.16.1.1"), labtest.Route("10.0.1.0/24", "srv1", "203.0.113.8"),
			}},
		},
		Links: []plan.Link{labtest.Link("uplink", 1600,
			labtest.Side{Node: "server", Interface: "up0", Address: "172.16.1.2/30", MAC: 0x31},
			labtest.Side{Node: "edge", Interface: "s1", Address: "172.16.1.1/30", MAC: 0x32})},
		Branches: []plan.Branch{{Node: "server", Tunnels: []plan.BranchTunnel{{
			Name: "far", Interface: "srv1", MTU: 1500, Inner: originAddr, Peer: addr("203.0.113.8"), MAC: labtest.MAC(0x61), PeerMAC: labtest.MAC(0x62),
		}}}},
	}
	for i, site := range sites {
		gateway := labtest.MAC(byte(0xa0 + i))
		p.Nodes = append(p.Nodes, plan.Node{ID: site, Kind: plan.KindBranch, Loopback: []netip.Prefix{pfx("10.0.1.5/32")}, Routes: []plan.KernelRoute{
			labtest.Route("0.0.0.0/0", "wan0", "169.254.240.0"),
		}})
		l := plan.Link{
			ID: site, MTU: 1500, VLAN: vlans[i],
			A: plan.Endpoint{Node: site, Interface: "wan0", MAC: labtest.MAC(byte(0x10 + i)), Addresses: []netip.Prefix{pfx("169.254.240.1/31")}, Neighbors: []netip.Addr{addr("169.254.240.0")}, NeighborMAC: gateway},
			B: plan.Endpoint{Node: "edge", Interface: site, MAC: labtest.MAC(byte(0x20 + i))},
		}
		p.Links = append(p.Links, l)
		whose := ident.Tenant(tenant)
		if site == "other" {
			whose++
		}
		p.Interconnects = append(p.Interconnects, plan.Interconnect{
			OnRamp: ident.OnRamp(i + 1), Tenant: whose, Name: site, Edge: "edge", Interface: site, VLAN: vlans[i],
			Local: edgeAddr, Remote: guestAddr, MAC: gateway, SiteMAC: l.A.MAC,
		})
	}
	return p
}

// lab is a running region.
type lab struct {
	*keeper.Lab
	plan   *plan.Plan
	edge   *Edge
	trunks []*Trunk
	server *server
}

func raise(t *testing.T) *lab {
	t.Helper()
	p := region()
	k := labtest.Up(t, p)
	l := &lab{Lab: k, plan: p}
	l.server = l.serve(t)
	var err error
	if l.edge, err = Attach(k.NS("edge"), p.Interconnects, 1); err != nil {
		t.Fatal(err)
	}
	labtest.CloseTwice(t, "edge", l.edge.Close)
	for _, link := range p.Links {
		if link.VLAN == 0 {
			continue
		}
		trunk, err := Tag(k.NS(link.A.Node), link)
		if err != nil {
			t.Fatal(err)
		}
		labtest.CloseTwice(t, "trunk", trunk.Close)
		l.trunks = append(l.trunks, trunk)
	}
	return l
}

// server is the far end in a few lines: it moves bare packets between its GUE
// socket and srv1's peer, and remembers from which site each port asked last.
type server struct {
	conn *net.UDPConn
	bare *labtest.Bare

	mu       sync.Mutex
	contexts map[uint16]tunnel.GUEContext // by the asking port
	from     map[netip.AddrPort]int       // datagrams by source
	bad      int
}

func (l *lab) serve(t *testing.T) *server {
	t.Helper()
	s := &server{contexts: map[uint16]tunnel.GUEContext{}, from: map[netip.AddrPort]int{}, bare: labtest.NewBare(t, l.NS("server"), "srv1")}
	s.conn = labtest.Server(t, labtest.End{NS: l.NS("server"), Addr: netip.AddrPortFrom(guestAddr, tunnel.GUEPort)})
	s.bare.Follow(t, s.toSites)
	labtest.Serve(t, s.conn, s.fromSites)
	return s
}

func (s *server) fromSites() {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		h, reason := tunnel.ParseGUE(buf[:n])
		var m pkt.Meta
		if reason == drop.None {
			m.Parse(buf[h.Len:n])
		}
		s.mu.Lock()
		s.from[from]++
		if m.Version == 0 || h.Context.Return || h.Context.Hops != 0 {
			s.bad++
		}
		s.contexts[m.SrcPort] = h.Context
		s.mu.Unlock()
		if m.Version != 0 {
			s.bare.Send(buf[h.Len:n])
		}
	}
}

func (s *server) toSites(packet []byte) {
	var m pkt.Meta
	m.Parse(packet)
	s.mu.Lock()
	context := s.contexts[m.DstPort]
	s.mu.Unlock()
	context.Return = true
	s.send(context, packet)
}

// send sends a packet back to the edge; the test sees what does not arrive.
func (s *server) send(context tunnel.GUEContext, packet []byte) {
	b := make([]byte, tunnel.GUEHeaderLen, tunnel.GUEHeaderLen+len(packet))
	tunnel.PutGUE(b, context, packet)
	s.conn.WriteToUDPAddrPort(append(b, packet...), netip.AddrPortFrom(edgeAddr, tunnel.GUEPort))
}

// patience is how long something that must happen may take.
const patience = 5 * time.Second

func (l *lab) udp(t *testing.T, node string, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	return labtest.UDP(t, labtest.End{NS: l.NS(node), Addr: at})
}
