package hub

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// work is one packet between reading and deciding.
type work struct {
	// data is the packet itself, without tunnel headers and padding.
	data []byte
	off  pkt.Offload
	meta pkt.Meta
	// ramp is where the packet came in; nil is the Internet.
	ramp *onRamp
	// joined says the packet came in fragments and is whole now.
	joined bool
	// hops counts the hand-overs behind it; kept says this server is its last.
	hops uint8
	kept bool
	// keyed says that key and hash identify a flow: the packet's own, or that
	// of the packet it quotes.
	keyed bool
	key   flow.Key
	hash  uint64
	// owner is the server that owns a reply's egress port.
	owner ident.Server
	// rules are the policies that matched, for the record of a session.
	rules *Rules
	// reason is why the packet was already dropped while reading.
	reason drop.Reason
}

func (w *work) tuple() Tuple {
	m := &w.meta
	if !m.Src.IsValid() {
		return Tuple{}
	}
	return Tuple{Proto: m.Proto, Src: netip.AddrPortFrom(m.Src, m.SrcPort), Dst: netip.AddrPortFrom(m.Dst, m.DstPort)}
}

func (w *work) rampID() ident.OnRamp {
	if w.ramp == nil {
		return 0
	}
	return w.ramp.ID
}

// HandlePacket decides one packet. in.Data is rewritten in place, and what out
// collects aliases it.
func (h *Hub) HandlePacket(now vt.Instant, in *Packet, out *Out) {
	h.begin(now, out)
	w := &h.batch[0]
	h.receive(in, w)
	h.decide(now, w, out)
}

// HandleBatch decides packets in order, as HandlePacket would one by one. It
// reads BatchMax at a time before it looks anything up, so that the memory of
// a large flow table is fetched for all of them at once.
func (h *Hub) HandleBatch(now vt.Instant, in []Packet, out *Out) {
	h.begin(now, out)
	for len(in) > 0 {
		n := min(len(in), BatchMax)
		h.handle(now, in[:n], out)
		in = in[n:]
	}
}

func (h *Hub) handle(now vt.Instant, in []Packet, out *Out) {
	var refs [BatchMax]uint32
	for i := range in {
		h.receive(&in[i], &h.batch[i])
	}
	for i := range in {
		if w := &h.batch[i]; w.keyed {
			refs[i] = h.flows.Warm(w.key.Side, w.hash)
		}
	}
	var touched uint8
	for i := range in {
		touched += h.flows.WarmFlow(refs[i])
	}
	h.touched = touched // a use, so that the reads above are not optimised away
	for i := range in {
		h.decide(now, &h.batch[i], out)
	}
}

// receive reads a packet: what it is, where it came in, and what flow it is of.
// It touches no state.
func (h *Hub) receive(in *Packet, w *work) {
	w.off, w.ramp, w.hops, w.kept, w.keyed, w.owner, w.reason = in.Offload, nil, 0, false, false, 0, drop.None
	w.joined = false
	w.data = in.Data
	o, ok := pkt.ParseOuter(in.Data)
	dst := h.v.local.at(o.Dst)
	switch {
	case !ok || dst.kind == elsewhere || dst.kind == peerHandover:
		h.refuseOuter(w)
	case dst.kind == egressAddress:
		w.data = in.Data[:o.Len]
		w.meta.Parse(w.data)
		h.receiveReply(w, dst)
	default:
		w.data = in.Data[:o.Len]
		h.receiveGRE(w, &o, dst.kind, in.Internal)
	}
}

// refuseOuter says what is wrong with a packet that nothing here is for.
func (h *Hub) refuseOuter(w *work) {
	w.meta.Parse(w.data)
	w.reason = drop.NotForUs
	if w.meta.Kind == pkt.Malformed {
		w.reason = drop.Malformed
	}
}

// receiveGRE takes the tunnel header off.
func (h *Hub) receiveGRE(w *work, o *pkt.Outer, kind placeKind, internal bool) {
	w.reason = h.decapsulate(w, o, kind, internal)
	if w.reason != drop.None {
		w.meta.Parse(w.data) // for the trace: the packet as it came
		return
	}
	h.receiveInner(w)
}

