package agent

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// tunnelEnds are the addresses at which tunnels of UDP end in this server.
type tunnelEnds map[pkt.Number]bool

func endsOf(c *hub.Config) tunnelEnds {
	e := tunnelEnds{}
	add := func(all []netip.Addr) {
		for _, a := range all {
			e[pkt.NumberOf(a)] = true
		}
	}
	add(c.Tunnels)
	add(c.Unconnected)
	for i := range c.Servers {
		if c.Servers[i].ID == c.Self {
			e[pkt.NumberOf(c.Servers[i].Handover)] = true
		}
	}
	return e
}

// complete finishes the checksum of a datagram that carries a tunnel's packet
// and that a kernel of the lab left to the hardware: the datagram ends here, and
// what pkt.Offload says would be taken for the packet inside, which is whole. It
// returns what is left undone.
func (e tunnelEnds) complete(packet []byte, off pkt.Offload) pkt.Offload {
	if !off.Partial || off.Segment != 0 {
		return off
	}
	outer, ok := pkt.ParseOuter(packet)
	if !ok || outer.Proto != pkt.ProtoUDP || !e[outer.Dst] {
		return off
	}
	var m pkt.Meta
	m.Parse(packet)
	m.FillChecksum(packet)
	return pkt.Offload{}
}
