package agent

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/emu/afpacket"
)

const (
	// maxPorts bounds the programs that are connected at once.
	maxPorts = 64
	// portBacklog is how many may wait to be accepted.
	portBacklog = 16
	// datagramMost is the longest datagram: an IP packet is no longer.
	datagramMost = 1 << 16
)

// ports are the connected tunnels inside the server: a Unix SEQPACKET socket
// where its programs connect, each datagram a packet (SEMANTICS 4.1, OX-1). What
// a datagram means is the hub's business.
//
// All descriptors are in one epoll set, which the loop waits for among others.
type ports struct {
	listener, epoll int
	name            string // to remove; empty if nothing is left behind
	byID            map[hub.Port]int
	byFD            map[int]hub.Port
	last            hub.Port
	ready           [maxPorts + 1]unix.EpollEvent
	buffers         [][]byte
	cutter          afpacket.Cutter
	count           portCount
}

type portCount struct {
	opened, refused, received, truncated, sent, unsent uint64
}

// openPorts listens at name: a path, which this user alone may connect to, or,
// where it begins with @, an abstract name, which is seen in the network
// namespace of the caller alone and leaves nothing behind.
func openPorts(name string) (*ports, error) {
	p := &ports{listener: -1, epoll: -1, byID: map[hub.Port]int{}, byFD: map[int]hub.Port{}}
	if err := p.listen(name); err != nil {
		return nil, errors.Join(fmt.Errorf("socket %q: %w", name, err), p.close())
	}
	return p, nil
}

func (p *ports) listen(name string) (err error) {
	const kind = unix.SOCK_SEQPACKET | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	if p.listener, err = unix.Socket(unix.AF_UNIX, kind, 0); err != nil {
		return err
	}
	const ownerOnly = 0o177
	was := unix.Umask(ownerOnly)
	err = unix.Bind(p.listener, &unix.SockaddrUnix{Name: name})
	unix.Umask(was)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(name, "@") {
		p.name = name
	}
	if err := unix.Listen(p.listener, portBacklog); err != nil {
		return err
	}
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	return p.watch(p.listener)
}

func (p *ports) watch(fd int) error {
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)})
}

// receive fills packets with datagrams that are there now, and appends to gone
// the tunnels that their programs closed. What there is no room for stays.
func (p *ports) receive(packets *[afpacket.Batch]hub.Packet, gone []hub.Port) (int, []hub.Port, error) {
	ready, err := unix.EpollWait(p.epoll, p.ready[:], 0)
	if err != nil && err != unix.EINTR {
		return 0, gone, fmt.Errorf("ports: %w", err)
	}
	n := 0
	for i := range max(ready, 0) {
		fd, events := int(p.ready[i].Fd), p.ready[i].Events
		if fd == p.listener {
			p.accept()
			continue
		}
		id := p.byFD[fd]
		var closed bool
		if n, closed = p.drain(fd, id, events&(unix.EPOLLRDHUP|unix.EPOLLHUP) != 0, packets, n); closed {
			gone = append(gone, id)
		}
	}
	return n, gone, nil
}

// accept takes all who wait to connect, and sends away those beyond the bound
// and those of other users.
func (p *ports) accept() {
	for {
		fd, _, err := unix.Accept4(p.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return // nobody waits any more, or nobody can be taken now
		}
		if len(p.byFD) >= maxPorts || !ours(fd) || p.watch(fd) != nil {
			p.count.refused++
			unix.Close(fd)
			continue
		}
		p.last++
		p.byID[p.last], p.byFD[fd] = fd, p.last
		p.count.opened++
	}
}

// ours reports whether the program at the other end is of this user.
func ours(fd int) bool {
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err == nil && int(peer.Uid) == os.Geteuid()
}

// drain reads what one tunnel has, as far as there is room. A datagram may be
// empty; nothing to read from one that its program left is its end.
func (p *ports) drain(fd int, id hub.Port, left bool, packets *[afpacket.Batch]hub.Packet, n int) (_ int, closed bool) {
	for n < len(packets) {
		if n == len(p.buffers) {
			p.buffers = append(p.buffers, make([]byte, datagramMost))
		}
		b := p.buffers[n]
		size, _, flags, _, err := unix.Recvmsg(fd, b, nil, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return n, false
		case err != nil, size == 0 && left:
			return n, true
		case flags&unix.MSG_TRUNC != 0:
			p.count.truncated++
			continue
		}
		p.count.received++
		packets[n] = hub.Packet{Data: b[:size], Port: id, Internal: true}
		n++
	}
	return n, false
}

// send writes a packet of the hub's to its tunnel. A program that does not read
// loses packets, and holds nobody up.
func (p *ports) send(s *hub.Send) {
	fd, ok := p.byID[s.Port]
	if !ok || !p.cutter.Reset(s.Data, s.Offload) {
		p.count.unsent++
		return
	}
	for packet := p.cutter.Next(); packet != nil; packet = p.cutter.Next() {
		if unix.Send(fd, packet, unix.MSG_NOSIGNAL) != nil {
			p.count.unsent++
			continue
		}
		p.count.sent++
	}
}

// hangUp closes a tunnel. It is idempotent.
func (p *ports) hangUp(id hub.Port) {
	fd, ok := p.byID[id]
	if !ok {
		return
	}
	delete(p.byID, id)
	delete(p.byFD, fd)
	unix.Close(fd) // leaves the epoll set by that
}

// addTo adds the totals to all.
func (p *ports) addTo(all map[string]uint64) {
	for name, n := range map[string]uint64{
		"port_opened": p.count.opened, "port_refused": p.count.refused, "port_received": p.count.received,
		"port_truncated": p.count.truncated, "port_sent": p.count.sent, "port_unsent": p.count.unsent,
	} {
		if n != 0 {
			all[name] = n
		}
	}
}

func (p *ports) close() error {
	var errs []error
	for id := range p.byID {
		p.hangUp(id)
	}
	for _, fd := range []int{p.listener, p.epoll} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	if p.name != "" {
		errs = append(errs, os.Remove(p.name))
	}
	p.listener, p.epoll, p.name = -1, -1, ""
	return errors.Join(errs...)
}