// decapsulate finds out where a GRE packet came in, and leaves the packet
// inside in w.data.
func (h *Hub) decapsulate(w *work, o *pkt.Outer, kind placeKind, internal bool) drop.Reason {
	switch {
	case kind == ourHandover && (!internal || h.v.local.at(o.Src).kind != peerHandover):
		return drop.ForgedHandover
	case o.Fragment:
		return drop.Fragment
	case o.Proto != pkt.ProtoGRE:
		return drop.Unsupported
	}
	gre, reason := tunnel.ParseGRE(w.data[o.Head:], !w.off.Partial && w.off.Segment == 0)
	if reason != drop.None {
		return reason
	}
	inner := w.data[o.Head+gre.Len:]
	if len(inner) > 0 && inner[0]>>4 != gre.Version() {
		return drop.BadTunnel // says one family and carries the other
	}
	if kind == tunnelAddress {
		w.ramp = h.v.tunnel(o.Src, o.Dst, gre.Key, gre.HasKey)
		if w.ramp == nil {
			return drop.UnknownTunnel
		}
		w.data = inner
		return drop.None
	}
	context, ok := steer.ParseContext(gre.Key)
	if !ok || !gre.HasKey {
		return drop.BadTunnel
	}
	if context.OnRamp != 0 {
		if w.ramp = h.v.ramps[context.OnRamp]; w.ramp == nil {
			return drop.UnknownTunnel
		}
	}
	w.hops, w.kept = context.Hops, context.SecondHop
	w.data = inner
	return drop.None
}

// receiveInner reads the packet inside a tunnel or a hand-over.
func (h *Hub) receiveInner(w *work) {
	m := &w.meta
	m.Parse(w.data)
	if m.Kind == pkt.Malformed {
		w.reason = drop.Malformed
		return
	}
	w.data = w.data[:m.Len]
	if w.ramp == nil {
		h.receiveReply(w, h.v.local.at(pkt.NumberOf(m.Dst)))
		return
	}
	switch m.Kind {
	case pkt.TCP, pkt.UDP, pkt.EchoRequest:
		w.key.SetForward(w.ramp.Tenant, w.ramp.scope, w.ramp.VNet, m)
	case pkt.ICMPError:
		// The client complains about a reply: the flow is the one of the packet
		// it quotes, seen from the other side.
		var q pkt.Meta
		if !m.Quoted(w.data, &q) || q.Src != m.Dst {
			return
		}
		q.Src, q.Dst, q.SrcPort, q.DstPort = q.Dst, q.Src, q.DstPort, q.SrcPort
		w.key.SetForward(w.ramp.Tenant, w.ramp.scope, w.ramp.VNet, &q)
	default:
		return
	}
	w.keyed, w.hash = true, flow.Hash(h.v.cfg.Seed, &w.key)
}

// receiveReply reads a packet from the Internet to the place p.
func (h *Hub) receiveReply(w *work, p place) {
	m := &w.meta
	switch {
	case p.kind != egressAddress:
		w.reason = drop.NotForUs
		return
	case m.Kind == pkt.Fragment:
		return // whose it is will be known when it is whole
	case m.Kind == pkt.Malformed:
		w.reason = drop.Malformed
		return
	}
	switch m.Kind {
	case pkt.TCP, pkt.UDP, pkt.EchoReply:
		w.key.SetReply(m)
	case pkt.ICMPError:
		var q pkt.Meta
		if !m.Quoted(w.data, &q) || q.Src != m.Dst {
			w.reason = drop.Unsupported
			return
		}
		q.Src, q.Dst, q.SrcPort, q.DstPort = q.Dst, q.Src, q.DstPort, q.SrcPort
		w.key.SetReply(&q)
	case pkt.EchoRequest:
		w.reason = drop.NoFlow // nobody here asked, and egress addresses are no hosts
		return
	default:
		w.reason = drop.Unsupported
		return
	}
	w.keyed, w.hash = true, flow.Hash(h.v.cfg.Seed, &w.key)
	w.owner = p.egress.OwnerOf(w.key.SrcPort)
}

// decide takes a packet that was read to its end: exactly one counter.
func (h *Hub) decide(now vt.Instant, w *work, out *Out) {
	h.count.Packets++
	if w.meta.Kind == pkt.Fragment && w.reason == drop.None && !h.join(now, w, out) {
		return
	}
	switch {
	case w.reason != drop.None:
		h.dropped(now, w, w.reason, out)
	case w.off.Segment != 0 && w.meta.Kind != pkt.TCP:
		h.dropped(now, w, drop.Unsupported, out) // only TCP can be segmented on its way
	case w.ramp == nil:
		h.fromInternet(now, w, out)
	default:
		h.fromOnRamp(now, w, out)
	}
}
