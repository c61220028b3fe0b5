package hub

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/policy"
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
	// ramp is where the packet came in, or, with leaving, where it goes; nil is
	// the Internet. vnet is the virtual network that it is in.
	ramp *onRamp
	vnet ident.VNet
	// leaving says that the server which handed the packet over has decided it,
	// asking that it expects an answer.
	leaving, asking bool
	// from is the server that handed it over in GUE.
	from ident.Server
	// event is what the packet did to a connected tunnel, instead of being one;
	// line, answer and port are which.
	event  lineEvent
	line   *line
	answer tunnel.Encap
	port   Port
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
	// private says that the destination is, and ends is the hash that finds home
	// then, for both directions.
	private bool
	ends    uint64
	// owner is the server that owns a reply's egress port, or a guest's source.
	owner ident.Server
	// host is the server that handed it over by its own address; guest says that
	// it is of a flow whose home is elsewhere, asker and asked what its context
	// says, notice that it answers one.
	host   ident.Server
	guest  bool
	notice bool
	asker  *onRamp
	asked  tunnel.GUEEgress
	// rules are the policies that matched, for the record of a session, leaves
	// the one of egress.
	rules  *Rules
	leaves *policy.Rule
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
	if h.fast != nil {
		h.install()
	}
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
	for i := range in {
		h.receive(&in[i], &h.batch[i])
	}
	var touched uint8
	for i := range in {
		if w := &h.batch[i]; w.keyed {
			touched += h.flows.Warm(w.key.Side, w.hash)
		}
	}
	for i := range in {
		if w := &h.batch[i]; w.keyed {
			touched += h.flows.WarmFlow(w.key.Side, w.hash)
		}
	}
	h.touched = touched // a use, so that the reads above are not optimised away
	for i := range in {
		h.decide(now, &h.batch[i], out)
	}
	if h.fast != nil {
		h.install()
	}
}

// receive reads a packet: what it is, where it came in, and what flow it is of.
// It touches no flow; a connected tunnel may begin with it.
func (h *Hub) receive(in *Packet, w *work) {
	w.off, w.ramp, w.hops, w.kept, w.keyed, w.owner, w.reason = in.Offload, nil, 0, false, false, 0, drop.None
	w.joined, w.leaving, w.private, w.from, w.event, w.port = false, false, false, 0, 0, 0
	w.host, w.guest, w.notice, w.asked.Given = 0, false, false, false
	w.data = in.Data
	if in.Port != 0 {
		w.reason = h.receivePort(w, in.Port)
		h.received(w)
		return
	}
	o, ok := pkt.ParseOuter(in.Data)
	dst := h.v.local.at(o.Dst)
	switch {
	case !ok || dst.kind == elsewhere || dst.kind == peerHandover:
		h.refuseOuter(w)
	case dst.kind == egressAddress:
		w.data = in.Data[:o.Len]
		w.meta.Parse(w.data)
		h.receiveReply(w, dst)
	case dst.kind == customerRouter:
		w.data = in.Data[:o.Len]
		w.meta.Parse(w.data)
		w.ramp, w.event = dst.ramp, fromSpeaker
	default:
		w.data = in.Data[:o.Len]
		w.reason = h.decapsulate(w, &o, dst, in.Internal)
		if w.reason == drop.None && w.event == 0 && !tunnel.Unwrapped(pkt.ECNOf(in.Data), w.data) {
			w.reason = drop.NotECT
		}
		h.received(w)
	}
}

