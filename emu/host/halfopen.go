package host

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
)

// DropHalfOpen ends the TCP connections that a namespace's servers have half open:
// those whose SYN+ACK went to somebody who had not asked. The kernel keeps one for
// a minute, and answers another SYN of the same addresses and ports by what the
// first one said (RFC 9293 3.10.7.4), so that who asks again would be refused for
// what was asked before. Nothing is sent to anybody.
//
// A kernel without INET_DIAG_DESTROY keeps them: nil.
func DropHalfOpen(ns *netns.NS) error {
	return ns.Do(func() error {
		for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
			if err := dropHalfOpen(family); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("half-open connections: %w", err)
			}
		}
		return nil
	})
}

func dropHalfOpen(family byte) error {
	dump := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
	dump.AddRawData(diagRequest(family, nil))
	found, err := dump.Execute(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY)
	if err != nil {
		return err
	}
	for _, m := range found {
		if len(m) < diagIDFrom+diagIDLen {
			return fmt.Errorf("a socket's report of %d bytes", len(m))
		}
		destroy := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
		destroy.AddRawData(diagRequest(family, m[diagIDFrom:diagIDFrom+diagIDLen]))
		if _, err := destroy.Execute(unix.NETLINK_INET_DIAG, 0); err != nil && !errors.Is(err, unix.ENOENT) { // gone by itself
			return err
		}
	}
	return nil
}

// Layout of linux/inet_diag.h: struct inet_diag_req_v2 is family, protocol,
// extensions, padding, states (u32) and the socket's identity; struct inet_diag_msg
// is family, state, timer, retransmissions and the same.
const (
	diagIDFrom = 4
	diagIDLen  = 48
	// synReceived is 1<<TCP_SYN_RECV.
	synReceived = 1 << 3
)

// diagRequest is about half-open connections of TCP; without an identity all.
func diagRequest(family byte, id []byte) []byte {
	b := make([]byte, 8+diagIDLen)
	b[0], b[1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], synReceived)
	copy(b[8:], id)
	return b
}
