package pathbench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"

	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"

	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/branch"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/topologies/plan"
)

const (
	// labRouters is how many routers are on a packet's way through the lab: branch,
	// transit, edge, server, edge again, transit again. One link more than that.
	labRouters = 6
	// labCrossings is how many links it crosses if it is handed over: back to the
	// edge and to the other server; and the pair that the branch's tunnel is.
	labCrossings = labRouters + 1 + 2 + 1
	// tunnelRouters are those of the way that shows what a tunnel costs by itself:
	// its ends are the first and the last.
	tunnelRouters = 4
	chainMTU      = 1500
)

// chain is links in a row, and routers that only route: no rule, no table but the
// main one. It is what everything else is compared with.
type chain struct {
	routers int
	// tunnel has a GRE tunnel between the first router and the last.
	tunnel bool
	// server makes something else of the router where the lab has its server.
	server func(lab *keeper.Lab, p *plan.Plan, node int) (func() error, error)
}

// server's place in a chain of labRouters.
const serverNode = 4

func chainNode(i int) string { return fmt.Sprintf("n%d", i) }

// chainEnd is the address of one end of the i-th link.
func chainEnd(i int, right bool) netip.Addr {
	last := byte(0)
	if right {
		last = 1
	}
	return netip.AddrFrom4([4]byte{198, 18, byte(i), last})
}

func chainServer() netip.Addr { return netip.MustParseAddr("203.0.113.9") }

func (c chain) plan() *plan.Plan {
	p := &plan.Plan{Scenario: "chain", Seed: 1}
	for i := range c.routers + 2 {
		n := plan.Node{ID: chainNode(i), Kind: plan.KindTransit, Forward: true}
		if i == 0 || i == c.routers+1 {
			n.Kind, n.Forward = plan.KindHost, false
		}
		p.Nodes = append(p.Nodes, n)
	}
	for i := range c.routers + 1 {
		near, far := chainEnd(i, false), chainEnd(i, true)
		l := plan.Link{ID: fmt.Sprintf("l%d", i), MTU: chainMTU}
		l.A = plan.Endpoint{Node: chainNode(i), Interface: "right", MAC: net.HardwareAddr{2, 1, 0, 0, 0, byte(i)}, Addresses: []netip.Prefix{netip.PrefixFrom(near, 31)}, Neighbors: []netip.Addr{far}}
		l.B = plan.Endpoint{Node: chainNode(i + 1), Interface: "left", MAC: net.HardwareAddr{2, 2, 0, 0, 0, byte(i)}, Addresses: []netip.Prefix{netip.PrefixFrom(far, 31)}, Neighbors: []netip.Addr{near}}
		if i == c.routers {
			l.B.Addresses = append(l.B.Addresses, netip.PrefixFrom(chainServer(), 32))
		}
		p.Links = append(p.Links, l)
	}
	c.routes(p)
	return p
}

// routes lead to the server and back, and with a tunnel to its ends.
func (c chain) routes(p *plan.Plan) {
	add := func(i int, to netip.Prefix, iface string, via netip.Addr) {
		p.Nodes[i].Routes = append(p.Nodes[i].Routes, plan.KernelRoute{To: to, Hops: []plan.Hop{{Interface: iface, Via: via}}})
	}
	server, client := netip.PrefixFrom(chainServer(), 32), netip.PrefixFrom(chainEnd(0, false), 31)
	first, last := chainEnd(1, false), chainEnd(c.routers-1, true)
	for i := range c.routers + 1 {
		switch {
		case c.tunnel && i == 1:
			add(i, netip.PrefixFrom(last, 32), "right", chainEnd(i, true))
		case c.tunnel && i > 1 && i < c.routers-1:
			add(i, netip.PrefixFrom(last, 32), "right", chainEnd(i, true))
		case !c.tunnel || i == 0 || i == c.routers:
			add(i, server, "right", chainEnd(i, true))
		}
		to := client
		if c.tunnel && i > 0 && i < c.routers { // between the ends nobody knows of what is inside
			to = netip.PrefixFrom(first, 32)
		}
		if i > 0 && (!c.tunnel || i > 1) { // the first router is on the client's link
			add(i+1, to, "left", chainEnd(i, false))
		}
	}
	if c.tunnel {
		c.addTunnel(p, 1, "right", first, last, 0, server)
		c.addTunnel(p, c.routers, "left", last, first, 1, client)
	}
}

