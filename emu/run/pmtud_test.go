package run_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
)

const (
	tunnelMTU  = 1476 // of GRE over IPv4 on Ethernet
	tunnelMSS  = tunnelMTU - 40
	headers    = 28 // IPv4 and UDP, or ICMP echo
	tooBig     = 1500 - headers
	fittingMax = tunnelMTU - headers
)

// RT-14, live: TCP never needs path MTU discovery, since both ends are told
// segments that fit; a datagram that does not fit and must not be fragmented is
// refused toward its sender, by the branch's router on the way out and by the
// hub on the way back, with the tunnel's MTU.
func TestLiveRT14(t *testing.T) {
	for _, io := range []agent.IO{agent.IOVnet, agent.IOPlain} {
		t.Run(string(io), func(t *testing.T) {
			if io == agent.IOVnet {
				need.BPF(t)
			}
			file := filepath.Join(t.TempDir(), "capture.pcapng")
			p := compile(t, fmt.Sprintf(lab, true, "traffic: [{id: same, from: shop.*.till, to: web, tcp: 443, source_port: 40000, request: 256KiB, response: 1MiB}]"))
			r := live(t, p, run.Options{IO: io, Capture: file, Keep: func(_ context.Context, doors []run.Door) {
				in := roomsOf(doors)
				t.Run("datagrams", func(t *testing.T) { refusedBothWays(t, in) })
				t.Run("ping", func(t *testing.T) { refusedPing(t, in) })
			}})
			wantAll(t, r, record.OK)
			wantClamped(t, file)
		})
	}
}

// refusedPing asks ping: the kernel of the till may have learnt by now, and
// refuse by itself, so a host route's age does not matter to the verdict.
func refusedPing(t *testing.T, in rooms) {
	ping := need.Tool(t, "ping")
	send := func(size int) []answer {
		return in.atOnce(t, 10*time.Second, func(int) *exec.Cmd {
			return exec.Command(ping, "-n", "-M", "do", "-s", strconv.Itoa(size), "-c", "1", "-W", "2", origin)
		})
	}
	for _, a := range send(fittingMax) {
		a.wantEnd(t)
	}
	for _, a := range send(tooBig) {
		if a.err == nil || !strings.Contains(a.out+a.stderr, fmt.Sprint(tunnelMTU)) {
			t.Errorf("site %d: %v, want a refusal that names %d:\n%s%s", a.site, a.err, tunnelMTU, a.out, a.stderr)
		}
	}
}

// refusedBothWays sends datagrams with DF from every till to one port of the
// origin, and back.
func refusedBothWays(t *testing.T, in rooms) {
	server := netip.MustParseAddrPort(origin + ":9000")
	sink := datagrams(t, in, "web", server)
	for site := 1; site <= tills; site++ {
		client := datagrams(t, in, tillNode(site), netip.MustParseAddrPort(till+":40002"))
		client.connect(t, server)
		client.wantRefused(t, fmt.Sprintf("site %d to origin", site), netip.MustParseAddr(router))

		client.send(t, fittingMax)
		n, from := sink.receive(t)
		if n != fittingMax || !pool.Contains(from.Addr()) {
			t.Errorf("site %d: %d bytes from %s arrived, want %d from %s", site, n, from, fittingMax, pool)
		}
		back := datagrams(t, in, "web", server)
		back.connect(t, from)
		// The hub speaks as the destination: the one address on the path that
		// the sender knows.
		back.wantRefused(t, fmt.Sprintf("origin to site %d", site), from.Addr())
		back.send(t, fittingMax)
		if n, from := client.receive(t); n != fittingMax || from != server {
			t.Errorf("site %d: %d bytes from %s came back, want %d from %s", site, n, from, fittingMax, server)
		}
	}
}

// datagram is a UDP socket that sets DF, discovers the path MTU, and queues errors.
type datagram struct{ fd int }

