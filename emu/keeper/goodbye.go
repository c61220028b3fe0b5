package keeper

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
)

// hastenGoodbyes has TCP give up on connections that no process holds any more:
// the kernel repeats their last data and FIN for minutes, and each keeps its
// namespace. Best effort; a namespace that is closed already is on its own.
func hastenGoodbyes(t *netns.Thread, ns *netns.NS) {
	if t.Enter(ns) != nil || !anyTCP() {
		return
	}
	// Where the kernel cannot end connections at once (INET_DIAG_DESTROY), it
	// gives up when next it would repeat. 0 would stand for 8. It is of both
	// families.
	_ = os.WriteFile("/proc/sys/net/ipv4/tcp_orphan_retries", []byte("1"), 0)
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		all, _ := netlink.SocketDiagTCP(family)
		for _, s := range all {
			if s.State == netlink.TCP_TIME_WAIT || s.State == netlink.TCP_LISTEN {
				continue // keeps nothing; ends with its process
			}
			_ = destroy(s)
		}
	}
}

// anyTCP says whether the calling thread's namespace has TCP sockets, or might
// have. Listing them costs a walk through the table of the whole machine's.
func anyTCP() bool {
	for file, line := range map[string]string{"sockstat": "TCP: inuse 0 ", "sockstat6": "TCP6: inuse 0\n"} {
		b, err := os.ReadFile("/proc/thread-self/net/" + file)
		if file == "sockstat6" && errors.Is(err, os.ErrNotExist) {
			continue // no IPv6
		}
		if err != nil || !strings.Contains(string(b), line) {
			return true
		}
	}
	return false
}

// diagRequest is struct inet_diag_req_v2 (linux/inet_diag.h): family, protocol,
// 2 bytes unused, states, then the socket's ports and addresses in network byte
// order, its interface and a cookie.
type diagRequest [56]byte

// Len is the request's length.
func (r *diagRequest) Len() int { return len(r) }

// Serialize is the request itself.
func (r *diagRequest) Serialize() []byte { return r[:] }

// destroy ends a TCP connection, as the library does for IPv4 alone.
func destroy(s *netlink.Socket) error {
	var r diagRequest
	r[0], r[1] = s.Family, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(r[8:], s.ID.SourcePort)
	binary.BigEndian.PutUint16(r[10:], s.ID.DestinationPort)
	from, to := s.ID.Source, s.ID.Destination
	if s.Family == unix.AF_INET {
		from, to = from.To4(), to.To4()
	}
	copy(r[12:], from)
	copy(r[28:], to)
	for at, v := range map[int]uint32{44: s.ID.Interface, 48: s.ID.Cookie[0], 52: s.ID.Cookie[1]} {
		binary.NativeEndian.PutUint32(r[at:], v)
	}
	m := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	m.AddData(&r)
	_, err := m.Execute(unix.NETLINK_INET_DIAG, 0)
	return err
}