// received goes on with what was inside a tunnel.
func (h *Hub) received(w *work) {
	switch {
	case w.event != 0:
		w.meta = pkt.Meta{}
	case w.reason != drop.None:
		w.meta.Parse(w.data) // for the trace: the packet as it came
	default:
		h.receiveInner(w)
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

// decapsulate takes the tunnel headers off.
func (h *Hub) decapsulate(w *work, o *pkt.Outer, at place, internal bool) drop.Reason {
	switch {
	case o.Fragment:
		return drop.Fragment
	case o.Proto == pkt.ProtoGRE && at.kind != unconnectedAddress:
		return h.receiveGRE(w, o, at.kind, internal)
	case (o.Proto == pkt.ProtoICMP || o.Proto == pkt.ProtoICMPv6) && (at.kind == tunnelAddress || at.kind == ourHandover && internal):
		w.event = pathReport
		return drop.None
	case o.Proto != pkt.ProtoUDP || w.off.Segment != 0:
		return drop.Unsupported
	}
	from, to, payload, reason := tunnel.UDPPayload(o.Src.Addr(), o.Dst.Addr(), w.data[o.Head:], !w.off.Partial)
	w.off = pkt.Offload{} // that was the outer checksum; the packet inside is complete
	switch {
	case reason != drop.None:
		return reason
	case at.kind == tunnelAddress && to == tunnel.ConnectedPort:
		return h.receiveOutside(w, o, from, payload)
	case at.kind != tunnelAddress && to == tunnel.GUEPort:
		return h.receiveGUE(w, o, at, internal, payload)
	}
	return drop.Unsupported
}

// receiveGRE finds out where a GRE packet came in, and leaves the packet inside
// in w.data.
func (h *Hub) receiveGRE(w *work, o *pkt.Outer, kind placeKind, internal bool) drop.Reason {
	if kind == ourHandover {
		from := h.v.local.at(o.Src)
		if !internal || from.kind != peerHandover {
			return drop.ForgedHandover
		}
		w.host = from.server
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
		w.data, w.vnet = inner, w.ramp.VNet
		return drop.None
	}
	context, ok := steer.ParseContext(gre.Key)
	if !ok || !gre.HasKey {
		return drop.BadTunnel
	}
	if context.OnRamp != 0 {
		if w.ramp = h.v.ramps[context.OnRamp]; w.ramp == nil || w.ramp.connected() {
			return drop.UnknownTunnel
		}
		w.vnet = w.ramp.VNet
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
	switch {
	case w.leaving:
		return
	case w.ramp == nil:
		h.receiveReply(w, h.v.local.at(pkt.NumberOf(m.Dst)))
		return
	}
	switch m.Kind {
	case pkt.TCP, pkt.UDP, pkt.EchoRequest, pkt.EchoReply:
		h.identify(w, m)
	case pkt.ICMPError:
		h.receiveComplaint(w)
	}
}

// receiveComplaint reads an ICMP error that came by an on-ramp: it is of the
// flow of the packet that it quotes, which was sent there.
func (h *Hub) receiveComplaint(w *work) {
	var q pkt.Meta
	if w.quoted(&q) {
		h.identify(w, &q)
	}
}

// quoted reads the packet that the ICMP error w quotes as its answer would be,
// which comes from where the error does; false if w goes to somebody who did not
// send it.
func (w *work) quoted(q *pkt.Meta) bool {
	if !w.meta.Quoted(w.data, q) || q.Src != w.meta.Dst {
		return false
	}
	q.Turn()
	return true
}

// identify finds the flow key of a packet that came by an on-ramp, and what
// finds its home.
func (h *Hub) identify(w *work, m *pkt.Meta) {
	w.key.SetForward(w.ramp.Tenant, w.ramp.scope, w.vnet, m)
	w.private = flow.Private(&w.key.Dst)
	if !w.private && m.Kind == pkt.EchoReply {
		return // the Internet asked nobody
	}
	w.keyed, w.hash = true, flow.Hash(h.v.cfg.Seed, &w.key)
	if w.private {
		w.ends, w.owner = flow.Ends(h.v.cfg.Seed, &w.key), h.v.sources[pkt.NumberOf(m.Dst)]
	}
}

// receiveReply reads a packet from the Internet to the place p.
func (h *Hub) receiveReply(w *work, p place) {
	m := &w.meta
	switch {
	case p.kind == tunnelAddress && m.Kind == pkt.ICMPError: // another server tells
		w.event = pathReport
		return
	case p.kind != egressAddress:
		h.receiveGuest(w)
		return
	case m.Kind == pkt.Fragment:
		return // whose it is will be known when it is whole
	}
	if h.replyTo(w); w.reason == drop.None {
		w.owner = h.ownerOfReply(p.egress, &w.key)
	}
}

// replyTo finds the reverse key of a packet to an egress address, or to a source
// of the network's own.
func (h *Hub) replyTo(w *work) {
	m := &w.meta
	switch m.Kind {
	case pkt.TCP, pkt.UDP, pkt.EchoReply:
		w.key.SetReply(m)
	case pkt.ICMPError:
		var q pkt.Meta
		if !w.quoted(&q) {
			w.reason = drop.Unsupported
			return
		}
		w.key.SetReply(&q)
	case pkt.EchoRequest:
		w.reason = drop.NoFlow // nobody here asked, and egress addresses are no hosts
		return
	default:
		w.reason = drop.Unsupported
		return
	}
	w.keyed, w.hash = true, flow.Hash(h.v.cfg.Seed, &w.key)
}

// decide takes a packet that was read to its end: exactly one counter.
func (h *Hub) decide(now vt.Instant, w *work, out *Out) {
	h.count.Packets++
	switch w.event {
	case 0:
	case pathReport:
		h.reported(now, w, out)
		return
	case fromSpeaker:
		h.spoken(now, w, out)
		return
	default:
		h.connected(now, w, out)
		return
	}
	if w.from != 0 && w.reason == drop.None {
		if w.leaving {
			h.deliver(now, w, out)
			return
		}
		h.seen(now, w)
	}
	if w.meta.Kind == pkt.Fragment && w.reason == drop.None && !h.join(now, w, out) {
		return
	}
	switch {
	case w.reason != drop.None:
		h.dropped(now, w, w.reason, out)
	case w.off.Segment != 0 && w.meta.Kind != pkt.TCP:
		h.dropped(now, w, drop.Unsupported, out) // only TCP can be segmented on its way
	case w.guest:
		h.fromHome(now, w, out)
	case w.ramp == nil:
		h.fromInternet(now, w, out)
	default:
		h.fromOnRamp(now, w, out)
	}
}
