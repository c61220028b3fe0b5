package hub

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// fromOnRamp decides a packet of the client side: to its home, along its flow's
// stored path, or through set-up (SEMANTICS 1.4).
func (h *Hub) fromOnRamp(now vt.Instant, w *work, out *Out) {
	if !w.keyed {
		h.unkeyed(now, w, out)
		return
	}
	if !w.kept {
		switch home := h.v.buckets.Home(w.hash); home {
		case h.v.cfg.Self:
		case 0:
			h.dropped(now, w, drop.NoOwner, out)
			return
		default:
			h.handOver(now, w, home, steer.Context{OnRamp: w.ramp.ID}, "bucket", out)
			return
		}
	}
	if w.meta.TTL <= 1 {
		h.expired(now, w, out)
		return
	}
	i, f := h.flows.Forward(&w.key, w.hash)
	if f != nil && f.Deadline <= now {
		h.end(now, i, f, out)
		f = nil
	}
	switch {
	case f == nil && h.relayed(now, w, out):
	case w.meta.Kind == pkt.ICMPError:
		h.complaint(now, w, f, out)
	case f == nil || w.meta.Kind == pkt.TCP && w.meta.Opens() && f.Reusable():
		h.setUp(now, w, i, f, out)
	default:
		h.forward(now, w, i, f, out)
	}
}

// forward sends a packet along its flow's stored path.
func (h *Hub) forward(now vt.Instant, w *work, i flow.Index, f *flow.Flow, out *Out) {
	ended := h.flows.Outbound(now, i, f, &w.meta)
	egress := f.Egress()
	w.meta.SetSrc(w.data, egress.Addr(), egress.Port(), w.off)
	w.meta.DecTTL(w.data)
	w.meta.ClampMSS(w.data, w.ramp.clamp(w.meta.Version), w.off)
	h.count.Forwarded++
	h.sendOut(w, out)
	if ended {
		h.finish(now, i, f, out)
	}
}

// setUp decides a packet without a flow; f is one whose session is behind it,
// or nil. Route first: only what goes to the Internet gets state here
// (SEMANTICS 1.3), and where a packet goes says which policies are asked.
func (h *Hub) setUp(now vt.Instant, w *work, i flow.Index, f *flow.Flow, out *Out) {
	if h.forged(w.meta.Src) {
		h.dropped(now, w, drop.SpoofedSource, out)
		return
	}
	decision := h.route(w)
	w.rules = nil
	if w.ramp.policies != nil && !h.admitted(now, w, decision.Verdict, out) {
		return
	}
	if f != nil && decision.Verdict != route.Internet {
		h.end(now, i, f, out)
	}
	switch {
	case decision.Verdict == route.Null:
		h.dropped(now, w, drop.NullRouted, out)
	case decision.Verdict == route.Via:
		h.toOnRamp(now, w, decision.NextHop, out)
	case !w.opens():
		h.orphan(now, w, out)
	case f != nil:
		if !f.Over() {
			h.finish(now, i, f, out)
		}
		h.start(now, w, i, h.flows.Reopen(now, i), out)
	default:
		h.open(now, w, out)
	}
}

// open makes a flow: an egress port of this server, and the path back.
func (h *Hub) open(now vt.Instant, w *work, out *Out) {
	if h.ports.Size(w.meta.Dst) == 0 {
		h.refuse(now, w, drop.NoEgress, out)
		return
	}
	egress, ok := h.allocate(w)
	if !ok || h.flows.Full() {
		// Flows that are over but not yet swept must not refuse new ones.
		h.sweep(now, out)
		egress, ok = h.allocate(w)
	}
	switch {
	case h.flows.Full():
		h.refuse(now, w, drop.TableFull, out)
		return
	case !ok:
		h.exhausted(now, w, out)
		return
	}
	i, f := h.flows.Insert(now, w.key, egress)
	h.ports.Took(w.key.Proto, egress, w.key.Destination())
	h.start(now, w, i, f, out)
}

// start begins a session with its first packet.
func (h *Hub) start(now vt.Instant, w *work, i flow.Index, f *flow.Flow, out *Out) {
	f.OnRamp = w.ramp.ID
	if w.ramp.ARR {
		f.Return = w.ramp.ID // the single extra fact ARR stores (SEMANTICS 1.4)
	}
	h.remember(i, w.rules)
	h.started(now, i, f, out)
	h.forward(now, w, i, f, out)
}

