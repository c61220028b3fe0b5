package connected

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// socketBuffer is asked for a socket's queues: a burst of a whole window, cut
// into datagrams.
const socketBuffer = 8 << 20

// dial opens a UDP socket from the tunnel's outer address, at a port that the
// kernel chooses, to the servers' common one.
func dial(b *plan.BranchTunnel) (fd int, err error) {
	family := unix.AF_INET
	if b.Remote.Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("UDP socket: %w", err)
	}
	if err := configure(fd, family); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(b.Local, 0))); err != nil {
		return -1, errors.Join(fmt.Errorf("bind to %v: %w", b.Local, err), unix.Close(fd))
	}
	to := netip.AddrPortFrom(b.Remote, b.Connect.Port)
	if err := unix.Connect(fd, sockaddr(to)); err != nil {
		return -1, errors.Join(fmt.Errorf("connect to %v: %w", to, err), unix.Close(fd))
	}
	return fd, nil
}

// configure makes datagrams go out whole, with DF, or not at all: a connected
// tunnel's are never fragments.
func configure(fd, family int) error {
	level, option := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER
	if family == unix.AF_INET6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
	}
	if err := unix.SetsockoptInt(fd, level, option, unix.IP_PMTUDISC_DO); err != nil {
		return fmt.Errorf("don't fragment: %w", err)
	}
	for force, plain := range map[int]int{unix.SO_RCVBUFFORCE: unix.SO_RCVBUF, unix.SO_SNDBUFFORCE: unix.SO_SNDBUF} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, socketBuffer) == nil {
			continue
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, socketBuffer); err != nil {
			return fmt.Errorf("socket buffer of %d bytes: %w", socketBuffer, err)
		}
	}
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// lost is how many datagrams the kernel dropped because the socket's queue was
// full, since it was opened.
func lost(fd int) (uint64, error) {
	const drops = 8 // SK_MEMINFO_DROPS of linux/sock_diag.h, the last one
	var info [drops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("socket statistics: %w", errno)
	}
	return uint64(info[drops]), nil
}

// takeOver makes the kernel route packets to the translated address into the
// tunnel, like any others, instead of taking them for its own: it has no
// connection behind that address and would answer with resets. The address
// stays on its interface, as the source of what the router itself says, and
// packets from it are welcome out of the tunnel alone.
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
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+tunnel.Name+"/accept_local", []byte("1\n"), 0); err != nil {
		return fmt.Errorf("accept packets from %v: %w", address, err)
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
