package pathbench

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/afxdp"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/loop"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Movers are what userspace costs before it decides anything: threads that take
// packets as a hub does and send them on as they are. No hub can be faster.

// attached is something else at an uplink.
type attached struct {
	close func() error
	// thread is the one of this process that works for it; nil: none does.
	thread *atomic.Int32
}

// echo sends frames back out of the link that they came in by, with other MAC
// addresses, by AF_XDP.
type echo struct {
	socket *afxdp.Socket
	head   []byte
	thread atomic.Int32
}

// attachEcho puts an echo at an uplink.
func attachEcho(ifindex int, macs [12]byte) (attached, error) {
	s, err := afxdp.Open(ifindex)
	if err != nil {
		return attached{}, err
	}
	divert, err := bpf.AttachSocket(bpf.SocketOptions{Interface: ifindex, Socket: s.Fd()})
	if err != nil {
		return attached{}, errors.Join(err, s.Close())
	}
	e := &echo{socket: s, head: append(macs[:], 8, 0)} // IPv4
	l, err := loop.Start(e)
	if err != nil {
		return attached{}, errors.Join(err, divert.Close(), s.Close())
	}
	l.Ring() // its first turn says which thread it is
	return attached{closers{s.Close, divert.Close, l.Stop}.close, &e.thread}, nil
}

// Descriptors implements loop.Worker.
func (e *echo) Descriptors(fds []int) []int { return append(fds, e.socket.Fd()) }

// Patience implements loop.Worker.
func (e *echo) Patience() time.Duration { return -1 }

// Turn implements loop.Worker. It waits as a server's process does.
func (e *echo) Turn() error {
	e.thread.Store(int32(unix.Gettid()))
	fds := []unix.PollFd{{Fd: int32(e.socket.Fd()), Events: unix.POLLIN}}
	for more := true; more; more = fds[0].Revents != 0 {
		for n := e.socket.Receive(); n > 0; n = e.socket.Receive() {
			for i := range n {
				e.socket.Put(e.head, e.socket.Frame(i)[afpacket.EthernetHeader:])
			}
			e.socket.Flush()
		}
		if err := afpacket.Wait(fds, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// copier passes packets on between two links by packet sockets with virtio
// headers: superpackets stay whole. The kernel copies each of their bytes twice.
type copier struct {
	fds []int
	rx  [2]*afpacket.Receiver
	tx  [2]*afpacket.Sender
}

// copyOn has the routers copy instead of routing.
func copyOn(nodes ...int) func(*keeper.Lab, *plan.Plan, int) (func() error, error) {
	return func(lab *keeper.Lab, p *plan.Plan, _ int) (func() error, error) {
		var all closers
		for _, node := range nodes {
			err := lab.NS(chainNode(node)).Do(func() error { return startCopier(p, node, &all) })
			if err != nil {
				return nil, errors.Join(fmt.Errorf("copier: %w", err), all.close())
			}
		}
		return all.close, nil
	}
}

// startCopier starts one in the namespace of the calling thread.
func startCopier(p *plan.Plan, node int, all *closers) error {
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0); err != nil {
		return err
	}
	before, behind := p.Links[node-1], p.Links[node]
	c := new(copier)
	for i, side := range []struct {
		name     string
		from, to net.HardwareAddr // of what is sent there
	}{{"left", before.B.MAC, before.A.MAC}, {"right", behind.A.MAC, behind.B.MAC}} {
		link, err := netlink.LinkByName(side.name)
		if err != nil {
			return err
		}
		sink, err := attachSink(link.Attrs().Index)
		if err != nil {
			return err
		}
		s, err := afpacket.Listen(link.Attrs().Index)
		if err != nil {
			return errors.Join(err, sink())
		}
		*all = append(*all, sink, s.Close)
		c.fds = append(c.fds, s.Fd())
		c.rx[i], c.tx[1-i] = afpacket.NewReceiver(s), afpacket.NewSender(s, side.from, side.to)
	}
	l, err := loop.Start(c)
	if err != nil {
		return err
	}
	// A server's process would have the scheduler to itself.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	*all = append(*all, l.Stop, func() error {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) - 1)
		return nil
	})
	return nil
}

// Descriptors implements loop.Worker.
func (c *copier) Descriptors(fds []int) []int { return append(fds, c.fds...) }

// Patience implements loop.Worker.
func (c *copier) Patience() time.Duration { return -1 }

// Turn implements loop.Worker.
func (c *copier) Turn() error {
	for i, rx := range c.rx {
		n, err := rx.Receive()
		if err != nil {
			return err
		}
		for k := range n {
			frame, h := rx.Frame(k)
			packet, ok := afpacket.Packet(frame)
			if !ok {
				continue
			}
			off, err := h.Offload(packet)
			if err != nil {
				return err
			}
			c.tx[i].Whole(packet, off, 0)
		}
		c.tx[i].Flush()
	}
	return nil
}
