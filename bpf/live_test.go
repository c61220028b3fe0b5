package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/conform"
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/linktest"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
)

// live is an uplink with the fast path on it, and its other end: what is put in
// there, and what comes out, there or for the hub.
type live struct {
	*tested
	ns      *netns.NS
	up      *Server
	gateway *afpacket.Sender
	marks   map[tunnel.Encap]uint32
	pusher  *Server
	// back is what leaves by the uplink, hub what is left to it.
	back, hub *afpacket.Receiver
	wait      []unix.PollFd
}

func newLive(t *testing.T, w *conform.World) *live {
	t.Helper()
	d, err := NewDataplane(Spec{Config: w.Config, MAC: testMAC, Gateway: testGateway})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	l := &live{marks: make(map[tunnel.Encap]uint32), ns: ns}
	if l.tested, err = newTested(w, d, tcx); err != nil {
		t.Fatal(err)
	}
	var closers []func() error
	t.Cleanup(func() {
		for _, c := range append(closers, d.Close, ns.Close) {
			if err := c(); err != nil {
				t.Error(err)
			}
		}
	})
	err = ns.Do(func() error {
		up, edge, err := linktest.Pair(32000, linktest.End{Name: "up", MAC: testMAC}, linktest.End{Name: "edge", MAC: testGateway})
		if err != nil {
			return err
		}
		if l.up, err = AttachServer(ServerOptions{Interface: up, Fast: d}); err != nil {
			return err
		}
		closers = append(closers, l.up.Close)
		if l.pusher, err = AttachServer(ServerOptions{Interface: edge}); err != nil {
			return err
		}
		closers = append(closers, l.pusher.Close)
		outside, err := afpacket.Listen(edge)
		if err != nil {
			return err
		}
		behind, err := afpacket.ListenBehind(up)
		for _, s := range append(behind, outside) {
			closers = append(closers, s.Close)
			l.wait = append(l.wait, unix.PollFd{Fd: int32(s.Fd()), Events: unix.POLLIN})
		}
		l.gateway = afpacket.NewSender(outside, testGateway, testMAC)
		l.back, l.hub = afpacket.NewReceiver(outside), afpacket.NewReceiver(behind...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// send puts the packet on the link; superpackets in a tunnel get their outer
// header from a program, because the kernel takes them from nobody else.
func (l *live) send(p []byte, off pkt.Offload) error {
	outer, ok := pkt.ParseOuter(p)
	if off == (pkt.Offload{}) || !ok || outer.Proto != pkt.ProtoGRE {
		l.gateway.Whole(p, off, 0)
		l.gateway.Flush()
		return nil
	}
	gre, reason := tunnel.ParseGRE(p[outer.Head:], false)
	if reason != drop.None {
		return fmt.Errorf("GRE: %v", reason)
	}
	e := tunnel.Encap{Src: outer.Src.Addr(), Dst: outer.Dst.Addr(), Key: gre.Key, HasKey: gre.HasKey, TTL: p[8]}
	mark := l.marks[e]
	if mark == 0 {
		mark = uint32(len(l.marks) + 1)
		if err := l.pusher.SetEncap(mark, e); err != nil {
			return err
		}
		l.marks[e] = mark
	}
	l.gateway.Whole(p[outer.Head+gre.Len:], off, mark)
	l.gateway.Flush()
	return nil
}

// Handle is that of conform.Server.
func (l *live) Handle(now vt.Instant, p []byte, off pkt.Offload) (conform.Result, error) {
	if toGroup(p) || !afpacket.IsIP(ethernet(testMAC, testGateway, ethernetType(p), p)) {
		return l.Hub.Handle(now, p, off) // the kernel's, or too short to be sent
	}
	refused := l.gateway.Sent().Lost()
	switch err := l.send(bytes.Clone(p), off); {
	case errors.Is(err, ErrFamily): // nothing here can send it, and the program would leave it
		return l.Hub.Handle(now, p, off)
	case err != nil:
		return conform.Result{}, err
	}
	if l.gateway.Sent().Lost() != refused {
		return conform.Result{}, fmt.Errorf("the kernel took no such packet: %v", l.gateway.Sent().Refused)
	}
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		outcome, err := l.outcome()
		switch {
		case errors.Is(err, errNotCounted):
			if err := afpacket.Wait(l.wait, time.Millisecond); err != nil {
				return conform.Result{}, err
			}
			continue
		case err != nil:
			return conform.Result{}, err
		case outcome.ToHub():
			got, err := l.receive(l.hub)
			if err != nil || !bytes.Equal(got.Data, p) || got.Offload != off {
				return conform.Result{}, fmt.Errorf("%v: the hub got %+v\n%x (%v)", outcome, got.Offload, got.Data, err)
			}
			return l.left(now, p, off, outcome)
		case outcome > HandedOver:
			return conform.Result{}, fmt.Errorf("%v", outcome)
		case outcome < Forwarded:
			return fastResult(outcome), nil
		}
		got, err := l.receive(l.back)
		r := fastResult(outcome)
		r.Sent = []conform.Sent{got}
		return r, err
	}
	return conform.Result{}, errNotCounted
}

// receive is the next packet, complete from its IP header on.
func (l *live) receive(from *afpacket.Receiver) (conform.Sent, error) {
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		n, err := from.Receive()
		if err != nil {
			return conform.Sent{}, err
		}
		for i := range n {
			frame, h := from.Frame(i)
			if len(frame) < 14 || !bytes.Equal(frame[:6], testMAC) && !bytes.Equal(frame[:6], testGateway) {
				continue // the kernel's own, to a group
			}
			data := bytes.Clone(frame[14:])
			off, err := h.Offload(data)
			return conform.Sent{Data: data, Offload: off}, err
		}
		if n == 0 {
			if err := afpacket.Wait(l.wait, time.Millisecond); err != nil {
				return conform.Sent{}, err
			}
		}
	}
	return conform.Sent{}, errors.New("nothing came")
}

// What holds for whole packets in a test run holds on a link, and for
// superpackets and unfinished checksums: they are carried as they are.
func TestConformsLive(t *testing.T) {
	need.BPF(t)
	w, err := conform.NewWorld(5, false)
	if err != nil {
		t.Fatal(err)
	}
	w.Offloads = true
	law, err := conform.NewHub(w)
	if err != nil {
		t.Fatal(err)
	}
	l := newLive(t, w)
	seen, err := conform.Run(rand.New(rand.NewPCG(5, 1)), 4000, w, law, l, monotonic)
	t.Logf("%d packets, %d of them fast: %v", seen.Packets, seen.Fast, l.before.Map())
	if err != nil {
		t.Fatal(err)
	}
	if seen.Cases["superpacket"] < 100 || seen.Cases["partial checksum"] < 300 {
		t.Errorf("only %d superpackets and %d partial checksums", seen.Cases["superpacket"], seen.Cases["partial checksum"])
	}
}

// The kernel answers nothing that is left to the hub, even where it could: with
// an address of its own that the fast path does not know as the machine's.
func TestKernelNeverAnswers(t *testing.T) {
	need.BPF(t)
	w, err := conform.NewWorld(6, false)
	if err != nil {
		t.Fatal(err)
	}
	l := newLive(t, w)
	addr := w.Config.Egress[0].Addr
	client := netip.MustParseAddrPort("203.0.113.9:7")
	err = l.ns.Do(func() error {
		for _, k := range []string{"/proc/sys/net/ipv4/conf/all/rp_filter", "/proc/sys/net/ipv4/conf/up/rp_filter"} {
			if err := os.WriteFile(k, []byte("0"), 0); err != nil {
				return err
			}
		}
		up, err := netlink.LinkByName("up")
		if err != nil {
			return err
		}
		for _, c := range []string{addr.String() + "/32", "203.0.113.1/24"} {
			a, err := netlink.ParseAddr(c)
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(up, a); err != nil {
				return err
			}
		}
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: up.Attrs().Index, IP: client.Addr().AsSlice(), HardwareAddr: testGateway, State: netlink.NUD_PERMANENT})
	})
	if err != nil {
		t.Fatal(err)
	}
	ping := hubtest.IP{Src: client, Dst: netip.AddrPortFrom(addr, 0)}.Ping()
	syn := hubtest.IP{Src: client, Dst: netip.AddrPortFrom(addr, 2048)}.TCP(hubtest.Flags{SYN: true}, 1, 0, 0)
	for _, k := range []struct {
		name string
		held bool
	}{{"the fast path", false}, {"nothing", true}} {
		if err := l.ns.Do(func() error { return l.up.Hold(k.held) }); err != nil {
			t.Fatal(err)
		}
		for name, packet := range map[string][]byte{"ping": ping, "syn": syn} {
			l.gateway.Whole(bytes.Clone(packet), pkt.Offload{}, 0)
			l.gateway.Flush()
			if got, err := l.receive(l.hub); err != nil || !bytes.Equal(got.Data, packet) {
				t.Errorf("%s, with %s at the uplink: the hub got %x, %v", name, k.name, got.Data, err)
			}
			// Only without the fast path does the kernel answer: that is what the
			// test would see.
			if answered := l.something(50 * time.Millisecond); answered != k.held {
				t.Errorf("%s, with %s at the uplink: answered %v", name, k.name, answered)
			}
		}
	}
}

// something reports whether anything leaves by the uplink within that time.
func (l *live) something(within time.Duration) bool {
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		n, err := l.back.Receive()
		for i := range n {
			if frame, _ := l.back.Frame(i); len(frame) > 14 && bytes.Equal(frame[:6], testGateway) {
				return true
			}
		}
		if err != nil || n == 0 && afpacket.Wait(l.wait, time.Millisecond) != nil {
			return false
		}
	}
	return false
}
