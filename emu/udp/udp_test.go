package udp_test

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/udp"
	"github.com/homeward-lab/homeward/internal/need"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// pair is two sockets in a namespace of their own, a connected to b.
func pair(t *testing.T) (ns *netns.NS, a, b int) { return pairAt(t, loopback) }

// pairAt is pair at an address of the loopback interface.
func pairAt(t *testing.T, local netip.AddrPort) (ns *netns.NS, a, b int) {
	t.Helper()
	need.Root(t)
	var err error
	ns, err = netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	err = ns.Do(func() error {
		if err := up("lo"); err != nil {
			return err
		}
		if b, err = udp.Open(local); err != nil {
			return err
		}
		if a, err = udp.Open(local); err != nil {
			return err
		}
		at, err := unix.Getsockname(b)
		if err != nil {
			return err
		}
		port := 0
		switch at := at.(type) {
		case *unix.SockaddrInet4:
			port = at.Port
		case *unix.SockaddrInet6:
			port = at.Port
		}
		return udp.Connect(a, netip.AddrPortFrom(local.Addr(), uint16(port)))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(a); unix.Close(b) })
	return ns, a, b
}

// up raises an interface of the calling thread's namespace.
func up(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

func TestDatagrams(t *testing.T) {
	_, a, b := pair(t)
	buf := make([]byte, 5)
	if n, _, ok, err := udp.Receive(b, buf); n != 0 || ok || err != nil {
		t.Errorf("Receive of nothing = %d, %v, %v", n, ok, err)
	}
	for _, d := range []string{"one", "", "two and more"} {
		if _, err := udp.Send(a, []byte(d), pkt.NotECT); err != nil {
			t.Fatal(err)
		}
		n, _, ok, err := udp.Receive(b, buf)
		if want := d[:min(len(d), 5)]; string(buf[:n]) != want || !ok || err != nil {
			t.Errorf("Receive = %q, %v, %v; want %q", buf[:n], ok, err, want)
		}
	}
	if _, _, _, err := udp.Receive(-1, buf); !errors.Is(err, unix.EBADF) {
		t.Errorf("Receive of no socket = %v, want EBADF", err)
	}
}

// A datagram says of congestion what it is told to, and who takes it hears that, of
// either family (RFC 6040).
func TestECN(t *testing.T) {
	for _, local := range []netip.AddrPort{loopback, netip.MustParseAddrPort("[::1]:0")} {
		_, a, b := pairAt(t, local)
		buf := make([]byte, 5)
		for _, e := range []pkt.ECN{pkt.ECT0, pkt.NotECT, pkt.ECT1, pkt.CE} {
			if _, err := udp.Send(a, []byte("?"), e); err != nil {
				t.Fatal(err)
			}
			if n, got, ok, err := udp.Receive(b, buf); n != 1 || got != e || !ok || err != nil {
				t.Errorf("%v: Receive = %d with ECN %d, %v, %v; want %d", local, n, got, ok, err, e)
			}
		}
		allocs := testing.AllocsPerRun(100, func() {
			_, _ = udp.Send(a, buf[:1], pkt.ECT0)
			_, _, _, _ = udp.Receive(b, buf)
		})
		if allocs != 0 {
			t.Errorf("%v allocations for a datagram, want 0", allocs)
		}
	}
}

// A datagram that would have to be cut is not sent.
func TestNothingIsFragmented(t *testing.T) {
	_, a, b := pair(t)
	if _, err := udp.Send(a, make([]byte, 1<<16-28), pkt.NotECT); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("Send of more than the link holds = %v, want EMSGSIZE", err)
	}
	if _, err := udp.Send(a, []byte("short"), pkt.NotECT); err != nil {
		t.Fatal(err)
	}
	if n, _, ok, _ := udp.Receive(b, make([]byte, 10)); n != 5 || !ok {
		t.Errorf("Receive = %d, %v; want the short one", n, ok)
	}
}

func TestLostIsCounted(t *testing.T) {
	_, a, b := pair(t)
	if err := unix.SetsockoptInt(b, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil { // the least there is
		t.Fatal(err)
	}
	const most = 1000
	for range most {
		if _, err := udp.Send(a, make([]byte, 1000), pkt.NotECT); err != nil {
			t.Fatal(err)
		}
	}
	kept := uint64(0)
	for {
		_, _, ok, err := udp.Receive(b, make([]byte, 1000))
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		kept++
	}
	if lost, err := udp.Lost(b); err != nil || kept == 0 || lost != most-kept {
		t.Errorf("Lost = %d, %v; want %d", lost, err, most-kept)
	}
}

// An error that the kernel tells of an earlier datagram stops nobody.
func TestRefusalOfAnEarlierDatagram(t *testing.T) {
	_, a, b := pair(t)
	if err := unix.Close(b); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := udp.Send(a, []byte("?"), pkt.NotECT); err != nil {
			t.Errorf("Send = %v", err)
		}
	}
	if _, _, ok, err := udp.Receive(a, make([]byte, 10)); ok || err != nil {
		t.Errorf("Receive = %v, %v; want nothing", ok, err)
	}
	if _, err := udp.Open(netip.MustParseAddrPort("192.0.2.1:0")); err == nil {
		t.Error("Open at an address of somebody else: no error")
	} else if !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("Open at an address of somebody else = %v, want EADDRNOTAVAIL", err)
	}
}

// A connected socket is told of an ICMP error once, by whatever it does next.
func TestNarrowerPath(t *testing.T) {
	for _, asks := range []string{"Receive", "Send"} {
		t.Run(asks, func(t *testing.T) {
			ns, a, b := pair(t)
			labtest.Narrow(t, ns, local(t, a), local(t, b), 1300)
			buf := make([]byte, 10)
			for i, told := range []bool{true, false} {
				var narrower bool
				var err error
				if asks == "Send" {
					narrower, err = udp.Send(a, []byte("goes out"), pkt.NotECT)
				} else if _, _, _, err = udp.Receive(a, buf); err == unix.EMSGSIZE {
					narrower, err = true, nil
				}
				if narrower != told || err != nil {
					t.Errorf("%d: told = %v, %v; want %v", i, narrower, err, told)
				}
			}
			if mtu, err := udp.PathMTU(a); mtu != 1300 || err != nil {
				t.Errorf("PathMTU = %d, %v; want 1300", mtu, err)
			}
		})
	}
}

// local is the address of a socket.
func local(t *testing.T, fd int) netip.AddrPort {
	t.Helper()
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	v4 := at.(*unix.SockaddrInet4)
	return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), uint16(v4.Port))
}
