package hub

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Flows to private networks: a device, what is behind a connector, or a site
// that one of these asks (SEMANTICS 1.3, 1.7). They have state at their home as
// flows to the Internet have, and an off-ramp instead of an egress address.

// tracked reports whether a packet from w's on-ramp to off is of a flow: unless
// both are WAN connections, between which every packet is routed by itself
// (ARR-8). Both ends are private then, so that a reply finds the same home.
func (h *Hub) tracked(w *work, off *onRamp) bool {
	return w.private && (w.ramp.connected() || off.connected())
}

// openPrivate makes a flow to an off-ramp.
func (h *Hub) openPrivate(now vt.Instant, w *work, off *onRamp, out *Out) {
	if h.flows.Full() {
		h.sweep(now, out)
	}
	if h.flows.Full() {
		h.refuse(now, w, drop.TableFull, out)
		return
	}
	source, reason := h.privateSource(now, w, off, out)
	if reason != drop.None {
		h.refuse(now, w, reason, out)
		return
	}
	i, f := h.flows.Insert(now, w.key, source)
	if source != w.key.Source() {
		h.sources.Took(w.key.Proto, source, w.key.Destination())
	}
	h.leads(i, off.ID)
	h.start(now, w, i, f, out)
}

// privateSource is what the private host sees as the client: the client itself,
// or a source of the network where that cannot be (SEMANTICS 1.5). Nobody here
// can tell which clients of other datacenters reach the same off-ramp: there the
// one that it is attached to rejects (expected), and to avoid that is to give
// every client a source of the network.
func (h *Hub) privateSource(now vt.Instant, w *work, off *onRamp, out *Out) (netip.AddrPort, drop.Reason) {
	client := w.key.Source()
	if !off.Translate {
		key := w.key.Answer(client)
		i, other := h.flows.Reverse(&key, flow.Hash(h.v.cfg.Seed, &key))
		if other != nil && (other.Over() || other.Deadline <= now || other.OnRamp == w.ramp.ID) {
			// Behind us, or the client's own from another virtual network.
			h.end(now, i, other, out)
			other = nil
		}
		snat := w.ramp.tenant.Collision == CollisionSNAT
		switch {
		case other == nil && !(snat && w.ramp.Kind != tunnel.Device && h.elsewhere(off)):
			return client, drop.None
		case !snat:
			return client, drop.ReverseCollision
		}
	}
	source, ok := h.sources.Allocate(h.flows, &w.key, egress.From{}, egress.Pool)
	if !ok {
		h.sweep(now, out)
		source, ok = h.sources.Allocate(h.flows, &w.key, egress.From{}, egress.Pool)
	}
	if !ok {
		return client, drop.PortsExhausted
	}
	return source, drop.None
}

// elsewhere reports whether a device or connector is attached in another
// datacenter.
func (h *Hub) elsewhere(r *onRamp) bool {
	p := h.v.peers[h.attached[r.ID].Server]
	return r.connected() && p != nil && p.Datacenter != h.v.dc
}

// asks decides whether the question w may leave by x, the exit of a connected
// tunnel: the server that the tunnel is attached to notes who expects the answer.
func (h *Hub) asks(now vt.Instant, w *work, f *flow.Flow, off *onRamp, x *exit, out *Out) bool {
	if x == &h.toPeer {
		x.encap.Context.SecondHop = true
		return true
	}
	if f.Egress() != f.Key.Source() || h.expected(now, w, off, h.v.cfg.Self) {
		return true
	}
	h.dropped(now, w, drop.ReverseCollision, out)
	return false
}

// expected notes which server expects the answer to w, which leaves by r here:
// no hash says so where that server is in another datacenter, or is the home no
// more. It is false if another server expects the same answer, for a client that
// looks the same (SEMANTICS 1.5).
func (h *Hub) expected(now vt.Instant, w *work, r *onRamp, by ident.Server) bool {
	m := w.meta
	if m.Kind == pkt.Fragment && m.FragOffset == 0 {
		m.ParseFirst(w.data)
	}
	switch m.Kind {
	case pkt.TCP, pkt.UDP, pkt.EchoRequest:
	default:
		return true
	}
	if h.v.sources[pkt.NumberOf(m.Src)] != 0 {
		return true // the source says whose it is
	}
	m.Turn()
	key := flow.ForwardKey(r.Tenant, r.scope, h.lines.of[r.ID].vnet, &m)
	device := route.Reserves(w.meta.Src) // nobody else has its address: it came in elsewhere
	return h.answers.Claim(now, &key, &m, by, device)
}

// asker is the server that expects a packet from a connected tunnel as an
// answer; 0 if none does.
func (h *Hub) asker(now vt.Instant, w *work) ident.Server {
	if !w.private || !w.ramp.connected() || w.hops != 0 {
		return 0
	}
	return h.answers.Find(now, &w.key, &w.meta)
}

// leads notes the off-ramp of a flow, and offRamp finds it again: nil is the
// Internet, where nearly all flows go.
func (h *Hub) leads(i flow.Index, to ident.OnRamp) {
	if int(i) >= len(h.offRamps) {
		if to == 0 {
			return
		}
		h.offRamps = append(h.offRamps, make([]ident.OnRamp, int(i)+1-len(h.offRamps))...)
	}
	h.offRamps[i] = to
}

func (h *Hub) offRamp(i flow.Index) *onRamp {
	if to := h.leadsTo(i); to != 0 {
		return h.v.ramps[to]
	}
	return nil
}

// leadsTo is the off-ramp's number; 0 is the Internet.
func (h *Hub) leadsTo(i flow.Index) ident.OnRamp {
	if int(i) >= len(h.offRamps) {
		return 0
	}
	return h.offRamps[i]
}
