package connected

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/connected"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
)

func ready(t *testing.T, l *lab) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := l.tunnel.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// A device's packets travel bare in datagrams of one socket, and the kernel's
// TCP passes both ways without a loss: superpackets are cut, MSS is clamped.
func TestDevice(t *testing.T) {
	need.Root(t)
	l := raise(t, place(tunnel.Device, nil), nil)
	ready(t, l)
	if c := l.server.heard(); len(c) != 1 || c[0].context.Kind != tunnel.Device || c[0].from.Addr() != wanAddr {
		t.Fatalf("the server heard %+v, want one context from %v", c, wanAddr)
	}
	l.echo(t, "far", netip.AddrPortFrom(originAddr, 7))
	c := l.udp(t, "near", netip.AddrPortFrom(deviceAddr, 40000))
	if got, want := labtest.Ask(t, c, netip.AddrPortFrom(originAddr, 7), "question"), "question 100.96.0.1:40000"; got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
	var m pkt.Meta
	if m.Parse(l.server.packets[0]); m.Kind != pkt.UDP || m.Src != deviceAddr || m.Dst != originAddr {
		t.Errorf("the first packet is %v from %v to %v, want udp from %v to %v", m.Kind, m.Src, m.Dst, deviceAddr, originAddr)
	}
	l.transfer(t, "near", deviceAddr, "far", originAddr, 8<<20)
	l.transfer(t, "far", originAddr, "near", deviceAddr, 1<<20) // devices can be called
	for i, p := range l.server.packets {
		if m.Parse(p); len(p) > tunnel.UDPMTU || m.Kind == pkt.Malformed {
			t.Fatalf("datagram %d is %d bytes, %v; want at most %d, whole", i, len(p), m.Kind, tunnel.UDPMTU)
		}
	}
	totals := l.tunnel.Counters()
	if lost := losses(totals); len(lost) > 0 || totals["clamped"] == 0 {
		t.Errorf("counters %v, want SYNs clamped and nothing dropped", totals)
	}
}

// Packets that come before the server has answered wait: a first SYN is not
// lost. The context is sent again until an answer comes.
func TestFirstPacketsWait(t *testing.T) {
	need.Root(t)
	l := raise(t, place(tunnel.Device, nil), func(_ tunnel.Context, times int) tunnel.Answer {
		if times < 3 {
			return tunnel.Unknown // lost
		}
		return tunnel.Accepted
	})
	l.echo(t, "far", netip.AddrPortFrom(originAddr, 7))
	c := l.udp(t, "near", netip.AddrPortFrom(deviceAddr, 40000))
	began := time.Now()
	if got := labtest.Ask(t, c, netip.AddrPortFrom(originAddr, 7), "early"); !strings.HasPrefix(got, "early") {
		t.Errorf("answer %q", got)
	}
	if took, want := time.Since(began), 2*connected.Resend-100*time.Millisecond; took < want {
		t.Errorf("answered after %v, want the third context first, about %v", took, 2*connected.Resend)
	}
	if totals := l.tunnel.Counters(); totals["waited"] != 1 || totals["contexts"] != 3 || len(losses(totals)) > 0 {
		t.Errorf("counters %v, want one packet that waited for three contexts", totals)
	}
}

