// Package udp opens the sockets that tunnels send their datagrams through, for
// loops that never wait: what does not fit is refused, and what the kernel lost
// can be asked for.
//
// It wraps nothing: a socket is a descriptor, for emu/loop, in the namespace of
// the thread that opened it. Its law: a datagram goes out whole or not at all.
package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// buffer is asked for a socket's queues: a burst of a whole window, cut into
// datagrams.
const buffer = 8 << 20

// Open makes a socket in the calling thread's namespace, bound to an address; at
// port 0 the kernel chooses one. Datagrams go out with DF.
func Open(local netip.AddrPort) (fd int, err error) {
	family := unix.AF_INET
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("UDP socket: %w", err)
	}
	err = configure(fd, family)
	if err == nil {
		if err = unix.Bind(fd, sockaddr(local)); err != nil {
			err = fmt.Errorf("bind to %v: %w", local, err)
		}
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func configure(fd, family int) error {
	level, option, class := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_RECVTOS
	if family == unix.AF_INET6 {
		level, option, class = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_RECVTCLASS
	}
	if err := unix.SetsockoptInt(fd, level, option, unix.IP_PMTUDISC_DO); err != nil {
		return fmt.Errorf("don't fragment: %w", err)
	}
	if err := unix.SetsockoptInt(fd, level, class, 1); err != nil {
		return fmt.Errorf("be told of congestion: %w", err)
	}
	for force, plain := range map[int]int{unix.SO_RCVBUFFORCE: unix.SO_RCVBUF, unix.SO_SNDBUFFORCE: unix.SO_SNDBUF} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, buffer) == nil {
			continue
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, buffer); err != nil {
			return fmt.Errorf("socket buffer of %d bytes: %w", buffer, err)
		}
	}
	return nil
}

// Connect makes to the only peer of a socket.
func Connect(fd int, to netip.AddrPort) error {
	if err := unix.Connect(fd, sockaddr(to)); err != nil {
		return fmt.Errorf("connect to %v: %w", to, err)
	}
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// Send puts a datagram into a connected socket. An error says that it was not
// sent: too long for the path is EMSGSIZE, a full queue EAGAIN. narrower says that
// the path takes less than it did, of this datagram or of an earlier one. ecn is
// what its header says of congestion.
func Send(fd int, datagram []byte, ecn pkt.ECN) (narrower bool, err error) {
	for {
		err := write(fd, datagram, ecn)
		switch {
		case err == unix.EINTR:
		case err == unix.ECONNREFUSED: // of an earlier datagram, and told once
		case err == unix.EMSGSIZE && !narrower: // maybe of an earlier one, too
			narrower = true
		default:
			return narrower, err
		}
	}
}

// PathMTU is the largest packet that the kernel knows to reach the peer of a
// connected socket, headers included: of what it heard, for as long as that holds
// (RFC 1191 section 6.3), and of its own link.
func PathMTU(fd int) (int, error) {
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return 0, fmt.Errorf("family of a socket: %w", err)
	}
	level, option := unix.IPPROTO_IP, unix.IP_MTU
	if family == unix.AF_INET6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	mtu, err := unix.GetsockoptInt(fd, level, option)
	if err != nil {
		return 0, fmt.Errorf("path MTU: %w", err)
	}
	return mtu, nil
}

// Receive takes the next datagram, cut off if b is shorter; ok is false if there
// is none now. EMSGSIZE is no failure: the kernel has heard that the path of a
// connected socket takes less than it did (RFC 1191), and there may be datagrams.
// ecn is what its header said of congestion.
func Receive(fd int, b []byte) (n int, ecn pkt.ECN, ok bool, err error) {
	for {
		n, ecn, err := read(fd, b)
		switch err {
		case nil:
			return n, ecn, true, nil
		case unix.EINTR, unix.ECONNREFUSED: // the latter told once, of an ICMP error
		case unix.EMSGSIZE:
			return 0, 0, false, err
		case unix.EAGAIN:
			return 0, 0, false, nil
		default:
			return 0, 0, false, fmt.Errorf("receive: %w", err)
		}
	}
}

// Lost is how many datagrams the kernel dropped because the socket's queue was
// full, since it was opened.
func Lost(fd int) (uint64, error) {
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
