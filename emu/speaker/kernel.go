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
	handle   *netlink.Handle
	sessions []plan.Session
	links    []int // indices of interfaces, by session
	has      map[netip.Prefix]int
}

func openKernel(s *plan.Speaker) (*kernel, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("routing table: %w", err)
	}
	k := &kernel{handle: h, sessions: s.Sessions, has: map[netip.Prefix]int{}}
	for i := range s.Sessions {
		l, err := h.LinkByName(s.Sessions[i].Interface)
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", s.Sessions[i].Interface, err)
		}
		k.links = append(k.links, l.Attrs().Index)
	}
	return k, nil
}

// route is one to a prefix by a session's neighbour, or, with None, by nobody.
func (k *kernel) route(to netip.Prefix, by int) *netlink.Route {
	r := &netlink.Route{
		Protocol: unix.RTPROT_BGP,
		Dst:      &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())},
	}
	if by >= 0 {
		r.LinkIndex, r.Gw, r.Flags = k.links[by], k.sessions[by].Hop(to).Via.AsSlice(), int(netlink.FLAG_ONLINK)
	}
	return r
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
	switch {
	case from >= 0:
		if err := k.handle.RouteReplace(k.route(to, from)); err != nil {
			return fmt.Errorf("route %v: %w", to, err)
		}
		k.has[to] = from
	case had:
		// A link that went down has taken its routes along.
		if err := k.handle.RouteDel(k.route(to, was)); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("remove route %v: %w", to, err)
		}
		delete(k.has, to)
	}
	return nil
}
