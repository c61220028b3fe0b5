package hub

import (
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// Unconnected tunnels (SEMANTICS 4.1): every packet says in its GUE header whose
// it is. Whoever writes that picks the tenant, so it is believed only of the
// network's own: the edge, which takes the packets of interconnects, and other
// servers, which hand over those of connected tunnels.

// receiveGUE takes UDP and GUE headers off, and believes what they say if the
// sender may say it.
func (h *Hub) receiveGUE(w *work, o *pkt.Outer, at place, internal bool, payload []byte) drop.Reason {
	from := h.v.local.at(o.Src)
	if !internal || at.kind == ourHandover && from.kind != peerHandover {
		return drop.ForgedHandover
	}
	gue, reason := tunnel.ParseGUE(payload)
	if reason != drop.None {
		return reason
	}
	c := &gue.Context
	if c.Egress.Given {
		return h.receiveAsked(w, at, from.server, payload[gue.Len:], c)
	}
	r := h.v.ramps[c.OnRamp]
	switch {
	case r == nil:
		return drop.UnknownTunnel
	case r.Tenant != c.Tenant:
		return drop.BadTunnel
	case at.kind == unconnectedAddress:
		if r.Kind != tunnel.Interconnect || r.remote != o.Src || r.local != o.Dst {
			return drop.ForgedHandover
		}
		if c.Hops != 0 || c.Return || c.SecondHop || c.VNet != 0 {
			return drop.BadTunnel
		}
		w.ramp, w.vnet = r, r.VNet
	case !r.connected() || c.Hops == 0 || r.network(c.VNet) != c.VNet:
		return drop.BadTunnel
	default:
		w.ramp, w.vnet, w.from = r, c.VNet, from.server
		w.hops, w.leaving = c.Hops, c.Return
		w.kept, w.asking = c.SecondHop && !c.Return, c.SecondHop && c.Return
	}
	w.data = payload[gue.Len:]
	return drop.None
}

// receiveAsked takes what the halves of a flow say to each other (remote.go).
func (h *Hub) receiveAsked(w *work, at place, from ident.Server, inner []byte, c *tunnel.GUEContext) drop.Reason {
	r := h.v.ramps[c.OnRamp]
	switch {
	case at.kind != ourHandover || c.Hops == 0:
		return drop.BadTunnel
	case r == nil || r.Tenant != c.Tenant:
		return drop.UnknownTunnel
	}
	w.host, w.asker, w.asked, w.notice = from, r, c.Egress, c.Return
	w.vnet, w.hops, w.data = r.network(c.VNet), c.Hops, inner
	return drop.None
}

// gueTo is the outer header of a packet of a connected tunnel to another server:
// on its way home, or leaving by the tunnel that is attached there.
func (p *peer) gueTo(r *onRamp, vnet ident.VNet, hash uint64) tunnel.Encap {
	e := p.encap
	e.Proto, e.HasKey = tunnel.ViaGUE, false
	e.SrcPort, e.DstPort = tunnel.GUESourcePort(hash), tunnel.GUEPort
	e.Context = tunnel.GUEContext{OnRamp: r.ID, Tenant: r.Tenant, VNet: vnet}
	return e
}
