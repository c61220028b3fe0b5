package hub

import (
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pathmtu"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// A link under a tunnel may pass less than the tunnel was made for. The router
// before it tells the sender of the outer packet, an address that many servers
// send from: it reaches any of them, which tells all others. From then on inner
// packets that do not fit are refused toward their own senders (SEMANTICS 2.10).

// paths are what is known of the ways to the far ends of tunnels and to other
// servers.
type paths struct {
	pathmtu.Table
	// narrow says that anything is known, or the uplink itself is the bound.
	narrow bool
	// since and told bound what one server makes all others hear.
	since vt.Instant
	told  int
}

// toldMost is how many reports a second a server tells the others.
const toldMost = 100

// assessPaths notes whether there is anything to look up, and that it may be
// otherwise than it was.
func (h *Hub) assessPaths() {
	h.paths.narrow = h.paths.Len() > 0 || h.v.cfg.Uplink > 0
	h.askPaths()
}

// narrow reports whether less may leave with outer header e than it was made for.
func (h *Hub) narrow(e *tunnel.Encap) bool { return !e.IsZero() && h.path(e) < maxMTU }

// path is the largest packet that may leave with outer header e.
func (h *Hub) path(e *tunnel.Encap) int {
	most := maxMTU
	if h.v.cfg.Uplink > 0 {
		most = h.v.cfg.Uplink
	}
	if known := h.paths.MTU(pkt.NumberOf(e.Dst)); known > 0 {
		most = min(most, known)
	}
	return most
}

// room is the largest packet of an IP version that fits into r when it leaves by
// x.
func (h *Hub) room(r *onRamp, x *exit, version uint8) int {
	if !h.paths.narrow || x.encap.IsZero() {
		return r.mtu
	}
	return min(r.mtu, h.inside(&x.encap, version))
}

// inside is what the path leaves inside e. A sender of IPv6 believes nothing
// below its least MTU (RFC 8201 section 4), so it is told no less.
func (h *Hub) inside(e *tunnel.Encap, version uint8) int {
	inner := e.InnerMTU(h.path(e))
	if version == 6 {
		return max(inner, pathmtu.Least6)
	}
	return inner
}

// between is the largest packet that goes to another server by x in one piece: what
// came in fragments goes on in some that a link of the least MTU passes.
func (h *Hub) between(w *work, x *exit) int {
	mtu := maxMTU
	if h.paths.narrow {
		mtu = h.inside(&x.encap, w.meta.Version)
	}
	if w.joined {
		mtu = min(mtu, h.v.mtu)
	}
	return mtu
}

// clamp is the MSS for a packet of this version that goes into r, or comes from
// there.
func (h *Hub) clamp(r *onRamp, version uint8) uint16 {
	standard := r.clamp(version)
	if !h.paths.narrow {
		return standard
	}
	x := &r.exit
	if r.connected() {
		l := h.lines.of[r.ID]
		if l == nil {
			return standard // the server that it is attached to knows
		}
		x = &l.exit
	}
	if version == 6 {
		return min(standard, tunnel.MSS6(h.room(r, x, version)))
	}
	return min(standard, tunnel.MSS(h.room(r, x, version)))
}

// clampLine clamps a packet of a connected tunnel that is attached here and whose
// home is elsewhere, where nobody knows its path.
func (h *Hub) clampLine(w *work) {
	if h.paths.narrow && w.ramp != nil && w.ramp.connected() && h.lines.of[w.ramp.ID] != nil {
		w.meta.ClampMSS(w.data, h.clamp(w.ramp, w.meta.Version), w.off)
	}
}

// reported decides an ICMP error about a packet of the hub's own.
func (h *Hub) reported(now vt.Instant, w *work, out *Out) {
	r, ok := pathmtu.Read(w.data)
	if !ok {
		h.dropped(now, w, drop.Unsupported, out)
		return
	}
	ramp, peer, ours := h.sent(&r)
	if !ours && !h.maybe(&r) {
		h.dropped(now, w, drop.UnknownTunnel, out)
		return
	}
	h.count.Answered++
	if ours && h.paths.Learn(now, r.Dst, r.MTU) {
		h.assessPaths()
		if h.v.cfg.Trace {
			out.Events = append(out.Events, Event{Kind: PathChanged, At: now, OnRamp: ramp, Peer: peer, MTU: r.MTU})
		}
	}
	if w.hops == 0 && peer == 0 {
		h.tell(now, w.data, out)
	}
}

// sent finds which of the hub's tunnels a packet went into, or to which server.
func (h *Hub) sent(r *pathmtu.Report) (ramp ident.OnRamp, peer ident.Server, ok bool) {
	switch h.v.local.at(r.Src).kind {
	case ourHandover:
		to := h.v.local.at(r.Dst)
		if to.kind != peerHandover {
			return 0, 0, false
		}
		// Which key or port it had depends on the packet.
		_, port, udp := r.Ports()
		return 0, to.server, r.Proto == pkt.ProtoGRE || udp && port == tunnel.GUEPort
	case tunnelAddress:
		for o := h.v.tunnels.at(r.Dst, r.Src); o != nil; o = o.next {
			if r.Of(&o.exit.encap) {
				return o.ID, 0, true
			}
		}
		if _, port, udp := r.Ports(); udp {
			if l := h.lines.from[lineKey{addr: r.Dst, port: port}]; l != nil && r.Of(&l.exit.encap) {
				return l.ramp, 0, true
			}
		}
	}
	return 0, 0, false
}

// maybe reports whether a packet can have gone into a connected tunnel of another
// server.
func (h *Hub) maybe(r *pathmtu.Report) bool {
	port, _, udp := r.Ports()
	return udp && port == tunnel.ConnectedPort && h.v.local.at(r.Src).kind == tunnelAddress
}

// tell hands a report to all other servers, unless there were too many lately.
func (h *Hub) tell(now vt.Instant, report []byte, out *Out) {
	if now.Sub(h.paths.since) >= time.Second {
		h.paths.since, h.paths.told = now, 0
	}
	if h.paths.told++; h.paths.told > toldMost {
		return
	}
	for i := range h.v.cfg.Servers {
		s := &h.v.cfg.Servers[i]
		if s.ID == h.v.cfg.Self || !s.Live {
			continue
		}
		x := exit{encap: h.v.peers[s.ID].encap}
		x.encap.Key = steer.Context{Hops: 1}.Key()
		x.put(out, report, pkt.Offload{})
	}
}

// forgetPaths drops what a new configuration has no far end for.
func (h *Hub) forgetPaths() {
	far := make(map[pkt.Number]bool)
	for _, r := range h.v.ramps {
		far[r.remote] = true
	}
	for _, p := range h.v.peers {
		far[pkt.NumberOf(p.Handover)] = true
	}
	for key := range h.lines.from {
		far[key.addr] = true
	}
	h.paths.Keep(func(n pkt.Number) bool { return far[n] })
	h.assessPaths()
}
