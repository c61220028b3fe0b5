package hub

import (
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// exit is how packets leave by an on-ramp: behind an outer header, or through a
// socket inside the server.
type exit struct {
	encap tunnel.Encap
	port  Port
}

// put sends a packet by x.
func (x *exit) put(out *Out, data []byte, off pkt.Offload) {
	s := out.send(data, off)
	s.Encap, s.Port = x.encap, x.port
}

// exitOf is how a packet that was handed over hops times leaves by r. A
// connected tunnel is at one server alone: elsewhere the packet goes there. The
// exit is valid until the next call.
func (h *Hub) exitOf(r *onRamp, hops uint8, hash uint64) (*exit, drop.Reason) {
	if !r.connected() {
		return &r.exit, drop.None
	}
	at := h.attached[r.ID]
	if at.Server == h.v.cfg.Self {
		if l := h.lines.of[r.ID]; l != nil {
			return &l.exit, drop.None
		}
	}
	p := h.v.peers[at.Server]
	switch {
	case p == nil || at.Server == h.v.cfg.Self:
		return nil, drop.Unattached
	case hops >= steer.MaxHops:
		return nil, drop.HopLimit
	}
	h.toPeer.encap = p.gueTo(r, r.network(at.VNet), hash)
	h.toPeer.encap.Context.Return, h.toPeer.encap.Context.Hops = true, hops+1
	return &h.toPeer, drop.None
}

// into decides whether w can leave by r, and how; nil if it cannot, and then its
// sender was told or it is dropped. The packet must still be as its sender sent
// it, for the quote.
func (h *Hub) into(now vt.Instant, w *work, r *onRamp, out *Out) *exit {
	x, reason := h.exitOf(r, w.hops, w.hash)
	switch {
	case reason != drop.None:
		h.dropped(now, w, reason, out)
	case h.fits(now, w, h.room(r, x, w.meta.Version), out):
		return x
	}
	return nil
}

// deliver sends on what another server decided: a packet that leaves by a tunnel
// that is attached here.
func (h *Hub) deliver(now vt.Instant, w *work, out *Out) {
	x, reason := h.exitOf(w.ramp, w.hops, w.hash)
	if reason != drop.None {
		h.dropped(now, w, reason, out)
		return
	}
	if w.asking && x != &h.toPeer && !h.expected(now, w, w.ramp, w.from) {
		h.dropped(now, w, drop.ReverseCollision, out)
		return
	}
	if x != &h.toPeer && h.paths.narrow && !h.passes(now, w, x, out) {
		return
	}
	h.count.Delivered++
	h.sendInto(w, w.ramp, x, out)
}

// passes decides whether what another server decided fits into the tunnel that is
// attached here. If not, its sender is told as by the tunnel's other end: that
// error finds the server which knows who that is.
func (h *Hub) passes(now vt.Instant, w *work, x *exit, out *Out) bool {
	h.clampLine(w)
	mtu := h.room(w.ramp, x, w.meta.Version)
	switch {
	case wireSize(w) <= mtu || !w.meta.DF:
		return true
	case w.meta.Kind == pkt.ICMPError: // no errors about errors (RFC 1122 section 3.2.2)
		h.dropped(now, w, drop.TooBig, out)
		return false
	}
	h.traceDrop(now, w, drop.TooBig, out)
	start := len(out.arena)
	out.arena = w.meta.AppendTooBig(out.arena, w.data, mtu, w.off.Segment)
	e := &work{data: out.made(start), ramp: w.ramp, vnet: w.vnet}
	h.receiveInner(e)
	h.fromOnRamp(now, e, out)
	return false
}

// answer sends what the hub made, from start of the arena on, back to where w
// came from.
func (h *Hub) answer(w *work, start int, out *Out) {
	x := &exit{}
	switch {
	case w.ramp != nil:
		var reason drop.Reason
		if x, reason = h.exitOf(w.ramp, w.hops, w.hash); reason != drop.None {
			return
		}
	case w.guest: // who has the client is the home
		p := h.v.peers[w.owner]
		if p == nil {
			return
		}
		x.encap = p.encap
		x.encap.Key = steer.Context{Hops: 1}.Key()
	}
	x.put(out, out.made(start), pkt.Offload{})
}
