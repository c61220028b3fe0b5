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
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/host"
	"github.com/homeward-lab/homeward/sim/link"
	"github.com/homeward-lab/homeward/sim/node"
	"github.com/homeward-lab/homeward/sim/packet"
	"github.com/homeward-lab/homeward/sim/tcp"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Kinds of events.
const (
	kindWire engine.Kind = iota
	kindServer
	kindLearn
	kindConnected
	kindRouter
	kindHost
	kindFault
	kindMissed
	kindUpdate
	kindHold
	kindCustomer
	kindRelay
)

// The class of events at one instant: what breaks first, then what comes out of
// wires, then the network's own timers, then the hosts'.
const (
	classFault  engine.Class = 0
	classWire   engine.Class = 1
	classServer engine.Class = 2
)

// world is a plan in virtual time.
type world struct {
	plan      *plan.Plan
	engine    *engine.Engine
	pool      packet.Pool
	hosts     *host.Env
	nodes     map[string]*machine
	wires     []*wire
	servers   []*server
	connected []*connection
	routers   []*router
	bgp       []*speaker
	halves    []*half
	customers []*customer
	relays    []*relayEnd
	store     store
	faults    faults
	// lost are servers that were killed; failed is what ends the run.
	lost   []string
	failed error
	last   engine.Entity
	// watch sees hubs and hosts; mark is that of the packet that a hub is given.
	watch   Watch
	options Options
	mark    uint32
	// journal and sink hear what happens; nil before tell.
	journal *journal.Journal
	sink    record.Sink
}

// machine is a node of the plan with its interfaces.
type machine struct {
	plan  *plan.Node
	node  *node.Node
	stack *host.Stack
	// ports by interface name.
	ports map[string]node.Port
	// server is the machine's, if it is one; edge, if interconnects end here.
	server *server
	edge   *edge
	// tunnels take what comes by the WAN.
	tunnels []taker
}

// taker is the inner end of a tunnel.
type taker interface {
	// Takes reports whether a packet is of the tunnel, and takes it over then.
	Takes(h packet.Handle) bool
}

// receiver is where a wire ends.
type receiver interface {
	// receive takes the packet over.
	receive(h packet.Handle)
}

// wire is one direction of a link: the port of the machine that sends, and the
// way to the one that receives.
type wire struct {
	*link.Wire
	to        receiver
	link      *plan.Link
	direction impair.Direction
	muted     int    // by so many faults
	from, at  string // the node that sends, the interface that receives
	end       string // the node that receives
	hears     *half  // the session that is over it, if one is
	// crossed counts what arrives, of links between datacenters; nil of others.
	crossed *record.Backbone
}

// SetMTU implements resizable.
func (w *wire) SetMTU(mtu int) { w.Wire.SetMTU(cmp.Or(mtu, w.link.MTU)) }

// newWorld builds everything of the plan. Entities are numbered in the plan's
// order: wires, servers, tunnels, hosts.
func newWorld(p *plan.Plan, o Options) (*world, error) {
	w := &world{plan: p, engine: engine.New(engine.Options{Queue: o.Queue, Budget: o.Budget}), nodes: make(map[string]*machine), watch: o.Watch, options: o}
	w.hosts = host.NewEnv(w.engine, &w.pool, kindHost, p.Flows)
	w.hosts.Congestion = o.Congestion
	for i := range p.Nodes {
		n := &p.Nodes[i]
		w.nodes[n.ID] = &machine{plan: n, node: node.New(n.ID, &w.pool, n.MultipathSeed(), n.Forward), ports: make(map[string]node.Port)}
	}
	each := func(n int, build func(i int) error) error {
		for i := range n {
			if err := build(i); err != nil {
				return err
			}
		}
		return nil
	}
	for _, step := range []struct {
		n     int
		build func(i int) error
	}{
		{len(p.Links), func(i int) error { return w.link(&p.Links[i]) }},
		{len(p.Servers), func(i int) error { return w.server(&p.Servers[i]) }},
		{len(p.Branches), func(i int) error { return w.branch(&p.Branches[i]) }},
		{len(p.Nodes), func(i int) error { return w.finish(w.nodes[p.Nodes[i].ID]) }},
		{len(p.Interconnects), func(i int) error { return w.interconnect(&p.Interconnects[i]) }},
		{len(p.Branches), func(i int) error { return w.router(&p.Branches[i]) }},
		{len(p.Services), func(i int) error { return w.service(&p.Services[i]) }},
		{min(1, len(p.Speakers)), func(int) error { return w.speakers() }},
		{len(p.Customers), func(i int) error { return w.customer(&p.Customers[i]) }},
		{len(p.Relays), func(i int) error { return w.relay(i) }},
	} {
		if err := each(step.n, step.build); err != nil {
			return nil, err
		}
	}
	w.store.open(p)
	return w, nil
}

