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

// tunnelMTU is that of GRE over IPv4 on Ethernet.
const tunnelMTU = 1476

// RT-14, live: TCP never needs path MTU discovery, since both ends are told
// segments that fit; a datagram that does not fit and must not be fragmented is
// refused toward its sender, by the branch's router on the way out and by the
// hub on the way back, with the tunnel's MTU.
func TestLiveRT14(t *testing.T) { each(t, rt14) }

func rt14(t *testing.T, w world) {
	for _, io := range []agent.IO{agent.IOVnet, agent.IOPlain} {
		t.Run(string(io), func(t *testing.T) {
			if io == agent.IOVnet {
				need.BPF(t)
			}
			file := filepath.Join(t.TempDir(), "capture.pcapng")
			p := w.plan(t, "traffic: [{id: same, from: shop.*.till, to: web, tcp: 443, source_port: 40000, request: 256KiB, response: 1MiB}]")
			r := live(t, p, run.Options{IO: io, Capture: file, Keep: func(_ context.Context, doors []run.Door) {
				in := roomsOf(doors)
				t.Run("datagrams", func(t *testing.T) { refusedBothWays(t, in, w) })
				t.Run("ping", func(t *testing.T) { refusedPing(t, in, w) })
			}})
			wantAll(t, r, record.OK)
			wantClamped(t, file, w)
		})
	}
}

// refusedPing asks ping: the kernel of the till may have learnt by now, and
// refuse by itself, so a host route's age does not matter to the verdict.
func refusedPing(t *testing.T, in rooms, w world) {
	ping := need.Tool(t, "ping")
	send := func(size int) []answer {
		return in.atOnce(t, 10*time.Second, func(int) *exec.Cmd {
			return exec.Command(ping, "-n", "-M", "do", "-s", strconv.Itoa(size), "-c", "1", "-W", "2", w.origin)
		})
	}
	for _, a := range send(w.fitting()) {
		a.wantEnd(t)
	}
	for _, a := range send(w.tooBig()) {
		if a.err == nil || !strings.Contains(a.out+a.stderr, fmt.Sprint(tunnelMTU)) {
			t.Errorf("site %d: %v, want a refusal that names %d:\n%s%s", a.site, a.err, tunnelMTU, a.out, a.stderr)
		}
	}
}

// refusedBothWays sends datagrams with DF from every till to one port of the
// origin, and back.
func refusedBothWays(t *testing.T, in rooms, w world) {
	server := netip.MustParseAddrPort(w.at(9000))
	sink := datagrams(t, in, w, "web", server)
	for site := 1; site <= tills; site++ {
		client := datagrams(t, in, w, tillNode(site), netip.AddrPortFrom(netip.MustParseAddr(w.till), 40002))
		client.connect(t, server)
		client.wantRefused(t, fmt.Sprintf("site %d to origin", site), netip.MustParseAddr(w.router))

		client.send(t, w.fitting())
		n, from := sink.receive(t)
		if n != w.fitting() || !w.pool.Contains(from.Addr()) {
			t.Errorf("site %d: %d bytes from %s arrived, want %d from %s", site, n, from, w.fitting(), w.pool)
		}
		back := datagrams(t, in, w, "web", server)
		back.connect(t, from)
		// The hub speaks as the destination: the one address on the path that
		// the sender knows.
		back.wantRefused(t, fmt.Sprintf("origin to site %d", site), from.Addr())
		back.send(t, w.fitting())
		if n, from := client.receive(t); n != w.fitting() || from != server {
			t.Errorf("site %d: %d bytes from %s came back, want %d from %s", site, n, from, w.fitting(), server)
		}
	}
}

// datagram is a UDP socket that sets DF, discovers the path MTU, and queues errors.
type datagram struct {
	fd int
	w  world
}

