package labbench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// pingWait is how long an echo may take. A first one waits for ARP, where
// neighbours are not known.
const pingWait = 2 * time.Second

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
	if _, err := conn.WriteTo(request, &net.IPAddr{IP: to.AsSlice()}); err != nil {
		if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
			return false, nil
		}
		return false, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(pingWait)); err != nil {
		return false, err
	}
	var answer [64]byte
	for {
		n, from, err := conn.ReadFrom(answer[:])
		var late net.Error
		switch {
		case errors.As(err, &late) && late.Timeout():
			return false, nil
		case err != nil:
			return false, err
		case n >= len(request) && answer[0] == 0 && from.String() == to.String():
			return true, nil
		}
	}
}
