// Package labtest is what tests of labs share: plans by hand, labs that end with
// their test and leave nothing; and of tunnels, a bare tunnel end, whose
// packets a test moves itself, and a TCP transfer between two namespaces.
//
// It is for tests; it opens everything in the namespaces that it is given and
// closes it with the test.
package labtest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/wire"
)

// Bare is the far side of a tunnel interface that emu/wire made: what the
// kernel routes into the interface comes out here, and the other way round.
type Bare struct {
	socket *afpacket.Socket
	tx     *afpacket.Sender
}

// NewBare opens the far side of an interface.
func NewBare(t *testing.T, ns *netns.NS, name string) *Bare {
	t.Helper()
	b := &Bare{}
	err := ns.Do(func() error {
		outside, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		peer, err := net.InterfaceByName(name + wire.PeerSuffix)
		if err != nil {
			return err
		}
		b.socket, err = afpacket.Listen(peer.Index)
		b.tx = afpacket.NewSender(b.socket, peer.HardwareAddr, outside.HardwareAddr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Send puts a packet on the interface. It is for one goroutine at a time.
func (b *Bare) Send(packet []byte) {
	b.tx.Whole(packet, pkt.Offload{}, 0)
	b.tx.Flush()
}

// Follow hands each packet that the kernel sends to f, finished and cut, until
// the test ends; the packet is valid until f returns. It closes b then.
func (b *Bare) Follow(t *testing.T, f func(packet []byte)) {
	stop := make(chan struct{})
	var worker sync.WaitGroup
	worker.Go(func() { b.follow(stop, f) })
	t.Cleanup(func() {
		close(stop)
		worker.Wait()
		b.socket.Close()
	})
}

func (b *Bare) follow(stop chan struct{}, f func([]byte)) {
	rx := afpacket.NewReceiver(b.socket)
	var cutter afpacket.Cutter
	for {
		select {
		case <-stop:
			return
		default:
		}
		if afpacket.Wait([]unix.PollFd{{Fd: int32(b.socket.Fd()), Events: unix.POLLIN}}, 20*time.Millisecond) != nil {
			return
		}
		n, err := rx.Receive()
		if err != nil {
			return
		}
		for i := range n {
			frame, h := rx.Frame(i)
			packet := frame[afpacket.EthernetHeader:]
			off, err := h.Offload(packet)
			if err != nil || !cutter.Reset(packet, off) {
				continue
			}
			for single := cutter.Next(); single != nil; single = cutter.Next() {
				f(single)
			}
		}
	}
}

// End is a place in a lab that a connection has one end at; at port 0 the kernel
// chooses.
type End struct {
	NS   *netns.NS
	Addr netip.AddrPort
}

// Transfer makes a TCP connection and sends n bytes each way over it; it returns
// the address that the server saw.
func Transfer(t *testing.T, from, to End, n int64) (seen netip.AddrPort) {
	t.Helper()
	client, server := connect(t, from, to)
	defer client.Close()
	defer server.Close()
	// A reset at the end: a socket that still has something to say would keep its
	// namespace.
	if err := server.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			if _, err := way[0].Write(make([]byte, n)); err != nil {
				t.Errorf("write: %v", err)
			}
		})
		both.Go(func() {
			if got, err := io.CopyN(io.Discard, way[1], n); err != nil {
				t.Errorf("read: %v after %d of %d bytes", err, got, n)
			}
		})
	}
	both.Wait()
	return server.RemoteAddr().(*net.TCPAddr).AddrPort()
}

func connect(t *testing.T, from, to End) (client net.Conn, server *net.TCPConn) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	var listener *net.TCPListener
	err := to.NS.Do(func() (err error) {
		listener, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(to.Addr))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = from.NS.Do(func() (err error) {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from.Addr), Deadline: deadline}
		d.SetMultipathTCP(false)
		client, err = d.DialContext(t.Context(), "tcp4", listener.Addr().String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	if server, err = listener.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(client.SetDeadline(deadline), server.SetDeadline(deadline)); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// UDP opens a socket at an end.
func UDP(t *testing.T, at End) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := at.NS.Do(func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at.Addr))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// patience is how long an answer may take.
const patience = 30 * time.Second

// Ask sends a question and returns the answer.
func Ask(t *testing.T, c *net.UDPConn, to netip.AddrPort, question string) string {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteToUDPAddrPort([]byte(question), to); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2048)
	n, _, err := c.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// Narrow sends what a router sends whose next link takes no more than mtu: the ICMP
// error for a UDP datagram from one address to another (RFC 1191), out of ns.
func Narrow(t testing.TB, ns *netns.NS, from, to netip.AddrPort, mtu uint16) {
	t.Helper()
	b := make([]byte, 8, 8+pkt.IPv4Header+pkt.UDPHeader)
	b[0], b[1] = 3, 4
	binary.BigEndian.PutUint16(b[6:], mtu)
	b = append(b, 0x45, 0, 0x05, 0xdc, 0, 0, 0x40, 0, 64, pkt.ProtoUDP, 0, 0)
	b = append(append(b, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, from.Port()), to.Port())
	b = append(b, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(b[2:], ^checksum.Checksum(b, 0))
	err := ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		if err != nil {
			return err
		}
		return errors.Join(unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Addr: from.Addr().As4()}), unix.Close(fd))
	})
	if err != nil {
		t.Fatalf("ICMP error to %v: %v", from, err)
	}
}
