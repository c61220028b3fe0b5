package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func ip(s string) netip.Addr    { return netip.MustParseAddr(s) }

func mac(b ...byte) net.HardwareAddr {
	return append(net.HardwareAddr{2, 0, 0, 0, 0, 0}[:6-len(b)], b...)
}

// wired is a link in the manner of plan.Compile: neighbours known for good.
func wired(id string, a, b plan.Endpoint, mtu int) plan.Link {
	n := byte(len(id))
	for _, c := range []byte(id) {
		n = n*31 + c
	}
	a.MAC, b.MAC = mac(n, 1), mac(n, 2)
	for _, p := range b.Addresses {
		a.Neighbors = append(a.Neighbors, p.Addr())
	}
	for _, p := range a.Addresses {
		b.Neighbors = append(b.Neighbors, p.Addr())
	}
	return plan.Link{ID: id, A: a, B: b, MTU: mtu}
}

func end(node, ifname string, addrs ...string) plan.Endpoint {
	e := plan.Endpoint{Node: node, Interface: ifname}
	for _, a := range addrs {
		e.Addresses = append(e.Addresses, pfx(a))
	}
	return e
}

func to(dst string, hops ...plan.Hop) plan.KernelRoute {
	return plan.KernelRoute{To: pfx(dst), Hops: hops}
}

func via(ifname, addr string) plan.Hop { return plan.Hop{Interface: ifname, Via: ip(addr)} }

// small is host – router = two servers, the far host behind both servers.
func small() *plan.Plan {
	return &plan.Plan{
		Scenario: "small",
		Nodes: []plan.Node{
			{ID: "host", Kind: plan.KindHost, Routes: []plan.KernelRoute{to("0.0.0.0/0", via("eth0", "10.0.1.1"))}},
			{ID: "router", Kind: plan.KindEdge, Forward: true, Multipath: true, Routes: []plan.KernelRoute{
				to("203.0.113.9/32", via("s1", "192.0.2.1"), via("s2", "192.0.2.3")),
				to("203.0.113.10/32", via("s2", "192.0.2.3"), via("s1", "192.0.2.1")),
				to("203.0.113.66/32"),
				to("10.0.1.5/32", plan.Hop{Interface: "lan"}),
			}},
			{ID: "server1", Kind: plan.KindTransit, Forward: true, Loopback: []netip.Prefix{pfx("198.18.0.1/32")}, Routes: []plan.KernelRoute{
				{To: pfx("10.0.1.0/24"), Hops: []plan.Hop{via("up", "192.0.2.0")}, Source: ip("198.18.0.1")},
				to("203.0.113.9/32", plan.Hop{Interface: "down"}),
				to("203.0.113.10/32", plan.Hop{Interface: "down"}),
			}},
			{ID: "server2", Kind: plan.KindTransit, Forward: true, Routes: []plan.KernelRoute{
				to("10.0.1.0/24", via("up", "192.0.2.2")),
				to("203.0.113.9/32", plan.Hop{Interface: "down"}),
				to("203.0.113.10/32", plan.Hop{Interface: "down"}),
			}},
			{ID: "web", Kind: plan.KindOrigin, Loopback: []netip.Prefix{pfx("203.0.113.10/32")}, Routes: []plan.KernelRoute{
				to("10.0.1.0/24", via("eth1", "192.0.2.4"), via("eth2", "192.0.2.6"))}, Multipath: true},
		},
		Links: []plan.Link{
			wired("host-router", end("host", "eth0", "10.0.1.5/24"), end("router", "lan", "10.0.1.1/32"), 1500),
			wired("router-server1", end("router", "s1", "192.0.2.0/31"), end("server1", "up", "192.0.2.1/31"), 1600),
			wired("router-server2", end("router", "s2", "192.0.2.2/31"), end("server2", "up", "192.0.2.3/31"), 1600),
			wired("server1-web", end("server1", "down", "192.0.2.4/32"), end("web", "eth1", "203.0.113.9/32"), 1500),
			wired("server2-web", end("server2", "down", "192.0.2.6/32"), end("web", "eth2", "203.0.113.9/32"), 1500),
		},
	}
}

// withBranch adds a tunnel device to the host's router.
func withBranch(p *plan.Plan) *plan.Plan {
	p.Nodes[1].Routes = append(p.Nodes[1].Routes, to("0.0.0.0/0", via("gre1", "169.254.240.0")))
	p.Branches = []plan.Branch{{Node: "router", Site: "shop.1", WAN: "s1", Tunnels: []plan.BranchTunnel{{
		Name: "shop.1.wan", Interface: "gre1", MTU: 1476, Inner: ip("169.254.240.1"), Peer: ip("169.254.240.0"),
		MAC: mac(9, 1), PeerMAC: mac(9, 2),
	}}}}
	return p
}

