package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/branch"
	"github.com/homeward-lab/homeward/emu/keeper"
	wires "github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
)

var (
	hostAddr   = netip.MustParseAddr("10.0.1.5")
	originAddr = netip.MustParseAddr("203.0.113.9")
	anycast    = netip.MustParseAddr("198.18.0.1")
	branchAddr = netip.MustParseAddr("192.0.2.2")
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func mac(b byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, b} }

// wire is a link whose neighbours are known for good.
func wire(id string, mtu int, an, ai, aa string, am byte, bn, bi, ba string, bm byte) plan.Link {
	return plan.Link{
		ID: id, MTU: mtu,
		A: plan.Endpoint{Node: an, Interface: ai, MAC: mac(am), Addresses: []netip.Prefix{pfx(aa)}, Neighbors: []netip.Addr{pfx(ba).Addr()}},
		B: plan.Endpoint{Node: bn, Interface: bi, MAC: mac(bm), Addresses: []netip.Prefix{pfx(ba)}, Neighbors: []netip.Addr{pfx(aa).Addr()}},
	}
}

func to(dst, iface, via string) plan.KernelRoute {
	h := plan.Hop{Interface: iface}
	if via != "" {
		h.Via = netip.MustParseAddr(via)
	}
	return plan.KernelRoute{To: pfx(dst), Hops: []plan.Hop{h}}
}

// tunnelMTU is what an access link of 1500 bytes leaves: a key takes 4 bytes.
func tunnelMTU(key *uint32) int {
	e := tunnel.Encap{Src: anycast, Dst: branchAddr, HasKey: key != nil}
	return e.InnerMTU(1500)
}

// onePath is host – branch – edge – server, with the origin at the edge.
func onePath(key *uint32) *plan.Plan {
	return &plan.Plan{
		Scenario: "one_path",
		Nodes: []plan.Node{
			{ID: "host", Kind: plan.KindHost, Routes: []plan.KernelRoute{to("0.0.0.0/0", "eth0", "10.0.1.1")}},
			{ID: "branch", Kind: plan.KindBranch, Forward: true, Routes: []plan.KernelRoute{
				to("198.18.0.0/16", "wan0", "192.0.2.1"), to("0.0.0.0/0", "gre1", "169.254.240.0"),
			}},
			{ID: "edge", Kind: plan.KindEdge, Forward: true, Routes: []plan.KernelRoute{
				to("198.18.0.1/32", "s1", "172.16.1.2"), to("10.0.1.0/24", "s1", "172.16.1.2"), to("198.51.100.0/24", "s1", "172.16.1.2"),
			}},
			{ID: "server", Kind: plan.KindServer},
			{ID: "origin", Kind: plan.KindOrigin, Routes: []plan.KernelRoute{to("0.0.0.0/0", "eth0", "203.0.113.1")}},
		},
		Links: []plan.Link{
			wire("lan", 1500, "host", "eth0", "10.0.1.5/24", 0x11, "branch", "lan0", "10.0.1.1/24", 0x12),
			wire("access", 1500, "branch", "wan0", "192.0.2.2/30", 0x21, "edge", "b1", "192.0.2.1/30", 0x22),
			wire("uplink", 1600, "edge", "s1", "172.16.1.1/30", 0x31, "server", "up0", "172.16.1.2/30", 0x32),
			wire("internet", 1500, "edge", "i0", "203.0.113.1/24", 0x41, "origin", "eth0", "203.0.113.9/24", 0x42),
		},
		Branches: []plan.Branch{{Node: "branch", Site: "shop.1", WAN: "wan0", LANs: []string{"lan0"}, Tunnels: []plan.BranchTunnel{{
			Name: "shop.1.wan", Interface: "gre1", MTU: tunnelMTU(key), Local: branchAddr, Remote: anycast, Key: key,
			Inner: netip.MustParseAddr("169.254.240.1"), Peer: netip.MustParseAddr("169.254.240.0"), MAC: mac(0x51), PeerMAC: mac(0x52),
		}}}},
		Servers: []plan.Server{{Node: "server", Index: 1, Interface: "up0", Config: config(key)}},
	}
}

// config is for both cores: one server with one on-ramp and one egress address.
func config(key *uint32) hub.Config {
	pool := egress.Address{Addr: netip.MustParseAddr("198.51.100.1"), Datacenter: 1}
	for i := 1; i < egress.Slices; i++ {
		pool.Owner[i] = 1
	}
	return hub.Config{
		Seed: 7, Self: 1, Tunnels: []netip.Addr{anycast},
		Servers: []hub.Server{{ID: 1, Name: "server", Datacenter: 1, Handover: netip.MustParseAddr("198.18.1.1"), Live: true}},
		Tenants: []hub.Tenant{{ID: 1, Name: "main"}},
		OnRamps: []hub.OnRamp{{
			ID: 1, Name: "shop.1.wan", Tenant: 1, VNet: 1, Scope: 1, Kind: tunnel.GRE,
			Local: anycast, Remote: branchAddr, Key: key, ARR: true, MTU: tunnelMTU(key),
		}},
		Egress: []egress.Address{pool},
	}
}

