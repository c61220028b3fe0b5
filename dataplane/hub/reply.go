package hub

import (
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/health"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// fromInternet decides a packet to an egress address: to the owner of its
// slice, back along its flow, or nowhere (SEMANTICS 1.4, 5.2).
func (h *Hub) fromInternet(now vt.Instant, w *work, out *Out) {
	switch {
	case w.owner == h.v.cfg.Self, w.kept, h.wasOf(&w.key) == h.v.cfg.Self:
	case w.owner == 0:
		h.dropped(now, w, drop.NoOwner, out)
		return
	default:
		h.handOver(now, w, w.owner, steer.Context{}, "slice", out)
		return
	}
	i, f := h.flows.Reverse(&w.key, w.hash)
	if f != nil {
		h.recall(i, f)
	}
	if f != nil && f.Deadline <= now {
		h.end(now, i, f, out)
		f = nil
	}
	if f == nil {
		h.notHere(now, w, out)
		return
	}
	if r := h.remoteOf(i); r != nil {
		switch {
		case r.guest:
			h.toHome(now, w, i, f, r, out)
			return
		case !r.open: // the answer of the egress server was lost, or comes late
			r.open = true
			h.started(now, i, f, out)
		}
	}
	h.back(now, w, i, f, out)
}

// notHere decides a reply whose flow is not here, although it may be: of an
// address that moves it is where the address was, or is. Each is asked once.
func (h *Hub) notHere(now vt.Instant, w *work, out *Out) {
	other := h.wasOf(&w.key)
	if other == h.v.cfg.Self {
		other = w.owner
	}
	if w.kept || other == 0 || other == h.v.cfg.Self {
		h.dropped(now, w, drop.NoFlow, out)
		return
	}
	h.handOver(now, w, other, steer.Context{SecondHop: true}, "moved", out)
}

// answered takes a packet that is the reply of a flow to a private network back
// along it; false if it is none.
func (h *Hub) answered(now vt.Instant, w *work, out *Out) bool {
	i, f, reason := h.mirrored(now, w, out)
	switch {
	case reason != drop.None:
		h.dropped(now, w, reason, out)
	case f != nil:
		h.back(now, w, i, f, out)
	default:
		return false
	}
	return true
}

// back sends a reply of a flow to its client.
func (h *Hub) back(now vt.Instant, w *work, i flow.Index, f *flow.Flow, out *Out) {
	r, why, reason := h.wayBack(f)
	switch {
	case reason != drop.None:
		h.dropped(now, w, reason, out)
		return
	case w.meta.TTL <= 1:
		h.expired(now, w, out)
		return
	}
	if x := h.into(now, w, r, out); x != nil {
		h.giveBack(now, w, i, f, r, x, why, out)
	}
}

// wayBack chooses the on-ramp of a reply: with ARR the one that the flow came
// from, without looking at any destination address; otherwise the route table
// decides on the return packet, with all its ambiguity (SEMANTICS 1.6).
func (h *Hub) wayBack(f *flow.Flow) (r *onRamp, why string, reason drop.Reason) {
	if f.Return != 0 {
		r = h.v.ramps[f.Return]
		if h.probes.unwell > 0 && r.group != nil && r.group.Predictive && h.Health(r.ID) == health.Down {
			return h.healthiest(r), "healthiest of the group", drop.None
		}
		return r, "stored on-ramp", drop.None
	}
	h.count.RouteLookups++
	client := f.Key.Source()
	hash := h.v.routes.Hash(f.Key.Destination(), client, f.Key.Proto)
	d := h.v.routes.Lookup(f.Key.Tenant, f.Key.VNet, client.Addr(), hash, h.penalties())
	switch {
	case d.Verdict == route.Null:
		return nil, "", drop.NullRouted
	case d.Verdict == route.Internet:
		return nil, "", drop.NoRoute // a public client address that no route names
	case d.Equal > 1:
		return h.v.ramps[d.NextHop], "equal routes", drop.None
	}
	return h.v.ramps[d.NextHop], "route", drop.None
}

// giveBack undoes the translation and sends the reply into the on-ramp.
func (h *Hub) giveBack(now vt.Instant, w *work, i flow.Index, f *flow.Flow, r *onRamp, x *exit, why string, out *Out) {
	m := &w.meta
	client := f.Key.Source()
	ended := false
	if m.Kind == pkt.ICMPError {
		h.undoQuote(w, f)
	} else {
		h.traceReturn(now, i, f, r, why, out)
		ended = h.flows.Inbound(now, i, f, m)
		m.SetDst(w.data, client.Addr(), client.Port(), w.off)
		m.ClampMSS(w.data, h.clamp(r, m.Version), w.off)
	}
	m.DecTTL(w.data)
	h.count.Returned++
	h.sendInto(w, r, x, out)
	if ended {
		h.finish(now, i, f, out)
	}
	h.hasten(i, f)
}

// undoQuote translates an ICMP error of the outside: the packet it quotes left
// as the egress address and is the client's (RFC 5508 section 4.2).
func (h *Hub) undoQuote(w *work, f *flow.Flow) {
	m, client := &w.meta, f.Key.Source()
	var q pkt.Meta
	m.Quoted(w.data, &q)
	q.SetSrc(w.data[m.Payload:], client.Addr(), client.Port(), pkt.Offload{})
	m.SetDst(w.data, client.Addr(), 0, pkt.Offload{})
	m.RefreshICMP(w.data)
}

// complaint translates an ICMP error of the client side about a reply it got,
// so that the origin recognises its own packet. Path MTU discovery behind an
// on-ramp depends on it.
func (h *Hub) complaint(now vt.Instant, w *work, i flow.Index, f *flow.Flow, out *Out) {
	if f == nil {
		h.unkeyed(now, w, out)
		return
	}
	var x *exit
	off := h.offRamp(i)
	if off != nil {
		if x = h.into(now, w, off, out); x == nil {
			return
		}
	}
	m, egress := &w.meta, f.Egress()
	var q pkt.Meta
	m.Quoted(w.data, &q)
	q.SetDst(w.data[m.Payload:], egress.Addr(), egress.Port(), pkt.Offload{})
	m.SetSrc(w.data, egress.Addr(), 0, pkt.Offload{})
	m.RefreshICMP(w.data)
	m.DecTTL(w.data)
	h.count.Forwarded++
	if off == nil {
		h.sendAway(now, w, i, out)
		return
	}
	h.sendInto(w, off, x, out)
}