// star is n hosts around a router.
func star(n int) *plan.Plan {
	p := &plan.Plan{Scenario: "star", Nodes: []plan.Node{{ID: "router", Kind: plan.KindTransit, Forward: true}}}
	for i := range n - 1 {
		id := fmt.Sprintf("host.%d", i)
		lo, hi := fmt.Sprintf("10.%d.%d.0", i/250, i%250), fmt.Sprintf("10.%d.%d.1", i/250, i%250)
		p.Nodes = append(p.Nodes, plan.Node{ID: id, Kind: plan.KindHost, Routes: []plan.KernelRoute{to("0.0.0.0/0", via("eth0", lo))}})
		p.Links = append(p.Links, wired(id, end("router", fmt.Sprintf("h%d", i), lo+"/31"), end(id, "eth0", hi+"/31"), 1500))
	}
	return p
}

// echo starts a UDP echo on every address of a node.
func echo(t *testing.T, lab *keeper.Lab, node string) net.PacketConn {
	t.Helper()
	var pc net.PacketConn
	err := lab.NS(node).Do(func() (err error) {
		pc, err = net.ListenPacket("udp4", ":7")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			pc.WriteTo(b[:n], from)
		}
	}()
	return pc
}

// ask sends a datagram and waits for its echo.
func ask(lab *keeper.Lab, node, to string, patience time.Duration) error {
	var c net.Conn
	err := lab.NS(node).Do(func() (err error) {
		c, err = net.Dial("udp4", to)
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("are you there")); err != nil {
		return err
	}
	b := make([]byte, 64)
	n, err := c.Read(b)
	if err != nil {
		return err
	}
	if got := string(b[:n]); got != "are you there" {
		return fmt.Errorf("echo %q", got)
	}
	return nil
}

// The first packet after Up arrives: no interface is half ready.
func TestUpCarriesPackets(t *testing.T) {
	need.Root(t)
	labtest.Clean(t)
	lab := labtest.Up(t, withBranch(small()))
	echo(t, lab, "web")
	for range 20 { // new source ports: over both servers
		if err := ask(lab, "host", "203.0.113.9:7", 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := ask(lab, "host", "203.0.113.66:7", time.Second); err == nil {
		t.Error("the black hole answers")
	}
}

// All of a second lab's names and addresses are those of the first.
func TestTwoLabsAtOnce(t *testing.T) {
	need.Root(t)
	labtest.Clean(t)
	for range 2 {
		lab := labtest.Up(t, small())
		echo(t, lab, "web")
		if err := ask(lab, "host", "203.0.113.9:7", 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHundredNodes(t *testing.T) {
	need.Root(t)
	labtest.Clean(t)
	start := time.Now()
	stages := map[string]int{}
	lab, err := keeper.Up(t.Context(), star(100), func(stage string, done, total int) {
		if done > total || done != stages[stage]+1 {
			t.Errorf("%s: %d of %d after %d", stage, done, total, stages[stage])
		}
		stages[stage] = done
	})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	if stages[wire.StageLinks] != 99 || stages[wire.StageNodes] != 100 {
		t.Errorf("progress ended at %v", stages)
	}
	server := echo(t, lab, "router")
	if err := ask(lab, "host.98", "10.0.98.0:7", 5*time.Second); err != nil {
		t.Error(err)
	}
	server.Close()
	start = time.Now()
	if err := lab.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("100 nodes up in %v, down in %v", took, time.Since(start))
}

func TestFailedStartLeavesNothing(t *testing.T) {
	need.Root(t)
	tests := map[string]struct {
		spoil func(p *plan.Plan)
		want  string
	}{
		// Links are made at once: either of the two is the second.
		"clashing interface": {func(p *plan.Plan) { p.Links[2].A.Interface = "s1" }, "(router/s1 – server"},
		"name too long":      {func(p *plan.Plan) { p.Links[4].B.Interface = "sixteen_is_more." }, "link server2-web"},
		"route to nowhere":   {func(p *plan.Plan) { p.Nodes[4].Routes[0].Hops[0].Interface = "eth9" }, `node web: route 10.0.1.0/24: no interface "eth9"`},
		"unknown node":       {func(p *plan.Plan) { p.Links[0].A.Node = "ghost" }, `no node "ghost"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			labtest.Clean(t)
			p := small()
			tt.spoil(p)
			lab, err := keeper.Up(t.Context(), p, nil)
			if err == nil {
				lab.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q in it", err, tt.want)
			}
		})
	}
}

// Ctrl-C at every stage of Up.
func TestCancelledUpLeavesNothing(t *testing.T) {
	need.Root(t)
	for _, stage := range []string{wire.StageNodes, wire.StageLinks, wire.StageRoutes} {
		t.Run(stage, func(t *testing.T) {
			labtest.Clean(t)
			ctx, cancel := context.WithCancel(t.Context())
			lab, err := keeper.Up(ctx, star(20), func(s string, done, total int) {
				if s == stage && done == total/2 {
					cancel()
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
			if lab != nil {
				lab.Close()
			}
		})
	}
}