func datagrams(t *testing.T, in rooms, node string, at netip.AddrPort) datagram {
	t.Helper()
	d := datagram{-1}
	in.do(t, node, func() (err error) {
		d.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	t.Cleanup(func() {
		if err := unix.Close(d.fd); err != nil {
			t.Error(err)
		}
	})
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, // the origin has a socket for each peer, too
		{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO},
		{unix.IPPROTO_IP, unix.IP_RECVERR, 1},
	} {
		if err := unix.SetsockoptInt(d.fd, o.level, o.name, o.value); err != nil {
			t.Fatal(err)
		}
	}
	timeout := unix.Timeval{Sec: 3}
	if err := unix.SetsockoptTimeval(d.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(d.fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d datagram) connect(t *testing.T, to netip.AddrPort) {
	t.Helper()
	if err := unix.Connect(d.fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		t.Fatal(err)
	}
}

func (d datagram) send(t *testing.T, size int) {
	t.Helper()
	if err := unix.Send(d.fd, make([]byte, size), 0); err != nil {
		t.Fatalf("send %d bytes: %v", size, err)
	}
}

func (d datagram) receive(t *testing.T) (int, netip.AddrPort) {
	t.Helper()
	n, from, err := unix.Recvfrom(d.fd, make([]byte, 2048), 0)
	if err != nil {
		t.Fatalf("nothing arrived: %v", err)
	}
	a, ok := from.(*unix.SockaddrInet4)
	if !ok {
		t.Fatalf("a datagram from %T", from)
	}
	return n, netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
}

// wantRefused sends what is too big: by tells so, and the kernel then refuses
// the next one by itself.
func (d datagram) wantRefused(t *testing.T, way string, by netip.Addr) {
	t.Helper()
	d.send(t, tooBig)
	e, from, err := d.complaint()
	if err != nil {
		t.Fatalf("%s: no answer to %d bytes with DF: %v", way, tooBig, err)
	}
	if e.Errno != uint32(unix.EMSGSIZE) || e.Origin != unix.SO_EE_ORIGIN_ICMP || e.Type != 3 || e.Code != 4 || e.Info != tunnelMTU || from != by {
		t.Errorf("%s: %s answered errno %d, origin %d, ICMP %d/%d, MTU %d; want EMSGSIZE by ICMP 3/4 with MTU %d from %s", way, from, e.Errno, e.Origin, e.Type, e.Code, e.Info, tunnelMTU, by)
	}
	if err := unix.Send(d.fd, make([]byte, tooBig), 0); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("%s: the second send of %d bytes: %v, want EMSGSIZE", way, tooBig, err)
	}
	if _, _, err := d.complaint(); err != nil { // the kernel's own, so that later calls do not return it
		t.Errorf("%s: the kernel's refusal is not queued: %v", way, err)
	}
	if mtu, err := unix.GetsockoptInt(d.fd, unix.IPPROTO_IP, unix.IP_MTU); err != nil || mtu != tunnelMTU {
		t.Errorf("%s: the kernel's path MTU is %d (%v), want %d", way, mtu, err, tunnelMTU)
	}
}

// complaint waits for an error on the socket's queue, and who sent it.
func (d datagram) complaint() (e unix.SockExtendedErr, from netip.Addr, err error) {
	fds := []unix.PollFd{{Fd: int32(d.fd)}} // POLLERR needs no asking
	if n, err := unix.Poll(fds, 3000); n == 0 || err != nil {
		return e, from, fmt.Errorf("poll: %d events, %w", n, errors.Join(err, unix.ETIMEDOUT))
	}
	control := make([]byte, 512)
	_, n, _, _, err := unix.Recvmsg(d.fd, make([]byte, 2048), control, unix.MSG_ERRQUEUE)
	if err != nil {
		return e, from, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return e, from, err
	}
	for _, m := range messages {
		if m.Header.Level != unix.IPPROTO_IP || m.Header.Type != unix.IP_RECVERR {
			continue
		}
		if _, err := binary.Decode(m.Data, binary.NativeEndian, &e); err != nil {
			return e, from, err
		}
		// struct sockaddr_in of the offender follows: family, port, address.
		if rest := m.Data[binary.Size(e):]; len(rest) >= 8 {
			from, _ = netip.AddrFromSlice(rest[4:8])
		}
		return e, from, nil
	}
	return e, from, errors.New("an error without an extended one")
}

// wantClamped looks for the connections' SYNs in the capture: both ends are
// told a segment size that fits the tunnel, already inside it, and no ICMP
// error quotes TCP.
func wantClamped(t *testing.T, file string) {
	t.Helper()
	seen := map[string]int{}
	eachPacket(t, file, func(point string, packet gopacket.Packet) {
		node, _, _ := strings.Cut(point, "/")
		if icmp, ok := packet.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok && icmp.TypeCode.Type() == layers.ICMPv4TypeDestinationUnreachable {
			seen["refusal"]++
			if q := icmp.Payload; len(q) > 9 && q[9] == unix.IPPROTO_TCP {
				t.Errorf("at %s: %s about a TCP segment", point, icmp.TypeCode)
			}
		}
		where := clampedWhere(node, packet)
		if where == "" {
			return
		}
		seen[where]++
		if got := mss(packet.Layer(layers.LayerTypeTCP).(*layers.TCP)); got != tunnelMSS {
			t.Errorf("at %s, %s: MSS %d, want %d", point, where, got, tunnelMSS)
		}
	})
	for _, where := range []string{"SYN in a tunnel", "SYN to the origin", "SYN-ACK in a tunnel", "SYN-ACK to a till"} {
		if seen[where] < tills {
			t.Errorf("the capture has %d times %q, want at least %d", seen[where], where, tills)
		}
	}
	if seen["refusal"] == 0 {
		t.Error("the capture has no refusal: it cannot tell that none was about TCP")
	}
}

// clampedWhere says which SYN that must be clamped a packet is, if any: those
// in tunnels (hand-overs have a key), and those that reach a host.
func clampedWhere(node string, packet gopacket.Packet) string {
	tcp, isTCP := packet.Layer(layers.LayerTypeTCP).(*layers.TCP)
	ip, isIP := packet.NetworkLayer().(*layers.IPv4)
	if !isTCP || !isIP || !tcp.SYN {
		return ""
	}
	name := "SYN"
	if tcp.ACK {
		name = "SYN-ACK"
	}
	if gre, ok := packet.Layer(layers.LayerTypeGRE).(*layers.GRE); ok {
		if gre.KeyPresent {
			return ""
		}
		return name + " in a tunnel"
	}
	src, _ := netip.AddrFromSlice(ip.SrcIP)
	switch {
	case !tcp.ACK && pool.Contains(src) && strings.HasPrefix(node, "transit."):
		return name + " to the origin"
	case tcp.ACK && ip.DstIP.String() == till && strings.HasSuffix(node, ".router"):
		return name + " to a till"
	}
	return ""
}

func mss(tcp *layers.TCP) int {
	for _, o := range tcp.Options {
		if o.OptionType == layers.TCPOptionKindMSS && len(o.OptionData) == 2 {
			return int(binary.BigEndian.Uint16(o.OptionData))
		}
	}
	return 0
}