func TestQueueIsBounded(t *testing.T) {
	need.Root(t)
	l := raise(t, place(tunnel.Device, nil), func(tunnel.Context, int) tunnel.Answer { return tunnel.Unknown })
	c := l.udp(t, "near", netip.AddrPortFrom(deviceAddr, 40000))
	for range connected.Waiting + 5 {
		if _, err := c.WriteToUDPAddrPort([]byte("?"), netip.AddrPortFrom(originAddr, 7)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the packets beyond the bound are counted", func() bool {
		totals := l.tunnel.Counters()
		return totals["waited"] == connected.Waiting && totals["drop_waiting"] == 5
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := l.tunnel.Ready(ctx)
	if want := "tunnel near from 192.0.2.2: no server answered at 198.18.0.1 port 2408"; err == nil || !strings.HasPrefix(err.Error(), want) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ready = %v, want %q and the deadline", err, want)
	}
}

func TestRefused(t *testing.T) {
	need.Root(t)
	l := raise(t, place(tunnel.Device, nil), func(tunnel.Context, int) tunnel.Answer { return tunnel.Refused })
	if err := l.tunnel.Ready(t.Context()); !errors.Is(err, ErrRefused) {
		t.Fatalf("Ready = %v, want ErrRefused", err)
	}
	c := l.udp(t, "near", netip.AddrPortFrom(deviceAddr, 40000))
	if _, err := c.WriteToUDPAddrPort([]byte("?"), netip.AddrPortFrom(originAddr, 7)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the packet is counted as dropped", func() bool { return l.tunnel.Counters()["drop_refused"] == 1 })
}

// A server that does not know the tunnel says so, and hears its context.
func TestUnknown(t *testing.T) {
	need.Root(t)
	l := raise(t, place(tunnel.Device, nil), nil)
	ready(t, l)
	l.server.forget()
	l.echo(t, "far", netip.AddrPortFrom(originAddr, 7))
	c := l.udp(t, "near", netip.AddrPortFrom(deviceAddr, 40000))
	if _, err := c.WriteToUDPAddrPort([]byte("lost"), netip.AddrPortFrom(originAddr, 7)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a second context", func() bool { return len(l.server.heard()) == 2 })
	if got := labtest.Ask(t, c, netip.AddrPortFrom(originAddr, 7), "again"); !strings.HasPrefix(got, "again") {
		t.Errorf("answer %q", got)
	}
	if c := l.server.heard(); c[0].from != c[1].from {
		t.Errorf("contexts from %v and %v, want one tunnel", c[0].from, c[1].from)
	}
}

// A tunnel whose way becomes narrower says so by its interface at once, before a
// packet that is too big for it gets lost.
func TestNarrowWay(t *testing.T) {
	need.Root(t)
	l := raise(t, place(tunnel.Device, nil), nil)
	ready(t, l)
	labtest.Narrow(t, l.NS("far"), l.server.heard()[0].from, netip.AddrPortFrom(anycast, tunnel.ConnectedPort), 1300)
	eventually(t, "an interface of the size that is left", func() (is bool) {
		err := l.NS("near").Do(func() error {
			i, err := net.InterfaceByName("tun1")
			is = err == nil && i.MTU == 1300-(1500-tunnel.UDPMTU)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return is
	})
	if lost := losses(l.tunnel.Counters()); len(lost) != 0 {
		t.Errorf("lost %v", lost)
	}
}

// Who sends a packet that the device's own link does not pass any more is told so, as by
// a tunnel of the kernel's: the interface alone says nothing about what is under way.
func TestNarrowLink(t *testing.T) {
	need.Root(t)
	l := raise(t, place(tunnel.Device, nil), nil)
	ready(t, l)
	if err := l.NS("near").Do(func() error {
		link, err := netlink.LinkByName("wan0")
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(link, 1300)
	}); err != nil {
		t.Fatal(err)
	}
	c := l.udp(t, "near", netip.AddrPortFrom(deviceAddr, 40000))
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(raw.Control(func(fd uintptr) {
		err = errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO), connect(int(fd), netip.AddrPortFrom(originAddr, 9)))
	}), err)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, 1400)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 10)); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("read: %v, want that the packet was too big", err)
	}
	if lost := losses(l.tunnel.Counters()); lost["drop_unsent"] != 1 {
		t.Errorf("lost %v, want the packet counted", lost)
	}
}

// A switch is a new tunnel, from another port, with the other context.
func TestSwitch(t *testing.T) {
	need.Root(t)
	l := raise(t, place(tunnel.Device, func(b *plan.BranchTunnel) {
		next := b.Connect.Context
		next.VNet = 2
		b.Connect.Switch = []plan.Reconnect{{At: 100 * time.Millisecond, Context: next}}
	}), nil)
	ready(t, l)
	l.echo(t, "far", netip.AddrPortFrom(originAddr, 7))
	c := l.udp(t, "near", netip.AddrPortFrom(deviceAddr, 40000))
	labtest.Ask(t, c, netip.AddrPortFrom(originAddr, 7), "before")
	began := time.Now()
	l.tunnel.Begin(began)
	eventually(t, "a second context", func() bool { return len(l.server.heard()) == 2 })
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("switched after %v, want 100ms", took)
	}
	heard := l.server.heard()
	if heard[0].from == heard[1].from || heard[0].context.VNet != 0 || heard[1].context.VNet != 2 {
		t.Errorf("heard %+v, want virtual networks 0 and 2 from two ports", heard)
	}
	if got := labtest.Ask(t, c, netip.AddrPortFrom(originAddr, 7), "after"); !strings.HasPrefix(got, "after") {
		t.Errorf("answer %q", got)
	}
}

