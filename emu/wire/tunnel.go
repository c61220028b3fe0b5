package wire

import (
	"net/netip"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// PeerSuffix follows the name of a tunnel device in the name of its other end:
// "gre1" is what the kernel routes into, "gre1x" is where the packets come out
// and where a program wraps them.
const PeerSuffix = "x"

// minPeerMTU of a tunnel device's other end: it takes whatever was unwrapped,
// and leaves it to the kernel behind gre1 to judge the size.
const minPeerMTU = 1500

// tunnel is the veth pair that stands for a branch's tunnel: a device for
// which the kernel does routing, TTL and fragmentation-needed as for any other.
func tunnel(p *place, t *plan.BranchTunnel) pair {
	a := side{
		end:       end{name: t.Interface, mac: t.MAC, mtu: t.MTU},
		node:      p,
		addresses: []netip.Prefix{t.InnerPrefix()},
		neighbors: []netip.Addr{t.Peer},
		own:       true,
	}
	if t.Inner6.IsValid() {
		a.addresses = append(a.addresses, netip.PrefixFrom(t.Inner6, t.Inner6.BitLen()-1))
		a.neighbors = append(a.neighbors, t.Peer6)
	}
	return pair{
		what: "tunnel " + t.Name,
		a:    a,
		b: side{
			end:  end{name: t.Interface + PeerSuffix, mac: t.PeerMAC, mtu: max(t.MTU, minPeerMTU)},
			node: p,
			deaf: true,
		},
	}
}
