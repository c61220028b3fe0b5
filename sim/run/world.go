// Package run is a plan in virtual time: its nodes, wires and hosts, and the
// servers' hubs, unmodified.
//
// It decides nothing about a packet that a hub decides, and judges no check. Its
// law: the same plan gives the same events on any machine.
package run

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/host"
	"github.com/homeward-lab/homeward/sim/link"
	"github.com/homeward-lab/homeward/sim/node"
	"github.com/homeward-lab/homeward/sim/packet"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Kinds of events, and the class that each has at one instant: what comes out of
// wires first, then servers' timers, then hosts.
const (
	kindWire engine.Kind = iota
	kindServer
	kindHost

	classWire   engine.Class = 1
	classServer engine.Class = 2
)

// world is a plan in virtual time.
type world struct {
	plan    *plan.Plan
	engine  *engine.Engine
	pool    packet.Pool
	hosts   *host.Env
	nodes   map[string]*machine
	wires   []*wire
	servers []*server
	// start is when traffic begins.
	start vt.Instant
	last  engine.Entity
}

// machine is a node of the plan with its interfaces.
type machine struct {
	plan  *plan.Node
	node  *node.Node
	stack *host.Stack
	// ports by interface name.
	ports map[string]node.Port
	// server is the machine's, if it is one.
	server *server
	// tunnels take what comes by the WAN.
	tunnels []*node.GRE
}

// wire is one direction of a link: the port of the machine that sends, and the
// way to the one that receives.
type wire struct {
	*link.Wire
	mtu int
	to  *machine
}

// MTU implements node.Port.
func (w *wire) MTU() int { return w.mtu }

// newWorld builds everything of the plan. Entities are numbered in the plan's
// order: wires, servers, hosts.
func newWorld(p *plan.Plan) (*world, error) {
	w := &world{plan: p, engine: engine.New(engine.Options{}), nodes: make(map[string]*machine)}
	w.hosts = host.NewEnv(w.engine, &w.pool, kindHost, p.Flows)
	for i := range p.Nodes {
		n := &p.Nodes[i]
		m := &machine{plan: n, node: node.New(n.ID, &w.pool, p.Seed, n.Forward), ports: make(map[string]node.Port)}
		w.nodes[n.ID] = m
	}
	for i := range p.Links {
		if err := w.link(&p.Links[i]); err != nil {
			return nil, err
		}
	}
	for i := range p.Servers {
		if err := w.server(&p.Servers[i]); err != nil {
			return nil, err
		}
	}
	for i := range p.Branches {
		if err := w.branch(&p.Branches[i]); err != nil {
			return nil, err
		}
	}
	for i := range p.Nodes {
		if err := w.finish(w.nodes[p.Nodes[i].ID]); err != nil {
			return nil, err
		}
	}
	for i := range p.Services {
		s := &p.Services[i]
		w.nodes[s.Node].stack.Serve(s)
	}
	return w, nil
}

func (w *world) entity() engine.Entity {
	w.last++
	return w.last
}

// link makes both directions of a link, and gives its ends their addresses.
func (w *world) link(l *plan.Link) error {
	for _, d := range []struct {
		from, to *plan.Endpoint
		dir      impair.Direction
	}{{&l.A, &l.B, impair.AB}, {&l.B, &l.A, impair.BA}} {
		timer := w.engine.NewTimer(classWire, w.entity(), kindWire, uint32(len(w.wires)))
		x, err := link.New(w.engine, &w.pool, timer, l.Impair(d.dir), impair.NewStream(w.plan.Seed, l.ID, d.dir))
		if err != nil {
			return fmt.Errorf("link %s: %w", l.ID, err)
		}
		out := &wire{x, l.MTU, w.nodes[d.to.Node]}
		w.wires = append(w.wires, out)
		from := w.nodes[d.from.Node]
		from.ports[d.from.Interface] = out
		for _, a := range d.from.Addresses {
			from.node.AddAddress(a.Addr())
			if a.Bits() < a.Addr().BitLen() {
				from.node.AddRoute(a, out)
			}
		}
	}
	return nil
}

// branch makes a router's tunnels.
func (w *world) branch(b *plan.Branch) error {
	m := w.nodes[b.Node]
	for i := range b.Tunnels {
		t := &b.Tunnels[i]
		if t.Kind != tunnel.GRE {
			return fmt.Errorf("%s: the simulator has no tunnels of kind %s yet", t.Name, t.Kind)
		}
		encap := tunnel.Encap{Src: t.Local, Dst: t.Remote, TTL: tunnel.DefaultTTL}
		if t.Key != nil {
			encap.Key, encap.HasKey = *t.Key, true
		}
		g := node.NewGRE(m.node, m.ports[b.WAN], encap, t.MTU)
		m.ports[t.Interface] = g
		m.tunnels = append(m.tunnels, g)
		m.node.AddAddress(t.Inner)
		m.node.AddRoute(t.InnerPrefix(), g)
		if t.Inner6.IsValid() {
			m.node.AddAddress(t.Inner6)
			m.node.AddRoute(netip.PrefixFrom(t.Inner6, 127), g)
		}
	}
	return nil
}

// finish gives a machine its routes and, where flows begin or end, its stack.
func (w *world) finish(m *machine) error {
	for _, a := range m.plan.Loopback {
		m.node.AddAddress(a.Addr())
	}
	for _, r := range m.plan.Routes {
		ports := make([]node.Port, len(r.Hops))
		for i, h := range r.Hops {
			if ports[i] = m.ports[h.Interface]; ports[i] == nil {
				return fmt.Errorf("%s: route %v: no interface %q", m.plan.ID, r.To, h.Interface)
			}
		}
		m.node.AddRoute(r.To, ports...)
	}
	switch m.plan.Kind {
	case plan.KindHost, plan.KindDevice, plan.KindOrigin:
		m.stack = w.hosts.Add(m.node, w.entity())
	}
	return nil
}

// Handle implements engine.World.
func (w *world) Handle(ev engine.Event) {
	switch ev.Kind {
	case kindWire:
		x := w.wires[ev.Arg]
		for h := x.Receive(); h != 0; h = x.Receive() {
			x.to.receive(h)
		}
	case kindServer:
		w.servers[ev.Arg].wake()
	case kindHost:
		w.hosts.Handle(ev)
	}
}

// receive takes a packet that came by a wire.
func (m *machine) receive(h packet.Handle) {
	if m.server != nil {
		m.server.receive(h)
		return
	}
	for _, t := range m.tunnels {
		if t.Takes(h) {
			return
		}
	}
	m.node.Input(h)
}

// starts schedules all flows. It is the hosts' that ask.
func (w *world) starts() error {
	order := make([]int, len(w.plan.Flows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(w.plan.Flows[a].Start, w.plan.Flows[b].Start) })
	for _, i := range order {
		f := &w.plan.Flows[i]
		m := w.nodes[f.Client]
		if m == nil || m.stack == nil {
			return fmt.Errorf("flow %s#%d: %s is no host", f.Traffic, f.N, f.Client)
		}
		if err := m.stack.Start(i, w.start.Add(f.Start)); err != nil {
			return err
		}
	}
	return nil
}
