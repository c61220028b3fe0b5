package wire

import (
	"net"
	"slices"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// TrunkSuffix follows the name of a site's interface in the name of the link
// that its packets cross with a tag.
const TrunkSuffix = "t"

// tag splits the site's end of a link with 802.1Q tags, because not every
// kernel can make VLAN interfaces. The router speaks without tags on one end of
// a pair; what comes out of the other (PeerSuffix) gets its tag from a program
// and crosses the link, whose end has the TrunkSuffix. The pair is returned, and
// what lived on the link's end lives there.
func (w *pair) tag(l *plan.Link) pair {
	inside := pair{
		what: "VLAN interface of " + w.what,
		a:    w.a,
		b: side{
			end:  end{name: w.a.name + PeerSuffix, mac: variant(w.a.mac, 0x40), mtu: l.MTU},
			node: w.a.node,
		},
	}
	w.a = side{end: end{name: w.a.name + TrunkSuffix, mac: variant(w.a.mac, 0x80), mtu: l.MTU}, node: w.a.node}
	return inside
}

// variant is an address that the plan gives to nobody: its own have these bits
// clear. A kernel takes nothing that is sent to the site for its own there.
func variant(mac net.HardwareAddr, bit byte) net.HardwareAddr {
	v := slices.Clone(mac)
	if len(v) > 0 {
		v[0] ^= bit
	}
	return v
}