// addTunnel puts one end of the tunnel into the plan, and the route that leads
// into it.
func (c chain) addTunnel(p *plan.Plan, node int, wan string, local, remote netip.Addr, n byte, to netip.Prefix) {
	inner, peer := netip.AddrFrom4([4]byte{169, 254, 240, n}), netip.AddrFrom4([4]byte{169, 254, 240, 1 - n})
	e := tunnel.Encap{Src: local, Dst: remote}
	p.Branches = append(p.Branches, plan.Branch{Node: chainNode(node), Site: chainNode(node), WAN: wan, Tunnels: []plan.BranchTunnel{{
		Name: "gre", Interface: "gre1", MTU: e.InnerMTU(chainMTU), Local: local, Remote: remote, Inner: inner, Peer: peer,
		MAC: net.HardwareAddr{2, 3, 0, 0, 0, n}, PeerMAC: net.HardwareAddr{2, 4, 0, 0, 0, n},
	}}})
	p.Nodes[node].Routes = append(p.Nodes[node].Routes, plan.KernelRoute{To: to, Hops: []plan.Hop{{Interface: "gre1", Via: peer}}})
}

// open brings the chain up.
func (c chain) open(ctx context.Context, _ *Bench) (_ *path, err error) {
	p := c.plan()
	lab, err := keeper.Up(ctx, p, nil)
	if err != nil {
		return nil, err
	}
	w := newPath("chain", lab.NS(chainNode(0)), lab.NS(chainNode(c.routers+1)), netip.AddrPortFrom(chainServer(), bulkPort))
	w.closers = append(w.closers, lab.Close)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.closers.close())
		}
	}()
	for i, b := range p.Branches {
		gateway := net.HardwareAddr{2, 2, 0, 0, 0, 1}
		if i == 1 {
			gateway = net.HardwareAddr{2, 1, 0, 0, 0, byte(c.routers - 1)}
		}
		t, err := branch.Attach(lab.NS(b.Node), b, branch.Options{Gateways: map[string]net.HardwareAddr{b.WAN: gateway}, IO: branch.IOKernel})
		if err != nil {
			return nil, err
		}
		w.closers = append(w.closers, t.Close)
	}
	if c.server != nil {
		closer, err := c.server(lab, p, serverNode)
		if err != nil {
			return nil, err
		}
		w.closers = append(w.closers, closer)
	}
	return w, w.listen()
}

// translate has the router translate sources into one slice, as the kernel does.
func translate(lab *keeper.Lab, _ *plan.Plan, node int) (func() error, error) {
	rules := strings.ReplaceAll(masquerade, "up0", "right")
	rules = strings.ReplaceAll(rules, "198.51.100.0-198.51.100.3", chainEnd(0, true).String()) // replies find their way there
	err := lab.NS(chainNode(node)).Do(func() error {                                           // keeps to one thread, whose namespaces a child has
		if out, err := exec.Command("sh", "-c", rules).CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	})
	return func() error { return nil }, err
}

// redirect has programs at both of the router's interfaces send to the other: the
// least that a server could do.
func redirect(lab *keeper.Lab, p *plan.Plan, node int) (func() error, error) {
	var all closers
	err := lab.NS(chainNode(node)).Do(func() error {
		left, err := netlink.LinkByName("left")
		if err != nil {
			return err
		}
		right, err := netlink.LinkByName("right")
		if err != nil {
			return err
		}
		before, behind := p.Links[node-1], p.Links[node]
		for _, w := range []struct {
			from, to     int
			source, dest net.HardwareAddr
		}{
			{left.Attrs().Index, right.Attrs().Index, behind.A.MAC, behind.B.MAC},
			{right.Attrs().Index, left.Attrs().Index, before.B.MAC, before.A.MAC},
		} {
			c, err := attachRedirect(w.from, w.to, [12]byte(append(append([]byte(nil), w.dest...), w.source...)), asm.FnRedirect)
			if err != nil {
				return err
			}
			all = append(all, c)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, all.close())
	}
	return all.close, nil
}