// lab is a running onePath.
type lab struct {
	*keeper.Lab
	plan   *plan.Plan
	agent  *Agent
	events chan Event
}

// raise brings onePath up with the agent, which runs the named core, and the
// branch on the engines given.
func raise(t testing.TB, core string, key *uint32, io IO, branchIO branch.IO) *lab {
	t.Helper()
	p := onePath(key)
	k, err := keeper.Up(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Errorf("close lab: %v", err)
		}
	})
	tunnels, err := branch.Attach(k.NS("branch"), p.Branches[0], branch.Options{Gateways: map[string]net.HardwareAddr{p.Branches[0].WAN: mac(0x22)}, IO: branchIO})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tunnels.Close(); err != nil {
			t.Errorf("close tunnels: %v", err)
		}
	})
	if io == IOXDP {
		if err := k.NS("edge").Do(func() error { return wires.StopOffloads("s1") }); err != nil {
			t.Fatal(err)
		}
	}
	l := &lab{Lab: k, plan: p, events: make(chan Event, 1000)}
	l.agent = l.start(t, core, io)
	return l
}

// start runs a child that is this test binary.
func (l *lab) start(t testing.TB, child string, io IO) *Agent {
	t.Helper()
	a, err := Start(l.spawn(child), l.plan.Servers[0], l.options(t, io))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Stop(context.WithoutCancel(t.Context())) })
	return a
}

func (l *lab) spawn(child string) func(string, *exec.Cmd) error {
	return func(node string, cmd *exec.Cmd) error {
		cmd.Env = append(os.Environ(), childEnv+"="+child)
		return l.Spawn(node, cmd)
	}
}

func (l *lab) options(t testing.TB, io IO) Options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Exe: exe, Base: monotonic(t), IO: io, UplinkMAC: mac(0x32), GatewayMAC: mac(0x31),
		OnEvent: func(e Event) { l.events <- e },
	}
}

func monotonic(t testing.TB) int64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano()
}

// connect makes a TCP connection between two nodes; both ends are closed with
// the test.
func (l *lab) connect(t testing.TB, from string, fromAddr netip.Addr, at string, atAddr netip.Addr) (client, server *net.TCPConn) {
	t.Helper()
	var listener *net.TCPListener
	err := l.NS(at).Do(func() (err error) {
		listener, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(atAddr, 0)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	deadline := time.Now().Add(5 * time.Second)
	err = l.NS(from).Do(func() error {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(fromAddr, 0)), Deadline: deadline}
		d.SetMultipathTCP(false)
		c, err := d.DialContext(t.Context(), "tcp4", listener.Addr().String())
		if err == nil {
			client = c.(*net.TCPConn)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := listener.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	if server, err = listener.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// pattern is a stream in which a byte out of place shows: a block of random
// bytes again and again, its length no multiple of any segment's.
type pattern struct {
	block [65521]byte
	at    int
}

func newPattern() *pattern {
	p := new(pattern)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range p.block {
		p.block[i] = byte(random.Uint32())
	}
	return p
}

// next is at most n bytes of the stream.
func (p *pattern) next(n int) []byte {
	b := p.block[p.at:min(p.at+n, len(p.block))]
	p.at = (p.at + len(b)) % len(p.block)
	return b
}

// transfer sends n patterned bytes and checks them at the other end.
func transfer(from, to *net.TCPConn, n int) (time.Duration, error) {
	start := time.Now()
	deadline := start.Add(60 * time.Second)
	if err := errors.Join(from.SetDeadline(deadline), to.SetDeadline(deadline)); err != nil {
		return 0, err
	}
	sent := make(chan error, 1)
	go func() {
		p := newPattern()
		for left := n; left > 0; {
			chunk := p.next(left)
			if _, err := from.Write(chunk); err != nil {
				sent <- err
				return
			}
			left -= len(chunk)
		}
		sent <- from.CloseWrite()
	}()
	err := check(to, n)
	took := time.Since(start)
	// Reset instead of lingering: a socket that still has something to say
	// would keep its namespace.
	err = errors.Join(err, <-sent, from.SetLinger(0), to.SetLinger(0))
	return took, errors.Join(err, from.Close(), to.Close())
}

// check reads to the end and compares with the pattern.
func check(r io.Reader, n int) error {
	p := newPattern()
	buf := make([]byte, 256<<10)
	total := 0
	for {
		k, err := r.Read(buf)
		for got := buf[:k]; len(got) > 0; {
			want := p.next(len(got))
			if !bytes.Equal(got[:len(want)], want) {
				return fmt.Errorf("wrong bytes within the %d after byte %d", len(want), total)
			}
			got, total = got[len(want):], total+len(want)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", total, err)
		}
	}
	if total != n {
		return fmt.Errorf("got %d bytes, want %d", total, n)
	}
	return nil
}
