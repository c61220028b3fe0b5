package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// backlog of a listener; the kernel caps it at net.core.somaxconn.
const backlog = 1 << 15

// origin is what serves one plan.Service.
type origin struct {
	svc     plan.Service
	opt     Options
	signers sync.Pool // *signer
	buffers buffers

	once    sync.Once
	ending  atomic.Bool
	closers []io.Closer
	running sync.WaitGroup
	stop    func() bool
}

// Serve starts a service in the namespace and returns at once when it listens.
// It ends with ctx or with Close, which waits for everything to be closed and
// is idempotent.
func Serve(ctx context.Context, ns *netns.NS, svc plan.Service, opt Options) (io.Closer, error) {
	o := &origin{svc: svc, opt: opt}
	o.signers.New = func() any { return newSigner(opt.Key) }
	var start func(fd int, at netip.AddrPort) error
	typ := unix.SOCK_STREAM
	switch svc.Kind {
	case "http":
		serve := o.serveHTTP()
		start = func(fd int, _ netip.AddrPort) error { return serve(fd) }
	case "echo":
		typ, start = unix.SOCK_DGRAM, func(fd int, _ netip.AddrPort) error { return o.serveEcho(fd) }
	case spec.DNS:
		typ, start = unix.SOCK_DGRAM, o.serveNames()
	default:
		return nil, &UnsupportedError{What: "service " + svc.Kind}
	}
	for _, address := range addresses(&svc) {
		for _, port := range svc.Ports {
			at := netip.AddrPortFrom(address, port)
			fd, err := listen(ns, typ, at)
			if err == nil {
				err = start(fd, at)
			}
			if err != nil {
				o.Close()
				return nil, fmt.Errorf("%s: serve %s at %s: %w", svc.Node, svc.Kind, at, err)
			}
		}
	}
	o.stop = context.AfterFunc(ctx, o.shut)
	return o, nil
}

// Close ends the service.
func (o *origin) Close() error {
	if o.stop != nil {
		o.stop()
	}
	o.shut()
	o.running.Wait()
	return nil
}

func (o *origin) shut() {
	o.once.Do(func() {
		o.ending.Store(true)
		for _, c := range o.closers {
			c.Close()
		}
	})
}

// listen makes a listening socket by hand: net.Listen does not promise which
// thread makes its socket, and asks for MPTCP.
func listen(ns *netns.NS, typ int, at netip.AddrPort) (fd int, err error) {
	err = ns.Do(func() error {
		fd, err = unix.Socket(family(at.Addr()), typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, err
	}
	if err := bindListen(fd, typ, at); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func bindListen(fd, typ int, at netip.AddrPort) error {
	// Without, nobody knows how late it answers; accepted sockets inherit this.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	if !at.Addr().Is4() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	if typ == unix.SOCK_DGRAM {
		// Thousands of datagrams may arrive at one instant. Best effort: the
		// force needs CAP_NET_ADMIN, and the default works for less.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
		if err := cautious(fd, at.Addr()); err != nil {
			return err
		}
		return unix.Bind(fd, sockaddr(at))
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	// A client that vanished must not hold a connection for ever; accepted
	// sockets inherit this, too. Milliseconds.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 60_000); err != nil {
		return err
	}
	congestion(fd) // likewise
	if err := unix.Bind(fd, sockaddr(at)); err != nil {
		return err
	}
	return unix.Listen(fd, backlog)
}

// listener is Go's form of a listening descriptor. Connections that are closed
// while the origin ends are reset: what a client has not acknowledged by then, the
// kernel would go on repeating after the lab has ended.
type listener struct {
	net.Listener
	of *origin
}

// newListener takes fd over.
func newListener(fd int, of *origin) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	return listener{l, of}, err
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if t, ok := c.(*net.TCPConn); ok {
		raw, err := t.SyscallConn()
		return accepted{t, &stream{raw: raw}, l.of}, err
	}
	return c, err
}

type accepted struct {
	*net.TCPConn
	stream *stream
	of     *origin
}

// Read tells how late it is.
func (a accepted) Read(b []byte) (int, error) {
	n, at, err := a.stream.receive(b)
	switch {
	case err != nil:
		return 0, err
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	a.of.opt.Late.due(a.of.svc.Node, at)
	return n, nil
}

func (a accepted) Close() error {
	if a.of.ending.Load() {
		_ = a.SetLinger(0) // fails if it is closed already
	} else {
		// From here on the kernel bounds the goodbye: its own bound for what
		// nobody holds (tcp_orphan_retries), which the timeout would override.
		_ = a.stream.raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 0)
		})
	}
	return a.TCPConn.Close()
}

// packetConn likewise for UDP.
func packetConn(fd int) (*net.UDPConn, error) {
	f := os.NewFile(uintptr(fd), "echo")
	defer f.Close()
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("want a UDP socket, got %T", c), c.Close())
	}
	return u, nil
}
