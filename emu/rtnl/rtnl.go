// Package rtnl speaks to the kernel's routing socket (rtnetlink(7)) of one
// namespace: a question at a time, or many changes in one system call.
//
// The messages' parts are the netlink library's. Its requests are not used: each
// takes a buffer of 64 KiB and a dozen system calls, and they cannot be sent
// together.
package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The library works out the byte order at its first use, unsafely for others at
// the same time. This is that use, before there are others.
var _ = nl.NativeEndian()

// Conn is a routing socket. It is safe for concurrent use.
type Conn struct {
	mu  sync.Mutex
	fd  int // -1 when closed
	seq uint32
}

// Dial opens a Conn in the namespace of the calling thread, where it stays.
func Dial() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open routing socket: %w", err)
	}
	// The kernel then says in words what it refuses; without it, by number only.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	return &Conn{fd: fd}, nil
}

// Close closes the socket. It is idempotent.
func (c *Conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}

// Message asks for one change.
type Message struct {
	Kind, Flags int // RTM_NEWLINK …; NLM_F_CREATE …, beyond what a request has
	Parts       []nl.NetlinkRequestData
	// Explain says in an error what was refused; nil leaves it as it is.
	Explain func(error) error
}

// append writes a message behind others (struct nlmsghdr of linux/netlink.h).
func (m Message) append(b []byte, flags int, seq uint32) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.NativeEndian.AppendUint16(b, uint16(m.Kind))
	b = binary.NativeEndian.AppendUint16(b, uint16(m.Flags|flags|unix.NLM_F_REQUEST))
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(b, 0, 0, 0, 0)
	for _, p := range m.Parts {
		b = append(b, p.Serialize()...)
	}
	binary.NativeEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

func (m Message) explain(err error) error {
	if err == nil || m.Explain == nil {
		return err
	}
	return m.Explain(err)
}

// Ask sends one message and returns the bodies of the kernel's answers; of what
// changed while it was listed, nl.ErrDumpInterrupted.
func (c *Conn) Ask(kind, flags int, parts ...nl.NetlinkRequestData) (bodies [][]byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := Message{Kind: kind, Flags: flags, Parts: parts}
	c.seq++
	if err := c.send(m.append(nil, unix.NLM_F_ACK, c.seq)); err != nil {
		return nil, err
	}
	refused, err := c.answers(c.seq, c.seq, func(body []byte) { bodies = append(bodies, body) })
	return bodies, errors.Join(err, refused[c.seq])
}

// together bounds the bytes of messages that go in one system call: what a
// socket's buffers hold, with room for every one being refused.
const together = 32 << 10

// Send has the kernel make changes in this order, in as few system calls as can
// be. The error is that of the first one that it refuses; it may have tried some
// later ones nevertheless.
func (c *Conn) Send(ms ...Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(ms) > 0 {
		first, n := c.seq+1, 0
		var b []byte
		for last := 0; n < len(ms) && len(b) < together; n++ {
			last = len(b)
			c.seq++
			b = ms[n].append(b, 0, c.seq)
			if n+1 == len(ms) || len(b) >= together {
				b = ms[n].append(b[:last], unix.NLM_F_ACK, c.seq) // what is refused before is told unasked
			}
		}
		if err := c.send(b); err != nil {
			return ms[0].explain(err)
		}
		refused, err := c.answers(first, c.seq, func([]byte) {})
		for i, m := range ms[:n] {
			if e := refused[first+uint32(i)]; e != nil {
				return m.explain(e)
			}
		}
		if err != nil {
			return err
		}
		ms = ms[n:]
	}
	return nil
}

func (c *Conn) send(b []byte) error {
	for {
		err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR {
			return err
		}
	}
}

// answers reads what the kernel says to the messages first to last, until it has
// done with last: which it refused, and bodies of other answers.
func (c *Conn) answers(first, last uint32, body func([]byte)) (refused map[uint32]error, err error) {
	interrupted := false
	for {
		b, err := c.receive()
		if err != nil {
			return refused, err
		}
		msgs, err := syscall.ParseNetlinkMessage(b)
		if err != nil {
			return refused, fmt.Errorf("routing socket: %w", err)
		}
		for _, m := range msgs {
			h := m.Header
			if h.Seq-first > last-first {
				continue // of an earlier question that failed
			}
			interrupted = interrupted || h.Flags&unix.NLM_F_DUMP_INTR != 0
			if h.Type != unix.NLMSG_DONE && h.Type != unix.NLMSG_ERROR {
				body(m.Data)
				continue
			}
			if e := refusal(m); e != nil {
				if refused == nil {
					refused = make(map[uint32]error)
				}
				refused[h.Seq] = e
			}
			switch {
			case h.Seq == last && interrupted:
				return refused, nl.ErrDumpInterrupted
			case h.Seq == last:
				return refused, nil
			}
		}
	}
}

// receive is the next datagram, whatever its size.
func (c *Conn) receive() ([]byte, error) {
	for flags, b := unix.MSG_PEEK|unix.MSG_TRUNC, []byte(nil); ; {
		n, _, err := unix.Recvfrom(c.fd, b, flags)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, fmt.Errorf("routing socket: %w", err)
		case flags != 0:
			flags, b = 0, make([]byte, n)
		default:
			return b[:n], nil
		}
	}
}

// refusal is the error in NLMSG_ERROR or NLMSG_DONE: a number, and with
// NLM_F_ACK_TLVS behind the message that it is about what the kernel says in words
// (struct nlmsgerr, NLMSGERR_ATTR_MSG).
func refusal(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return nil // NLMSG_DONE may have none
	}
	errno := -int32(binary.NativeEndian.Uint32(m.Data))
	if errno == 0 {
		return nil
	}
	err := error(syscall.Errno(errno))
	rest := m.Data[4:]
	if m.Header.Flags&unix.NLM_F_ACK_TLVS == 0 || len(rest) < unix.SizeofNlMsghdr {
		return err
	}
	skip := unix.SizeofNlMsghdr
	if m.Header.Flags&unix.NLM_F_CAPPED == 0 {
		skip = int(binary.NativeEndian.Uint32(rest)+unix.NLMSG_ALIGNTO-1) &^ (unix.NLMSG_ALIGNTO - 1)
	}
	attrs, bad := nl.ParseRouteAttr(rest[min(skip, len(rest)):])
	if bad != nil {
		return err
	}
	for _, a := range attrs {
		if a.Attr.Type == nl.NLMSGERR_ATTR_MSG {
			return fmt.Errorf("%w: %s", err, unix.ByteSliceToString(a.Value))
		}
	}
	return err
}
