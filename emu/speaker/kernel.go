package speaker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// kernel is the table of the namespace that the process is in, as far as GoBGP
// writes it: routes of protocol bgp.
type kernel struct {
	handle *netlink.Handle
	hops   []netlink.Route // by session, without destination
	has    map[netip.Prefix]int
}

func openKernel(s *plan.Speaker) (*kernel, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("routing table: %w", err)
	}
	k := &kernel{handle: h, has: map[netip.Prefix]int{}}
	for i := range s.Sessions {
		l, err := h.LinkByName(s.Sessions[i].Interface)
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", s.Sessions[i].Interface, err)
		}
		k.hops = append(k.hops, netlink.Route{
			LinkIndex: l.Attrs().Index, Gw: s.Sessions[i].Remote.AsSlice(), Flags: int(netlink.FLAG_ONLINK), Protocol: unix.RTPROT_BGP,
		})
	}
	return k, nil
}

// set has a prefix go to a session's neighbour. What is the router's own, and what
// nobody has, is not the speaker's to route.
func (k *kernel) set(to netip.Prefix, from int) error {
	was, had := k.has[to]
	if from == bgp.Own {
		from = bgp.None
	}
	if had && was == from {
		return nil
	}
	r := netlink.Route{Protocol: unix.RTPROT_BGP}
	if from >= 0 {
		r = k.hops[from]
	} else if had {
		r = k.hops[was]
	}
	r.Dst = &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())}
	switch {
	case from >= 0:
		if err := k.handle.RouteReplace(&r); err != nil {
			return fmt.Errorf("route %v: %w", to, err)
		}
		k.has[to] = from
	case had:
		// A link that went down has taken its routes along.
		if err := k.handle.RouteDel(&r); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("remove route %v: %w", to, err)
		}
		delete(k.has, to)
	}
	return nil
}
