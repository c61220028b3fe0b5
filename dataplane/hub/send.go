package hub

import (
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// wireSize is the largest packet that w puts on the wire.
func wireSize(w *work) int {
	if seg := int(w.off.Segment); seg != 0 {
		return min(w.meta.Len, w.meta.Payload+seg)
	}
	return w.meta.Len
}

// fits decides whether w may go where mtu bytes pass: with DF set and too big,
// the sender is told (SEMANTICS 2.10) and fits is false. The packet must still
// be as its sender sent it, for the quote.
func (h *Hub) fits(now vt.Instant, w *work, mtu int, out *Out) bool {
	if wireSize(w) <= mtu || !w.meta.DF || w.joined {
		return true
	}
	if w.meta.Kind == pkt.ICMPError { // no errors about errors (RFC 1122 section 3.2.2)
		h.dropped(now, w, drop.TooBig, out)
		return false
	}
	h.count.Answered++
	h.traceDrop(now, w, drop.TooBig, out)
	start := len(out.arena)
	out.arena = w.meta.AppendTooBig(out.arena, w.data, mtu, w.off.Segment)
	h.answer(w, start, out)
	return false
}

// sendInto sends w into the tunnel of r by x, in fragments if it is too big: then DF
// is clear or it came in fragments, as fits has made sure. A superpacket is cut to smaller segments
// instead, which the sender cannot tell from smaller packets.
func (h *Hub) sendInto(w *work, r *onRamp, x *exit, out *Out) {
	h.sendWithin(w, h.room(r, x, w.meta.Version), x, out)
}

// sendWithin is sendInto where mtu bytes pass.
func (h *Hub) sendWithin(w *work, mtu int, x *exit, out *Out) {
	if wireSize(w) <= mtu {
		x.put(out, w.data, w.off)
		return
	}
	if w.off.Segment != 0 {
		w.off.Segment = uint16(mtu - w.meta.Payload)
		x.put(out, w.data, w.off)
		return
	}
	if w.off.Partial {
		w.meta.FillChecksum(w.data)
	}
	h.cut(w, mtu, x, out)
}

// cut sends w in fragments of at most mtu bytes.
func (h *Hub) cut(w *work, mtu int, x *exit, out *Out) {
	for from, more := 0, true; more; more = from != 0 {
		start := len(out.arena)
		out.arena, from = w.meta.AppendFragment(out.arena, w.data, mtu, from)
		x.put(out, out.made(start), pkt.Offload{})
	}
}

// sendOut sends a translated packet to the Internet.
func (h *Hub) sendOut(w *work, out *Out) {
	uplink := h.v.cfg.Uplink
	if !w.joined && (uplink == 0 || wireSize(w) <= uplink) {
		out.send(w.data, w.off)
		return
	}
	w.meta.SetID(w.data, h.identification(w.meta.SrcPort))
	h.sendWithin(w, h.v.mtu, &exit{}, out)
}

// expired decides a packet whose TTL has run out: its sender is told, by the
// address that the packet met us at (RFC 1812 section 5.3.1). The packet must
// still be as its sender sent it, for the quote.
func (h *Hub) expired(now vt.Instant, w *work, out *Out) {
	from := w.meta.Dst
	if w.ramp != nil {
		from = w.ramp.router(w.meta.Version)
	}
	switch {
	case !w.meta.Blameable() || !from.IsValid():
		h.dropped(now, w, drop.TTLExpired, out)
		return
	case w.ramp != nil && h.forged(w):
		h.dropped(now, w, drop.SpoofedSource, out)
		return
	}
	h.count.Answered++
	h.traceDrop(now, w, drop.TTLExpired, out)
	start := len(out.arena)
	out.arena = w.meta.AppendTimeExceeded(out.arena, w.data, from, w.off.Segment)
	h.answer(w, start, out)
}

// sendReset answers a client's TCP segment with a reset, back where it came
// from.
func (h *Hub) sendReset(w *work, out *Out) {
	start := len(out.arena)
	out.arena = w.meta.AppendReset(out.arena)
	h.answer(w, start, out)
}
