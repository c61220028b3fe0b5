package labbench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pingWait is how long a link has to carry an echo. Where neighbours are not
	// known a first one waits for ARP, whose table is the machine's: with more
	// entries than gc_thresh3, 1,024, those that changed within 5 s have to age
	// first, and an entry changes again when it is probed, 5 s after its first use.
	pingWait = 30 * time.Second
	// pingAgain is when an echo that was not answered is repeated.
	pingAgain = 500 * time.Millisecond
)

// pings is how many of the links of a star carry an echo from the leaf to the
// middle and its answer back. Inside runs do in the namespace of a leaf.
func pings(links int, inside func(leaf int, do func() error) error) (answered int, err error) {
	for i := range links {
		ok := false
		err := inside(i, func() (err error) {
			hub, _ := starAddresses(i)
			ok, err = ping(hub)
			return err
		})
		if err != nil {
			return answered, fmt.Errorf("ping across link %d: %w", i, err)
		}
		if ok {
			answered++
		}
	}
	return answered, nil
}

// ping sends an ICMP echo request (RFC 792) from the calling thread's namespace.
func ping(to netip.Addr) (answered bool, err error) {
	conn, err := net.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// Type 8, code 0, checksum, identifier 0, sequence number 1.
	request := []byte{8, 0, 0xf7, 0xfe, 0, 0, 0, 1}
	for end := time.Now().Add(pingWait); !answered && err == nil && time.Now().Before(end); {
		if _, err = conn.WriteTo(request, &net.IPAddr{IP: to.AsSlice()}); err == nil {
			answered, err = echoed(conn, to, len(request))
		}
		if noWay(err) {
			time.Sleep(pingAgain)
			err = nil
		}
	}
	return answered, err
}

// noWay says whether an error of a socket is the network's: there is no way, or
// no room for a neighbour.
func noWay(err error) bool {
	for _, e := range []syscall.Errno{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENOBUFS, unix.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// echoed waits for an answer of at least so many bytes.
func echoed(conn net.PacketConn, from netip.Addr, size int) (bool, error) {
	if err := conn.SetReadDeadline(time.Now().Add(pingAgain)); err != nil {
		return false, err
	}
	var answer [64]byte
	for {
		n, sender, err := conn.ReadFrom(answer[:])
		var late net.Error
		switch {
		case errors.As(err, &late) && late.Timeout():
			return false, nil
		case err != nil:
			return false, err
		case n >= size && answer[0] == 0 && sender.String() == from.String():
			return true, nil
		}
	}
}