func datagrams(t *testing.T, in rooms, w world, node string, at netip.AddrPort) datagram {
	t.Helper()
	d := datagram{-1, w}
	in.do(t, node, func() (err error) {
		d.fd, err = unix.Socket(w.errors.family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	t.Cleanup(func() {
		if err := unix.Close(d.fd); err != nil {
			t.Error(err)
		}
	})
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, // the origin has a socket for each peer, too
		{w.errors.level, w.errors.discover, w.errors.never},
		{w.errors.level, w.errors.receive, 1},
	} {
		if err := unix.SetsockoptInt(d.fd, o.level, o.name, o.value); err != nil {
			t.Fatal(err)
		}
	}
	timeout := unix.Timeval{Sec: 3}
	if err := unix.SetsockoptTimeval(d.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(d.fd, sockaddr(at)); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d datagram) connect(t *testing.T, to netip.AddrPort) {
	t.Helper()
	if err := unix.Connect(d.fd, sockaddr(to)); err != nil {
		t.Fatal(err)
	}
}

// send sends what fits. The kernel queues an ICMP error first and marks the socket
// with it afterwards (__udp4_lib_err): who takes it off the queue in between finds
// the mark at its next call, once, and nothing was sent by that.
func (d datagram) send(t *testing.T, size int) {
	t.Helper()
	err := unix.Send(d.fd, make([]byte, size), 0)
	if errors.Is(err, unix.EMSGSIZE) {
		err = unix.Send(d.fd, make([]byte, size), 0)
	}
	if err != nil {
		t.Fatalf("send %d bytes: %v", size, err)
	}
}

func (d datagram) receive(t *testing.T) (int, netip.AddrPort) {
	t.Helper()
	n, from, err := unix.Recvfrom(d.fd, make([]byte, 2048), 0)
	if err != nil {
		t.Fatalf("nothing arrived: %v", err)
	}
	return n, addrPort(from)
}

// wantRefused sends what is too big: by tells so, and the kernel then refuses
// the next one by itself.
func (d datagram) wantRefused(t *testing.T, way string, by netip.Addr) {
	t.Helper()
	d.send(t, d.w.tooBig())
	want := d.w.errors
	e, from, err := d.complaint()
	if err != nil {
		t.Fatalf("%s: no answer to %d bytes with DF: %v", way, d.w.tooBig(), err)
	}
	if e.Errno != uint32(unix.EMSGSIZE) || int(e.Origin) != want.origin || e.Type != want.kind || e.Code != want.code || e.Info != tunnelMTU || from != by {
		t.Errorf("%s: %s answered errno %d, origin %d, ICMP %d/%d, MTU %d; want EMSGSIZE by ICMP %d/%d with MTU %d from %s", way, from, e.Errno, e.Origin, e.Type, e.Code, e.Info, want.kind, want.code, tunnelMTU, by)
	}
	if err := unix.Send(d.fd, make([]byte, d.w.tooBig()), 0); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("%s: the second send of %d bytes: %v, want EMSGSIZE", way, d.w.tooBig(), err)
	}
	if _, _, err := d.complaint(); err != nil { // the kernel's own, so that later calls do not return it
		t.Errorf("%s: the kernel's refusal is not queued: %v", way, err)
	}
	if mtu, err := unix.GetsockoptInt(d.fd, want.level, want.mtu); err != nil || mtu != tunnelMTU {
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
		if int(m.Header.Level) != d.w.errors.level || int(m.Header.Type) != d.w.errors.receive {
			continue
		}
		if _, err := binary.Decode(m.Data, binary.NativeEndian, &e); err != nil {
			return e, from, err
		}
		// The offender's struct sockaddr_in or sockaddr_in6 follows.
		at := d.w.errors.offender
		if rest := m.Data[binary.Size(e):]; len(rest) >= at[1] {
			from, _ = netip.AddrFromSlice(rest[at[0]:at[1]])
		}
		return e, from, nil
	}
	return e, from, errors.New("an error without an extended one")
}

// wantClamped looks for the connections' SYNs in the capture: both ends are
// told a segment size that fits the tunnel, already inside it, and no ICMP
// error quotes TCP.
func wantClamped(t *testing.T, file string, w world) {
	t.Helper()
	seen := map[string]int{}
	eachPacket(t, file, func(point string, packet gopacket.Packet) {
		node, _, _ := strings.Cut(point, "/")
		if about, refused := refusal(packet); refused {
			seen["refusal"]++
			if about == unix.IPPROTO_TCP {
				t.Errorf("at %s: a refusal of a TCP segment", point)
			}
		}
		where := clampedWhere(node, packet, w)
		if where == "" {
			return
		}
		seen[where]++
		if got := mss(packet.Layer(layers.LayerTypeTCP).(*layers.TCP)); got != w.mss() {
			t.Errorf("at %s, %s: MSS %d, want %d", point, where, got, w.mss())
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

// refusal says of what protocol the packet was that an ICMP error calls too big.
func refusal(packet gopacket.Packet) (about uint8, ok bool) {
	if icmp, is := packet.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); is && icmp.TypeCode.Type() == layers.ICMPv4TypeDestinationUnreachable && len(icmp.Payload) > 9 {
		return icmp.Payload[9], true
	}
	// The MTU precedes the quote (RFC 4443 section 3.2).
	if icmp, is := packet.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); is && icmp.TypeCode.Type() == layers.ICMPv6TypePacketTooBig && len(icmp.Payload) > 10 {
		return icmp.Payload[4+6], true
	}
	return 0, false
}

// clampedWhere says which SYN that must be clamped a packet is, if any: those
// in tunnels (hand-overs have a key), and those that reach a host.
func clampedWhere(node string, packet gopacket.Packet, w world) string {
	tcp, isTCP := packet.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if !isTCP || !tcp.SYN {
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
	src, dst := outermost(packet)
	switch {
	case !tcp.ACK && w.pool.Contains(src) && strings.HasPrefix(node, "transit."):
		return name + " to the origin"
	case tcp.ACK && dst.String() == w.till && strings.HasSuffix(node, ".router"):
		return name + " to a till"
	}
	return ""
}

// outermost are the addresses of the outermost IP header.
func outermost(packet gopacket.Packet) (src, dst netip.Addr) {
	if n := packet.NetworkLayer(); n != nil {
		from, to := n.NetworkFlow().Endpoints()
		src, _ = netip.AddrFromSlice(from.Raw())
		dst, _ = netip.AddrFromSlice(to.Raw())
	}
	return src, dst
}

func mss(tcp *layers.TCP) int {
	for _, o := range tcp.Options {
		if o.OptionType == layers.TCPOptionKindMSS && len(o.OptionData) == 2 {
			return int(binary.BigEndian.Uint16(o.OptionData))
		}
	}
	return 0
}