// Behind a translating connector hosts see its own address, whoever asks; the
// connector's kernel leaves the answers alone.
func TestConnector(t *testing.T) {
	need.Root(t)
	l := raise(t, place(tunnel.Connector, nil), nil)
	ready(t, l)
	l.echo(t, "host", netip.AddrPortFrom(hostAddr, 7))
	seen := map[string]bool{}
	for port := range uint16(3) {
		c := l.udp(t, "far", netip.AddrPortFrom(sourceAddr, 3000+port))
		got := labtest.Ask(t, c, netip.AddrPortFrom(hostAddr, 7), "question")
		var who string
		if _, err := fmt.Sscanf(got, "question %s", &who); err != nil || netip.MustParseAddrPort(who).Addr() != natAddr || seen[who] {
			t.Errorf("answer %q, want a port of %v of the flow's own", got, natAddr)
		}
		seen[who] = true
	}
	if seen := l.transfer(t, "far", sourceAddr, "host", hostAddr, 8<<20); seen.Addr() != natAddr {
		t.Errorf("the host saw %v, want %v", seen, natAddr)
	}
	if lost := losses(l.tunnel.Counters()); len(lost) > 0 {
		t.Errorf("lost %v, want nothing", lost)
	}
	// What the private network begins goes nowhere, and is counted.
	c := l.udp(t, "host", netip.AddrPortFrom(hostAddr, 4000))
	if _, err := c.WriteToUDPAddrPort([]byte("?"), netip.AddrPortFrom(natAddr, 40000)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the packet is counted", func() bool { return l.tunnel.Counters()["drop_nat_no_flow"] == 1 })
}

// ICMP errors of the private network reach who asked: a closed port refuses.
func TestConnectorErrors(t *testing.T) {
	need.Root(t)
	l := raise(t, place(tunnel.Connector, nil), nil)
	ready(t, l)
	c := l.udp(t, "far", netip.AddrPortFrom(sourceAddr, 3000))
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(raw.Control(func(fd uintptr) {
		err = connect(int(fd), netip.AddrPortFrom(hostAddr, 9))
	}), err)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 10)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v, want connection refused", err)
	}
}

// After Close the tunnel says that it was accepted.
func TestClose(t *testing.T) {
	need.Root(t)
	l := raise(t, place(tunnel.Connector, nil), nil)
	ready(t, l)
	if err := l.tunnel.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.tunnel.Ready(t.Context()); err != nil {
		t.Errorf("Ready of a tunnel that was accepted = %v", err)
	}
}

func TestAttachErrors(t *testing.T) {
	need.Root(t)
	l := raise(t, place(tunnel.Device, nil), nil)
	good := l.plan.Branches[0].Tunnels[0]
	for _, c := range []struct {
		name, want string
		change     func(*plan.BranchTunnel)
	}{
		{"gre", "tunnel near: of kind gre, want a connected one", func(b *plan.BranchTunnel) { b.Kind, b.Connect = tunnel.GRE, nil }},
		{"no interface", `interface "none"`, func(b *plan.BranchTunnel) { b.Interface = "none" }},
		{"no peer", `interface's peer "wan0x"`, func(b *plan.BranchTunnel) { b.Interface = "wan0" }},
		{"not its address", "bind to 192.0.2.77", func(b *plan.BranchTunnel) { b.Local = addr("192.0.2.77") }},
		{"no context", "no tenant", func(b *plan.BranchTunnel) {
			b.Connect = &plan.Connect{Context: tunnel.Context{Kind: tunnel.Device, Registration: [16]byte{1}}}
		}},
	} {
		b := good
		c.change(&b)
		if _, err := Attach(l.NS("near"), b, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}