// tell has the world say what happens in it.
func (w *world) tell(j *journal.Journal, sink record.Sink) {
	w.journal, w.sink = j, sink
	w.hosts.Origin = func(flow int, node string, peer netip.AddrPort) {
		j.Asked(w.plan.Flows[flow].Nonce, node, peer, int64(w.engine.Now()))
	}
}

// event writes an event of the world's own.
func (w *world) event(e record.Event) {
	if w.sink == nil {
		return
	}
	e.AtNs = int64(w.engine.Now())
	w.sink.Event(e)
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
		if w.options.Hop > link.Hop {
			x.Slow(w.options.Hop, w.options.Chance)
		}
		from, to := w.nodes[d.from.Node], w.nodes[d.to.Node]
		if from == nil || to == nil {
			return fmt.Errorf("link %s: no node %q or %q", l.ID, d.from.Node, d.to.Node)
		}
		x.SetMTU(l.MTU)
		out := &wire{Wire: x, to: to, link: l, direction: d.dir, from: d.from.Node, at: d.to.Interface, end: d.to.Node}
		if l.Class == plan.ClassBackbone {
			out.crossed = &record.Backbone{From: from.plan.Datacenter, To: to.plan.Datacenter}
		}
		w.wires = append(w.wires, out)
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

// branch makes the tunnels of a router or device.
func (w *world) branch(b *plan.Branch) error {
	m := w.nodes[b.Node]
	for i := range b.Tunnels {
		t := &b.Tunnels[i]
		wan := m.ports[cmp.Or(t.WAN, b.WAN)]
		if wan == nil {
			return fmt.Errorf("%s: no interface %q", t.Name, cmp.Or(t.WAN, b.WAN))
		}
		if t.Connect != nil {
			if err := w.connect(m, t, wan); err != nil {
				return fmt.Errorf("%s: %w", t.Name, err)
			}
			continue
		}
		encap := tunnel.Encap{Src: t.Local, Dst: t.Remote, TTL: tunnel.DefaultTTL}
		if t.Key != nil {
			encap.Key, encap.HasKey = *t.Key, true
		}
		g := node.NewGRE(m.node, wan, encap, t.MTU, w.engine.Now)
		m.tunnels = append(m.tunnels, g)
		m.tunnel(t, g)
	}
	return nil
}

// tunnel gives a machine a tunnel's interface.
func (m *machine) tunnel(t *plan.BranchTunnel, p node.Port) {
	m.ports[t.Interface] = p
	m.node.AddAddress(t.Inner)
	m.node.AddRoute(t.InnerPrefix(), p)
	if t.Inner6.IsValid() {
		m.node.AddAddress(t.Inner6)
		if t.Kind != tunnel.Device {
			m.node.AddRoute(netip.PrefixFrom(t.Inner6, t.Inner6.BitLen()-1), p)
		}
	}
}

// finish gives a machine its routes and, where flows begin or end, its stack.
func (w *world) finish(m *machine) error {
	for _, a := range m.plan.Loopback {
		m.node.AddAddress(a.Addr())
	}
	for i := range m.plan.Routes {
		if err := m.route(&m.plan.Routes[i]); err != nil {
			return err
		}
	}
	switch m.plan.Kind {
	case plan.KindHost, plan.KindDevice, plan.KindOrigin:
		m.stack = w.hosts.Add(m.node, w.entity(), m.plan.Kind != plan.KindOrigin)
		m.stack.ECN = ecn(m.plan)
	}
	return nil
}

// ecn is what a plan says of a node's TCP.
func ecn(n *plan.Node) tcp.ECN {
	switch n.TCPECN {
	case spec.ECNRequest:
		return tcp.RequestECN
	case spec.ECNOff:
		return tcp.RefuseECN
	}
	return tcp.AcceptECN
}

// route sets a route of the plan's.
func (m *machine) route(r *plan.KernelRoute) error {
	ports := make([]node.Port, len(r.Hops))
	for i, h := range r.Hops {
		if ports[i] = m.ports[h.Interface]; ports[i] == nil {
			return fmt.Errorf("%s: route %v: no interface %q", m.plan.ID, r.To, h.Interface)
		}
	}
	m.node.AddRoute(r.To, ports...)
	return nil
}

func (w *world) service(s *plan.Service) error {
	m := w.nodes[s.Node]
	if m == nil || m.stack == nil {
		return fmt.Errorf("service %s: %s is no host", s.Kind, s.Node)
	}
	m.stack.Serve(s)
	return nil
}

// Handle implements engine.World.
func (w *world) Handle(ev engine.Event) {
	switch ev.Kind() {
	case kindWire:
		x := w.wires[ev.Arg()]
		for more := true; more; {
			var h packet.Handle
			h, more = x.Receive()
			if w.pool.Len(h) > x.MTU() { // it was under way when the link became narrow
				w.pool.Free(h)
				continue
			}
			if x.crossed != nil {
				x.crossed.Packets++
				x.crossed.Bytes += int64(w.pool.Len(h))
			}
			if w.watch.Crossed != nil {
				w.watch.Crossed(x.end, w.pool.Flow(h), w.pool.Head(h))
			}
			if w.watch.Arrived != nil && w.nodes[x.end].stack != nil {
				w.watch.Arrived(x.end, w.pool.Flow(h))
			}
			x.to.receive(h)
		}
	case kindServer:
		w.servers[ev.Arg()].wake()
	case kindLearn:
		w.learn(ev.Arg())
	case kindConnected:
		w.connected[ev.Arg()].wake(ev.At)
	case kindRouter:
		w.routers[ev.Arg()].wake(ev.At)
	case kindHost:
		w.hosts.Handle(ev)
	case kindFault:
		w.faults.handle(ev.Arg())
	case kindMissed:
		w.faults.missed(w.servers[ev.Arg()])
	case kindUpdate:
		w.halves[ev.Arg()].arrive()
	case kindHold:
		w.halves[ev.Arg()].expire()
	case kindCustomer:
		w.customers[ev.Arg()].wake()
	case kindRelay:
		w.relays[ev.Arg()].wake()
	}
}

// fail ends the run, with the first reason.
func (w *world) fail(err error) {
	if w.failed == nil {
		w.failed = err
	}
	w.engine.Halt()
}

// receive implements receiver: a packet came by a wire.
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

// powerOn starts what works by itself: hubs, devices and connectors, routers that
// choose.
func (w *world) powerOn() {
	for _, s := range w.servers {
		s.arm()
	}
	for _, c := range w.connected {
		c.wake(0)
	}
	for _, r := range w.routers {
		r.arm()
	}
	for _, c := range w.customers {
		c.arm()
	}
	for _, r := range w.relays {
		r.arm()
	}
}

// waits is a connected tunnel that no server has accepted; nil if there is none.
func (w *world) waits() *connection {
	for _, c := range w.connected {
		if !c.ready {
			return c
		}
	}
	return nil
}

// begin says that traffic starts at an instant: from now on news take their time,
// and the switches of virtual networks are counted.
func (w *world) begin(at vt.Instant) {
	w.store.traffic = true
	for _, c := range w.connected {
		c.client.Begin(at)
		c.arm()
	}
}

// starts schedules all flows, from an instant on, each as late as it is said to
// be. It is the hosts' that ask.
func (w *world) starts(base vt.Instant, late []time.Duration) error {
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
		if err := m.stack.Start(i, base.Add(f.Start+of(late, i))); err != nil {
			return err
		}
	}
	return nil
}

