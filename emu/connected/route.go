package connected

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// takeOver makes the kernel route packets to the translated address into the
// tunnel, like any others, instead of taking them for its own: it has no
// connection behind that address and would answer with resets. The address
// stays on its interface, as the source of what the router itself says, and
// packets from it are welcome out of the tunnel alone (emu/wire).
func takeOver(address, via netip.Addr, tunnel *net.Interface) error {
	to := netlink.NewIPNet(address.AsSlice())
	owned, err := isLocal(address)
	if err != nil {
		return err
	}
	if owned {
		own := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Dst: to}
		if err := netlink.RouteDel(own); err != nil {
			return fmt.Errorf("let go of %v: %w", address, err)
		}
	}
	into := &netlink.Route{LinkIndex: tunnel.Index, Dst: to, Gw: via.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}
	if err := netlink.RouteReplace(into); err != nil {
		return fmt.Errorf("route %v into the tunnel: %w", address, err)
	}
	return nil
}

// isLocal reports whether an interface of the namespace has the address.
func isLocal(address netip.Addr) (bool, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false, fmt.Errorf("addresses: %w", err)
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr() == address
	}), nil
}