// refuse drops a packet that would have opened a flow. A TCP client is told
// with a reset, so that the connection fails now instead of after its last
// retransmission (SEMANTICS 5.5).
func (h *Hub) refuse(now vt.Instant, w *work, reason drop.Reason, out *Out) {
	h.refused(now, w, reason, out)
	h.dropped(now, w, reason, out)
	if w.meta.Kind == pkt.TCP {
		h.sendReset(w, out)
	}
}

// orphan decides a mid-flow packet whose state is not here. If its bucket has
// moved it is tried once at the previous home.
func (h *Hub) orphan(now vt.Instant, w *work, out *Out) {
	if second := h.v.buckets.SecondHop(w.hash); second != 0 && second != h.v.cfg.Self && !w.kept {
		h.handOver(now, w, second, steer.Context{OnRamp: w.ramp.ID, SecondHop: true}, "second hop", out)
		return
	}
	if w.ramp.tenant.Orphan == OrphanReset && w.meta.Kind == pkt.TCP && w.meta.Flags&pkt.RST == 0 {
		h.count.Answered++
		h.traceDrop(now, w, drop.Orphan, out)
		h.sendReset(w, out)
		return
	}
	h.dropped(now, w, drop.Orphan, out)
}

// unkeyed decides a packet that can have no flow of its own: it may still be
// routed to another site.
func (h *Hub) unkeyed(now vt.Instant, w *work, out *Out) {
	switch {
	case w.meta.TTL <= 1:
		h.expired(now, w, out)
		return
	case h.forged(w.meta.Src):
		h.dropped(now, w, drop.SpoofedSource, out)
		return
	}
	decision := h.route(w)
	if w.ramp.policies != nil && !h.admitted(now, w, decision.Verdict, out) {
		return
	}
	switch {
	case decision.Verdict == route.Null:
		h.dropped(now, w, drop.NullRouted, out)
	case decision.Verdict == route.Via:
		h.toOnRamp(now, w, decision.NextHop, out)
	case w.meta.Kind == pkt.EchoReply:
		h.dropped(now, w, drop.Orphan, out)
	default:
		h.dropped(now, w, drop.Unsupported, out)
	}
}

// route looks up where a client's packet goes.
func (h *Hub) route(w *work) route.Decision {
	m := &w.meta
	hash := h.v.routes.Hash(netip.AddrPortFrom(m.Src, m.SrcPort), netip.AddrPortFrom(m.Dst, m.DstPort), m.Proto)
	return h.v.routes.Lookup(w.ramp.Tenant, w.ramp.VNet, m.Dst, hash, nil)
}

// own reports whether an address is one of the network's.
func (h *Hub) own(addr netip.Addr) bool { return h.v.local.at(pkt.NumberOf(addr)).kind != elsewhere }

// forged reports whether no client can have sent a packet from this address: it
// is one of the network's, or a router may not pass it on (RFC 4291 sections
// 2.5.2, 2.5.6 and 2.7).
func (h *Hub) forged(src netip.Addr) bool {
	return h.own(src) || src.Is6() && (src.IsLinkLocalUnicast() || src.IsMulticast() || src.IsUnspecified() || src.IsLoopback())
}

// toOnRamp routes a packet from site to site, by itself and without state
// (ARR-8). The smaller of both tunnels bounds what the ends may send.
func (h *Hub) toOnRamp(now vt.Instant, w *work, to ident.OnRamp, out *Out) {
	r := h.v.ramps[to]
	if !h.fits(now, w, r, out) {
		return
	}
	w.meta.DecTTL(w.data)
	w.meta.ClampMSS(w.data, min(w.ramp.clamp(w.meta.Version), r.clamp(w.meta.Version)), w.off)
	h.count.Routed++
	h.sendInto(w, r, out)
}

// handOver sends a packet to another server, with context's on-ramp and mark.
func (h *Hub) handOver(now vt.Instant, w *work, to ident.Server, context steer.Context, why string, out *Out) {
	p := h.v.peers[to]
	switch {
	case w.hops >= steer.MaxHops:
		h.dropped(now, w, drop.HopLimit, out)
		return
	case p == nil:
		h.dropped(now, w, drop.NoOwner, out)
		return
	}
	context.Hops = w.hops + 1
	h.count.HandedOver++
	h.traceHandover(now, w, to, why, out)
	if w.joined && w.meta.Len > h.v.mtu {
		encap := p.encap
		encap.Key = context.Key()
		h.cut(w, h.v.mtu, &encap, out)
		return
	}
	s := out.send(w.data, w.off)
	s.Encap = p.encap
	s.Encap.Key = context.Key()
}
