package bpf

import (
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/internal/need"
)

// mesh is the fast paths of all servers of a network, which hand packets to each
// other.
type mesh struct {
	t      *testing.T
	planes map[ident.Server]plane
	at     map[netip.Addr]ident.Server // by hand-over address
}

func newMesh(t *testing.T, o hubtest.Options, edit func(self ident.Server, c *hub.Config)) mesh {
	t.Helper()
	need.BPF(t)
	m := mesh{t, make(map[ident.Server]plane), make(map[netip.Addr]ident.Server)}
	for _, s := range o.Config().Servers {
		c := o.Config()
		c.Self, c.Trace = s.ID, false
		edit(s.ID, &c)
		d, err := NewDataplane(Spec{Config: c, MAC: testMAC, Gateway: testGateway})
		if err != nil {
			t.Fatalf("%+v", err)
		}
		t.Cleanup(func() { d.Close() })
		m.planes[s.ID], m.at[s.Handover] = plane{d, t}, s.ID
	}
	return m
}

// follow sends a packet into the network at a server and says where it stays, why,
// and how often it was handed over.
func (m mesh) follow(at ident.Server, packet []byte) (ident.Server, Outcome, int) {
	m.t.Helper()
	for hops := 0; ; hops++ {
		out, why := m.planes[at].send(packet)
		if why != HandedOver {
			return at, why, hops
		}
		if hops > steer.MaxHops {
			m.t.Fatalf("handed over %d times", hops)
		}
		at, packet = m.at[hubtest.Decode(out).Dst.Addr()], out
	}
}

// edgesOfSlices are the ports at both ends of every slice.
func edgesOfSlices() (ports []uint16) {
	for k := range egress.Slices {
		ports = append(ports, uint16(k*egress.SliceSize), uint16((k+1)*egress.SliceSize-1))
	}
	return ports
}

func replyTo(addr netip.Addr, port uint16) []byte {
	return hubtest.IP{Src: hubtest.Web, Dst: netip.AddrPortFrom(addr, port)}.UDP()
}

// SU-1: the reply to an address and port reaches the owner of its slice from every
// server of every datacenter, over two hops at most. SU-4: to slice 0, or one that
// nobody owns, it is dropped and counted.
func TestSU1_ReplyReachesTheOwnerOfItsSlice(t *testing.T) {
	o := hubtest.Options{Datacenters: 2, Servers: 3}
	m := newMesh(t, o, func(ident.Server, *hub.Config) {})
	for _, a := range o.Config().Egress {
		if a.Addr.Is6() {
			continue
		}
		for _, port := range edgesOfSlices() {
			owner := a.OwnerOf(port)
			for enter := range m.planes {
				at, why, hops := m.follow(enter, replyTo(a.Addr, port))
				switch {
				case owner == 0 && (why != Outcome(drop.NoOwner) || hops != 0):
					t.Errorf("%v port %d at server %d: %v after %d hops, want it dropped at once", a.Addr, port, enter, why, hops)
				case owner != 0 && (at != owner || why != LeftMiss || hops > 2):
					t.Errorf("%v port %d at server %d: %v at server %d after %d hops, want server %d", a.Addr, port, enter, why, at, hops, owner)
				}
			}
		}
	}
}

// SU-8: IPv6 egress takes no hop at its owner, whatever the port.
func TestSU8_IPv6EgressIsOneServersWhole(t *testing.T) {
	o := hubtest.Options{Datacenters: 2, Servers: 3}
	m := newMesh(t, o, func(ident.Server, *hub.Config) {})
	web := hubtest.Families()[1].Web
	for _, a := range o.Config().Egress {
		if a.Addr.Is4() {
			continue
		}
		for _, port := range edgesOfSlices()[2:] {
			reply := hubtest.IP{Src: web, Dst: netip.AddrPortFrom(a.Addr, port)}.UDP()
			if at, why, hops := m.follow(a.OwnerOf(port), reply); at != a.OwnerOf(port) || why != LeftMiss || hops != 0 {
				t.Errorf("%v port %d: %v at server %d after %d hops", a.Addr, port, why, at, hops)
			}
		}
	}
}

// SU-14: an address went from the second datacenter to the third. A datacenter that
// has not heard of it costs one hop more. If that is the new one itself, the two
// blame each other, and the hop limit ends it.
func TestSU14_StaleDirectoryCostsAHop(t *testing.T) {
	o := hubtest.Options{Datacenters: 3, Servers: 2}
	const entry = 3 // of the second datacenter's address of IPv4, after the first's three
	moved := o.Config().Egress[entry].Addr
	for stale := ident.Datacenter(1); stale <= 3; stale += 2 {
		m := newMesh(t, o, func(self ident.Server, c *hub.Config) {
			if c.Servers[self-1].Datacenter != stale {
				c.Egress[entry].Datacenter, c.Egress[entry].Owner = 3, [egress.Slices]ident.Server{1: 5, 2: 6}
			}
		})
		for enter := range m.planes {
			for _, port := range []uint16{2048, 4095, 4096, 6143} {
				owner := ident.Server(4 + port/egress.SliceSize)
				at, why, hops := m.follow(enter, replyTo(moved, port))
				most := 1
				if enter <= 2 { // of the first datacenter
					most = 2
				}
				switch {
				case stale == 1 && (at != owner || why != LeftMiss || hops > most):
					t.Errorf("port %d at server %d: %v at server %d after %d hops, want %d at most", port, enter, why, at, hops, most)
				case stale == 3 && (why != Outcome(drop.HopLimit) || hops != steer.MaxHops):
					t.Errorf("port %d at server %d, and its owner does not know: %v after %d hops", port, enter, why, hops)
				}
			}
		}
	}
}

// SEMANTICS 6.3: for flows to what the network serves everywhere, each datacenter
// divides an address of a tenant's among its own servers. A reply's address does
// not say whose it is then, and no server hands it over by that.
func TestDividedAddressIsTheHubs(t *testing.T) {
	o := hubtest.Options{Datacenters: 2, Servers: 3}
	whole := netip.PrefixFrom(hubtest.Web.Addr(), 32)
	for _, proxied := range []bool{false, true} {
		m := newMesh(t, o, func(_ ident.Server, c *hub.Config) {
			c.Egress[0].Tenant = 1
			if proxied {
				c.Proxied = []netip.Prefix{whole}
			}
		})
		a := o.Config().Egress[0]
		for enter := range m.planes {
			for _, port := range edgesOfSlices() {
				owner := a.OwnerOf(port)
				if owner == 0 {
					continue
				}
				at, why, hops := m.follow(enter, replyTo(a.Addr, port))
				if proxied && (at != enter || why != LeftElsewhere) || !proxied && at != owner {
					t.Errorf("proxied %v, port %d at server %d: %v at server %d after %d hops", proxied, port, enter, why, at, hops)
				}
			}
		}
	}
}
