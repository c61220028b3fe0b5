package run

import (
	"fmt"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/sim/node"
	"github.com/homeward-lab/homeward/sim/packet"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// edge is what a datacenter's edge does with the links of sites that need no
// tunnel (SEMANTICS 2.9, "CNI"; 4.1, "unconnected"): bare packets go to a server
// in GUE, which says whose they are; what comes back in GUE is put bare on its
// site's link.
type edge struct {
	world *world
	node  *node.Node
	links map[ident.OnRamp]*plainLink
	junk  uint64
	small uint64 // packets that were too big
}

// plainLink is a site's link at the edge.
type plainLink struct {
	edge    *edge
	context tunnel.GUEContext
	plan    *plan.Interconnect
	site    node.Port // toward the site
	meta    pkt.Meta
}

func (w *world) interconnect(x *plan.Interconnect) error {
	m := w.nodes[x.Edge]
	if m == nil || m.ports[x.Interface] == nil {
		return fmt.Errorf("%s: no interface %q of %q", x.Name, x.Interface, x.Edge)
	}
	e := m.edge
	if e == nil {
		e = &edge{world: w, node: m.node, links: map[ident.OnRamp]*plainLink{}}
		m.edge = e
		m.node.SetStack(e)
	}
	l := &plainLink{edge: e, context: tunnel.GUEContext{Tenant: x.Tenant, OnRamp: x.OnRamp}, plan: x, site: m.ports[x.Interface]}
	e.links[x.OnRamp] = l
	for _, in := range w.wires {
		if in.to == receiver(m) && in.at == x.Interface {
			in.to = l
		}
	}
	return nil
}

// receive implements receiver: a bare packet of the site's goes to a server.
func (l *plainLink) receive(h packet.Handle) {
	pool := &l.edge.world.pool
	data := pool.Data(h)
	l.meta.Parse(data)
	if l.meta.Version == 0 {
		l.edge.junk++
		pool.Free(h)
		return
	}
	// All packets of a flow leave from one port, which the network's ECMP hashes.
	key := flow.ForwardKey(l.context.Tenant, ident.Scope(l.context.OnRamp), 0, &l.meta)
	e := tunnel.Encap{
		Src: l.plan.Local, Dst: l.plan.Remote, Proto: tunnel.ViaGUE, Context: l.context,
		SrcPort: plan.InterconnectSource(plan.InterconnectPort(flow.Hash(l.edge.world.plan.Seed, &key))), DstPort: tunnel.GUEPort,
	}
	if most := e.InnerMTU(l.edge.node.PathMTU(l.plan.Remote)); len(data) > most {
		l.tooBig(h, most)
		return
	}
	node.Wrap(pool, h, &e)
	l.edge.node.Output(h)
}

// tooBig decides a packet that the way to the servers does not pass whole: its
// sender is told, or what may be cut is dropped, as the lab's edge does.
func (l *plainLink) tooBig(h packet.Handle, mtu int) {
	pool := &l.edge.world.pool
	if l.meta.DF && l.meta.Blameable() {
		e := pool.Make(l.meta.AppendTooBig(nil, pool.Data(h), mtu, 0))
		pool.Mark(e, pool.Flow(h))
		l.site.Send(e)
	}
	l.edge.small++
	pool.Free(h)
}

// Receive implements node.Stack: what servers send to the edge itself.
func (e *edge) Receive(h packet.Handle, m *pkt.Meta) {
	if m.Kind != pkt.UDP || m.DstPort != tunnel.GUEPort {
		e.node.Answer(h, m)
		return
	}
	pool := &e.world.pool
	data := pool.Data(h)
	_, _, payload, reason := tunnel.UDPPayload(m.Src, m.Dst, data[m.L4:m.Len], true)
	if reason == drop.None {
		var g tunnel.GUEHeader
		if g, reason = tunnel.ParseGUE(payload); reason == drop.None && g.Context.Return && tunnel.CheckConnected(payload[g.Len:]) == drop.None {
			if l := e.links[g.Context.OnRamp]; l != nil && l.context.Tenant == g.Context.Tenant {
				if !tunnel.Unwrapped(pkt.ECNOf(data), payload[g.Len:]) {
					e.node.Discard(h, node.NotECT)
					return
				}
				begin := m.L4 + pkt.UDPHeader
				pool.Keep(h, begin+g.Len, begin+len(payload))
				l.site.Send(h)
				return
			}
		}
	}
	e.junk++
	pool.Free(h)
}