// backbone is what went between datacenters.
func (w *world) backbone() []record.Backbone {
	var all []record.Backbone
	for _, x := range w.wires {
		if x.crossed != nil {
			all = append(all, *x.crossed)
		}
	}
	return all
}

// measured is what impaired links did: what was asked of them, which is what they
// did.
func (w *world) measured() []record.Wire {
	var all []record.Wire
	for _, x := range w.wires {
		line := x.Line()
		if line == nil {
			continue
		}
		c := line.Counters()
		m := record.Wire{
			Link: x.link.ID, From: x.link.A.Node, To: x.link.B.Node,
			Packets: int64(c.Packets), Lost: int64(c.Lost), Overflowed: int64(c.Overflowed), Marked: int64(c.Marked),
			Overtook: int64(c.Overtook), Duplicated: int64(c.Duplicated), Corrupted: int64(c.Corrupted),
		}
		if x.from != m.From {
			m.From, m.To = m.To, m.From
		}
		n, p50 := x.Times(0.50)
		_, p99 := x.Times(0.99)
		_, most := x.Times(1)
		m.Asked = record.Times{N: n, P50Ns: int64(p50), P99Ns: int64(p99), MaxNs: int64(most)}
		m.Measured = m.Asked
		all = append(all, m)
	}
	return all
}
