package hub

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// fromOnRamp decides a packet of the client side: to its home, along its flow's
// stored path, or through set-up (SEMANTICS 1.4).
func (h *Hub) fromOnRamp(now vt.Instant, w *work, out *Out) {
	if (w.meta.Kind == pkt.EchoRequest || w.meta.Kind == pkt.EchoReply) && h.local(now, w, out) {
		return
	}
	if w.speaks() {
		h.speak(w, out)
		return
	}
	if !w.keyed {
		h.unkeyed(now, w, out)
		return
	}
	if to := h.asker(now, w); to != 0 && to != h.v.cfg.Self {
		h.handOver(now, w, to, steer.Context{OnRamp: w.ramp.ID}, "answer", out)
		return
	}
	if !w.kept {
		switch home := h.home(w); {
		case home == h.v.cfg.Self || w.hops > 0 && h.strayed(w, home):
		case home == 0:
			h.dropped(now, w, drop.NoOwner, out)
			return
		default:
			h.handOver(now, w, home, steer.Context{OnRamp: w.ramp.ID}, "bucket", out)
			return
		}
	}
	if w.private && h.answered(now, w, out) {
		return
	}
	if w.meta.TTL <= 1 {
		h.expired(now, w, out)
		return
	}
	i, f := h.flows.Forward(&w.key, w.hash)
	if f != nil {
		h.recall(i, f)
	}
	if f != nil && f.Deadline <= now {
		h.end(now, i, f, out)
		f = nil
	}
	switch {
	case f == nil && h.relayed(now, w, out):
	case w.meta.Kind == pkt.ICMPError:
		h.complaint(now, w, i, f, out)
	case f == nil || w.meta.Kind == pkt.TCP && w.meta.Opens() && f.Reusable():
		h.setUp(now, w, i, f, out)
	default:
		h.forward(now, w, i, f, out)
	}
}

// home is the server whose flow table knows w's flow: the owner of the bucket of
// its forward key; where the destination is private that of both ends, which a
// reply has too, or the owner of the source that a reply goes to.
func (h *Hub) home(w *work) ident.Server {
	switch {
	case w.owner != 0:
		return w.owner
	case w.private:
		return h.v.buckets.Home(w.ends)
	}
	return h.v.buckets.Home(w.hash)
}

// strayed reports whether a packet that was handed to this server stays here,
// although its home is another. Servers learn of a reassignment one after the other:
// who has the flow keeps it. Two of which each takes the other for home do not hand
// a packet to and fro: one that opens a flow stays with the second, and any other
// that is nobody's with the first. Where a datagram was put together says nothing.
func (h *Hub) strayed(w *work, home ident.Server) bool {
	if w.private || w.joined || home == 0 {
		return false
	}
	if (home == w.host || home == w.from) && (w.hops > 1 || h.opens(w)) {
		return true
	}
	_, f := h.flows.Forward(&w.key, w.hash)
	return f != nil
}

// forward sends a packet along its flow's stored path.
func (h *Hub) forward(now vt.Instant, w *work, i flow.Index, f *flow.Flow, out *Out) {
	clamp := h.clamp(w.ramp, w.meta.Version)
	var x *exit
	off := h.offRamp(i)
	if off != nil {
		if x = h.into(now, w, off, out); x == nil || off.connected() && !h.asks(now, w, f, off, x, out) {
			return
		}
		clamp = min(clamp, h.clamp(off, w.meta.Version))
	} else if !h.fitsAway(now, w, i, out) {
		return
	}
	if w.ramp.group != nil && f.Return != 0 {
		h.follow(now, w, i, f, out)
	}
	ended := h.flows.Outbound(now, i, f, &w.meta)
	egress := f.Egress()
	w.meta.SetSrc(w.data, egress.Addr(), egress.Port(), w.off)
	w.meta.DecTTL(w.data)
	w.meta.ClampMSS(w.data, clamp, w.off)
	h.count.Forwarded++
	if off == nil {
		h.sendAway(now, w, i, out)
	} else {
		if w.joined || !w.meta.DF { // it may go in fragments, and its source be others' too
			w.meta.SetID(w.data, h.privateIdentification())
		}
		h.sendInto(w, off, x, out)
	}
	if ended {
		h.finish(now, i, f, out)
	}
	h.hasten(i, f)
}

