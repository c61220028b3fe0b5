package swarm

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// trust is what a packet that a hub is given may do.
type trust uint8

const (
	inside   trust = iota // it came by the network
	anything              // junk: it may be counted, answered, and even be believed where nothing protects it
	refused               // it asks for what the network's own links alone may ask
)

// noise is bytes that may begin like a packet.
func noise(rng *rand.Rand) []byte {
	b := make([]byte, rng.IntN(120))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	if len(b) > 0 {
		b[0] = []byte{b[0], 0x45, 0x46, 0x60}[rng.IntN(4)]
	}
	return b
}

// damaged is a packet that some hub was given, with a few bytes changed or cut off.
func (c *checker) damaged(rng *rand.Rand) []byte {
	if len(c.seen) == 0 {
		return noise(rng)
	}
	b := slices.Clone(c.seen[rng.IntN(len(c.seen))])
	for range rng.IntN(4) {
		if len(b) > 0 {
			b[rng.IntN(len(b))] = []byte{0, 1, 4, 0x20, 0x45, 0x60, 0x7f, 0x80, 0xff}[rng.IntN(9)]
		}
	}
	if rng.IntN(3) == 0 {
		b = b[:rng.IntN(len(b)+1)]
	}
	return b
}

// forgeries are packets to a server that claim to come from the network itself:
// hand-overs from another server's address and in GUE, for every tenant, and a
// context that nobody signed.
func forgeries(rng *rand.Rand, c *hub.Config) [][]byte {
	i := slices.IndexFunc(c.Servers, func(s hub.Server) bool { return s.ID == c.Self })
	self, peer := c.Servers[i], c.Servers[rng.IntN(len(c.Servers))]
	var all [][]byte
	for _, o := range c.OnRamps {
		inner := datagram(netip.AddrPortFrom(addr("10.0.1.5"), uint16(rng.Uint32())), netip.AddrPortFrom(addr("203.0.113.9"), 53))
		over := steer.Context{OnRamp: o.ID, Hops: uint8(1 + rng.IntN(3)), SecondHop: rng.IntN(2) == 0}
		gre := tunnel.Encap{Src: peer.Handover, Dst: self.Handover, HasKey: true, Key: over.Key()}
		gue := tunnel.Encap{
			Src: peer.Handover, Dst: self.Handover, Proto: tunnel.ViaGUE, SrcPort: 50000, DstPort: tunnel.GUEPort,
			Context: tunnel.GUEContext{OnRamp: o.ID, Tenant: o.Tenant, Hops: uint8(rng.IntN(3)), Return: rng.IntN(4) == 0, SecondHop: rng.IntN(2) == 0},
		}
		all = append(all, gre.Append(nil, inner), gue.Append(nil, inner))
		if len(c.Unconnected) > 0 {
			gue.Src, gue.Dst, gue.Context.Hops = o.Remote, c.Unconnected[0], 0
			if !gue.Src.IsValid() {
				gue.Src = peer.Handover
			}
			all = append(all, gue.Append(nil, inner))
		}
		if o.Kind == tunnel.Device || o.Kind == tunnel.Connector {
			all = append(all, unsigned(&o, c))
		}
	}
	return all
}

// unsigned is a context of somebody who knows all but the tenant's secret.
func unsigned(o *hub.OnRamp, c *hub.Config) []byte {
	context := tunnel.Context{Kind: o.Kind, Tenant: o.Tenant, Registration: [tunnel.RegistrationLen]byte(o.Registration), VNet: ident.VNet(o.VNet)}
	_ = context.Sign([]byte("a guess")) // an unfit context is junk as well
	payload, err := context.Append(nil)
	if err != nil {
		payload = []byte("no context")
	}
	e := tunnel.Encap{Src: addr("192.0.2.66"), Dst: c.Tunnels[0], Proto: tunnel.ViaUDP, SrcPort: 40404, DstPort: tunnel.ConnectedPort}
	return e.Append(nil, payload)
}

// datagram is a UDP packet without checksum and with 8 bytes of payload.
func datagram(from, to netip.AddrPort) []byte {
	b := make([]byte, pkt.IPv4Header+pkt.UDPHeader+8)
	b[0], b[6], b[8], b[9] = 0x45, 0x40, 64, pkt.ProtoUDP
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	src, dst := from.Addr().As4(), to.Addr().As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[10:], ^checksum.Checksum(b[:pkt.IPv4Header], 0))
	u := b[pkt.IPv4Header:]
	binary.BigEndian.PutUint16(u, from.Port())
	binary.BigEndian.PutUint16(u[2:], to.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	return b
}
