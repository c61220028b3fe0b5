package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// open makes the client socket of a flow in the namespace of the calling
// thread, bound to the flow's source. Everything after needs no namespace: a
// socket keeps its own.
func open(f *plan.Flow) (fd int, err error) {
	typ, proto := unix.SOCK_STREAM, unix.IPPROTO_TCP
	switch f.Proto {
	case plan.TCP:
	case plan.UDP:
		typ, proto = unix.SOCK_DGRAM, unix.IPPROTO_UDP
	case plan.ICMP:
		typ, proto = unix.SOCK_RAW, echoOf(f.Src.Addr()).proto
	default:
		return -1, &UnsupportedError{What: string(f.Proto)}
	}
	fd, err = unix.Socket(family(f.Src.Addr()), typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return -1, fmt.Errorf("open a %s socket: %w", f.Proto, err)
	}
	if err := prepare(fd, f); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// congestionControl of every TCP connection of a lab, whatever the machine's
// default is, so that results from two machines compare.
const congestionControl = "cubic"

// congestion asks for it on one socket. A kernel without it keeps the
// namespace's default; connections work all the same.
func congestion(fd int) {
	_ = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, congestionControl)
}

// number has a flow's connection begin at a sequence number of its own. Hosts of a lab
// share a kernel, and with it the secret and the clock of RFC 6528: equal flows of two of
// them would begin within a window of each other, as those of two machines never do, and
// the SYN of one, where it meets the other's connection, end it (RFC 9293, 3.10.7.4).
func number(fd int, f *plan.Flow) error {
	const sendQueue = 2 // TCP_SEND_QUEUE of linux/tcp.h
	for _, o := range [...]struct{ name, value int }{
		{unix.TCP_REPAIR, 1}, {unix.TCP_REPAIR_QUEUE, sendQueue},
		{unix.TCP_QUEUE_SEQ, int(int32(f.InitialSequence()))}, {unix.TCP_REPAIR, 0},
	} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, o.name, o.value); err != nil {
			return fmt.Errorf("set the first sequence number (TCP_REPAIR): %w", err)
		}
	}
	return nil
}

func prepare(fd int, f *plan.Flow) error {
	src := f.Src
	switch f.Proto {
	case plan.ICMP:
		src = netip.AddrPortFrom(src.Addr(), 0) // the port is the echo id
		if err := filterEcho(fd, echoOf(src.Addr()), f.Src.Port()); err != nil {
			return fmt.Errorf("filter echo replies: %w", err)
		}
		fallthrough
	case plan.UDP:
		if err := cautious(fd, src.Addr()); err != nil {
			return err
		}
	case plan.TCP:
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return fmt.Errorf("set TCP_NODELAY: %w", err)
		}
		congestion(fd)
		if err := number(fd, f); err != nil {
			return err
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("ask for receive times: %w", err)
	}
	// Flows to different targets may share a source port.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("set SO_REUSEADDR: %w", err)
	}
	if err := unix.Bind(fd, sockaddr(src)); err != nil {
		return fmt.Errorf("bind to %s: %w", src, err)
	}
	return nil
}

// conn is a flow's socket on the runtime's poller. It counts.
type conn struct {
	ctx      context.Context
	file     *os.File
	raw      syscall.RawConn
	stream   stream
	written  int64
	received int64
	pace     pace
	// arrived is when the last of what was read did.
	arrived time.Time
	// late is told of what is done that was due before.
	late func(due time.Time)
}

// newConn takes over fd.
func newConn(ctx context.Context, fd int, late func(due time.Time)) (*conn, error) {
	file := os.NewFile(uintptr(fd), "flow")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &conn{ctx: ctx, file: file, raw: raw, stream: stream{raw: raw}, late: late}, nil
}

// abort has close send a reset instead of saying goodbye: for a flow that has
// failed. The kernel would go on repeating what was never acknowledged, and keep
// the namespace for it after the lab has ended.
func (c *conn) abort() {
	c.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
}

// deadline bounds what follows, and keeps a cancelled flow cancelled.
func (c *conn) deadline(t time.Time) error {
	if err := c.file.SetDeadline(t); err != nil {
		return err
	}
	if c.ctx.Err() != nil {
		return c.file.SetDeadline(time.Unix(1, 0))
	}
	return nil
}

// interrupt unblocks the flow when its context is done; stop ends that.
func (c *conn) interrupt() (stop func() bool) {
	return context.AfterFunc(c.ctx, func() { c.file.SetDeadline(time.Unix(1, 0)) })
}

func (c *conn) Read(b []byte) (int, error) {
	n, at, err := c.stream.receive(b)
	if err == nil {
		c.arrived = at
		c.late(at)
	}
	if n == 0 && err == nil && len(b) > 0 {
		err = io.EOF
	}
	c.received += int64(n)
	c.pace.step(n)
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.file.Write(b)
	c.written += int64(n)
	c.pace.step(n)
	return n, err
}

// established waits until a connect in progress is over.
func (c *conn) established() error {
	var result error
	err := c.raw.Write(func(fd uintptr) bool {
		e, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			result = err
		case e != 0:
			result = unix.Errno(e)
		default:
			// Early wake-ups happen; only a peer proves a connection.
			if _, err := unix.Getpeername(int(fd)); err != nil {
				return false
			}
		}
		return true
	})
	return errors.Join(err, result)
}

// unacked is how many written bytes the peer has not acknowledged.
func (c *conn) unacked() int64 {
	var n int
	c.raw.Control(func(fd uintptr) {
		if v, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			n = v
		}
	})
	return int64(n)
}

// synRTT is set-up time as the kernel measured it; 0 if a SYN was repeated,
// for then it did not.
func (c *conn) synRTT() (rtt time.Duration) {
	c.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil && info.Total_retrans == 0 {
			rtt = time.Duration(info.Rtt) * time.Microsecond
		}
	})
	return rtt
}

// receive reads a datagram, and notes when that arrived.
func (c *conn) receive(b []byte) (n int, err error) {
	if n, c.arrived, err = receive(c.raw, b); err == nil {
		c.late(c.arrived)
	}
	return n, err
}

// failure says what an error of a flow's socket means for the flow. wait names
// what was waited for.
func (c *conn) failure(err error, wait string) (record.Result, string) {
	var errno syscall.Errno
	switch {
	case c.ctx.Err() != nil:
		return record.Failed, "interrupted"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return record.Lost, "timed out waiting for " + wait
	case errors.Is(err, syscall.ECONNREFUSED):
		return record.Refused, "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return record.Reset, "connection reset while waiting for " + wait
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return record.Lost, "a router answered that the destination is unreachable"
	case errors.As(err, &errno):
		return record.Failed, wait + ": " + errno.Error()
	}
	return record.Failed, wait + ": " + err.Error()
}