// setUp decides a packet without a flow; f is one whose session is behind it,
// or nil. Route first: what goes from site to site gets no state (SEMANTICS
// 1.3), and where a packet goes says which policies are asked.
func (h *Hub) setUp(now vt.Instant, w *work, i flow.Index, f *flow.Flow, out *Out) {
	if h.forged(w) {
		h.dropped(now, w, drop.SpoofedSource, out)
		return
	}
	decision := h.route(w)
	off := h.v.ramps[decision.NextHop]
	tracked := decision.Verdict == route.Internet || off != nil && h.tracked(w, off)
	w.rules, w.leaves = nil, nil
	if w.meta.Opens() && h.v.buckets.SecondHop(w.hash) != 0 {
		h.pass(w, 0)
	}
	if w.ramp.policies != nil && !h.admitted(now, w, tracked, out) {
		return
	}
	if f != nil && (decision.Verdict != route.Internet || h.offRamp(i) != nil || h.remoteOf(i) != nil || h.chooses(w)) {
		h.end(now, i, f, out)
		f = nil
	}
	switch {
	case decision.Verdict == route.Null:
		h.dropped(now, w, drop.NullRouted, out)
	case !tracked:
		h.toOnRamp(now, w, off, out)
	case !h.opens(w) && !w.kept && off != nil && !w.ramp.connected() && h.elsewhere(off):
		// A site answers what is at home where the device is attached.
		dc := h.v.peers[h.attached[off.ID].Server].Datacenter
		home := h.v.divisions[dc].Owner(h.v.cfg.Seed, w.ends, h.v.live[dc])
		h.handOver(now, w, home, steer.Context{OnRamp: w.ramp.ID, SecondHop: true}, "datacenter of the device", out)
	case !h.opens(w):
		h.orphan(now, w, out)
	case w.ramp.Translate:
		h.dropped(now, w, drop.OffRampOnly, out)
	case off != nil:
		h.openPrivate(now, w, off, out)
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
	d, up := h.departure(w)
	switch {
	case !up:
		h.refuse(now, w, drop.EgressDown, out)
		return
	case d.at != 0 && d.at != h.v.cfg.Self:
		h.openRemote(now, w, d, out)
		return
	case h.ports.Size(w.meta.Dst, d.from) == 0:
		h.refuse(now, w, drop.NoEgress, out)
		return
	}
	egress, ok := h.allocate(w, d.from)
	if !ok || h.flows.Full() {
		// Flows that are over but not yet swept must not refuse new ones.
		h.sweep(now, out)
		egress, ok = h.allocate(w, d.from)
	}
	switch {
	case h.flows.Full():
		h.refuse(now, w, drop.TableFull, out)
		return
	case !ok:
		h.exhausted(now, w, d.from, out)
		return
	}
	i, f := h.flows.Insert(now, w.key, egress)
	h.took(w.key.Proto, egress, w.key.Destination())
	h.start(now, w, i, f, out)
}

// start begins a session with its first packet.
func (h *Hub) start(now vt.Instant, w *work, i flow.Index, f *flow.Flow, out *Out) {
	f.OnRamp = w.ramp.ID
	if w.ramp.ARR {
		f.Return = w.ramp.ID // the single extra fact ARR stores (SEMANTICS 1.4)
		if w.ramp.group != nil {
			*h.pin(i) = pinned{seen: now, since: now}
		}
	}
	h.remember(i, w.rules)
	if h.remoteOf(i) == nil { // otherwise when its port is known
		h.started(now, i, f, out)
	}
	h.forward(now, w, i, f, out)
}

// sendAway sends a translated packet of flow i to the Internet, from here or from
// another server.
func (h *Hub) sendAway(now vt.Instant, w *work, i flow.Index, out *Out) {
	if r := h.remoteOf(i); r != nil && !r.guest {
		h.toEgress(now, w, r, out)
		return
	}
	h.sendOut(w, out)
}

// fitsAway is fits for what goes to the Internet, from here or from another server.
func (h *Hub) fitsAway(now vt.Instant, w *work, i flow.Index, out *Out) bool {
	if !h.paths.narrow {
		return true
	}
	if r := h.remoteOf(i); r != nil {
		return h.fits(now, w, h.between(w, h.egressExit(w, r)), out)
	}
	return h.v.cfg.Uplink == 0 || h.fits(now, w, h.v.mtu, out)
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
	hash := w.hash
	if w.private {
		hash = w.ends
	}
	if second := h.v.buckets.SecondHop(hash); second != 0 && second != h.v.cfg.Self && !w.kept {
		h.handOver(now, w, second, steer.Context{OnRamp: w.ramp.ID, SecondHop: true}, "second hop", out)
		h.pass(w, second)
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
	case h.forged(w):
		h.dropped(now, w, drop.SpoofedSource, out)
		return
	}
	decision := h.route(w)
	if w.ramp.policies != nil && !h.admitted(now, w, decision.Verdict == route.Internet, out) {
		return
	}
	switch off := h.v.ramps[decision.NextHop]; {
	case decision.Verdict == route.Null:
		h.dropped(now, w, drop.NullRouted, out)
	case off != nil && (off.connected() || w.ramp.connected()):
		h.dropped(now, w, drop.Unsupported, out) // no flow, and so no way back
	case off != nil:
		h.toOnRamp(now, w, off, out)
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
	return h.v.routes.Lookup(w.ramp.Tenant, w.vnet, m.Dst, hash, h.penalties())
}

// own reports whether an address is one of the network's.
func (h *Hub) own(addr netip.Addr) bool { return h.v.local.at(pkt.NumberOf(addr)).kind != elsewhere }

// forged reports whether no client can have sent w: its source is one of the
// network's own, the network keeps it for devices and this is none, or a router
// may not pass it on (RFC 4291 sections 2.5.2, 2.5.6 and 2.7).
func (h *Hub) forged(w *work) bool {
	src := w.meta.Src
	if h.own(src) || src.Is6() && (src.IsLinkLocalUnicast() || src.IsMulticast() || src.IsUnspecified() || src.IsLoopback()) {
		return true
	}
	if w.ramp.Kind == tunnel.Device { // its source was compared on arrival
		return false
	}
	return route.Reserves(src)
}

// toOnRamp routes a packet from site to site, by itself and without state
// (ARR-8). The smaller of both tunnels bounds what the ends may send.
func (h *Hub) toOnRamp(now vt.Instant, w *work, r *onRamp, out *Out) {
	x := h.into(now, w, r, out)
	if x == nil {
		return
	}
	w.meta.DecTTL(w.data)
	w.meta.ClampMSS(w.data, min(h.clamp(w.ramp, w.meta.Version), h.clamp(r, w.meta.Version)), w.off)
	h.count.Routed++
	h.sendInto(w, r, x, out)
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
	x := &h.toPeer
	x.encap, x.port = p.encap, 0
	if w.ramp != nil && w.ramp.connected() {
		x.encap = p.gueTo(w.ramp, w.vnet, w.hash)
		x.encap.Context.Hops, x.encap.Context.SecondHop = w.hops+1, context.SecondHop
	} else {
		context.Hops = w.hops + 1
		x.encap.Key = context.Key()
	}
	mtu := h.between(w, x)
	if !h.fits(now, w, mtu, out) {
		return
	}
	h.clampLine(w)
	h.count.HandedOver++
	h.traceHandover(now, w, to, why, out)
	h.sendWithin(w, mtu, x, out)
}
