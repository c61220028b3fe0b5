package hub

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Egress from another server. The ingress server is the flow's home:
// it owns policy, session record and the way back. The egress server owns the
// port. To the ingress server the flow leaves by a port of the network's own
// sources (SEMANTICS 2.3), which no other flow has; the egress server keeps a
// guest, a flow from that source, and translates it again. So each finds its
// half by keys of its own, and a reply goes from the egress server to whose the
// source is.
//
// The packet that opens the flow carries the context (tenant, on-ramp, rule) and
// what is asked for, in GUE; the egress server answers with what the flow got, or
// why it got nothing, around the packet it was asked with. The session starts
// with that answer. Later packets travel in GRE, like hand-overs.

// remote is what is kept of a flow of which this server has one half.
type remote struct {
	// at is the server with the other half; 0 is none.
	at ident.Server
	// guest: this is the egress server's half.
	guest bool
	// open: the egress server has given the flow its port, which is in egress.
	open   bool
	egress netip.AddrPort
	ask    tunnel.GUEEgress
}

// remoteOf is what is kept of flow i, nil if it is all here.
func (h *Hub) remoteOf(i flow.Index) *remote {
	if int(i) >= len(h.remotes) || h.remotes[i].at == 0 {
		return nil
	}
	return &h.remotes[i]
}

func (h *Hub) keepRemote(i flow.Index, r remote) {
	if int(i) >= len(h.remotes) {
		if r.at == 0 {
			return
		}
		h.remotes = append(h.remotes, make([]remote, int(i)+1-len(h.remotes))...)
	}
	h.remotes[i] = r
}

// openRemote makes a flow that leaves from another server.
func (h *Hub) openRemote(now vt.Instant, w *work, d departure, out *Out) {
	source, ok := h.sources.Allocate(h.flows, &w.key, egress.From{}, egress.Pool)
	if !ok || h.flows.Full() {
		h.sweep(now, out)
		source, ok = h.sources.Allocate(h.flows, &w.key, egress.From{}, egress.Pool)
	}
	switch {
	case h.flows.Full():
		h.refuse(now, w, drop.TableFull, out)
		return
	case !ok:
		h.refuse(now, w, drop.PortsExhausted, out)
		return
	}
	i, f := h.flows.Insert(now, w.key, source)
	h.sources.Took(w.key.Proto, source, w.key.Destination())
	r := remote{at: d.at, ask: tunnel.GUEEgress{Given: true}}
	if a := d.from.Addr; a.IsValid() {
		b := a.As4()
		r.ask.Addr, r.egress = binary.BigEndian.Uint32(b[:]), netip.AddrPortFrom(a, 0)
	}
	if w.leaves != nil {
		r.ask.Rule = h.v.leaving.numbers[w.ramp.Tenant][w.leaves.ID]
	}
	h.keepRemote(i, r)
	h.start(now, w, i, f, out)
}

// toEgress sends a packet of a flow to the server that it leaves from.
func (h *Hub) toEgress(now vt.Instant, w *work, r *remote, out *Out) {
	if asks(w, r) {
		h.traceHandover(now, w, r.at, "egress", out)
	}
	h.putPeer(w, h.egressExit(w, r), out)
}

// asks reports whether a packet is to bring a port for its flow.
func asks(w *work, r *remote) bool { return !r.open && w.meta.Opens() }

// egressExit is how a packet goes to the server that its flow leaves from. It is valid
// until the next call.
func (h *Hub) egressExit(w *work, r *remote) *exit {
	p, x := h.v.peers[r.at], &h.toPeer
	x.encap, x.port = p.encap, 0
	if asks(w, r) {
		x.encap = p.gueTo(w.ramp, w.vnet, w.hash)
		x.encap.Context.Hops, x.encap.Context.Egress = 1, r.ask
	} else {
		x.encap.Key = steer.Context{Hops: 1}.Key()
	}
	return x
}

// putPeer sends a packet to another server, which puts it together again if it has to
// go in fragments: then its sender allows that, as fits has made sure, or it is what
// nobody is told of.
func (h *Hub) putPeer(w *work, x *exit, out *Out) {
	mtu := h.between(w, x)
	if wireSize(w) > mtu && w.off.Segment == 0 { // its source is other clients' too, and so are its numbers
		w.meta.SetID(w.data, h.privateIdentification())
	}
	h.sendWithin(w, mtu, x, out)
}

// receiveGuest reads a packet between the halves of a flow: from a source of the
// network, or back to it.
func (h *Hub) receiveGuest(w *work) {
	m := &w.meta
	home, from := h.v.sources[pkt.NumberOf(m.Dst)], h.v.sources[pkt.NumberOf(m.Src)]
	switch {
	case w.host == 0 || home == 0 && from == 0:
		w.reason = drop.NotForUs
		return
	case m.Kind == pkt.Fragment:
		return // whose it is will be known when it is whole
	case home != 0:
		h.replyTo(w)
		w.owner = home
		return
	}
	w.guest, w.owner = true, from
	switch m.Kind {
	case pkt.TCP, pkt.UDP, pkt.EchoRequest:
		w.key.SetForward(0, 0, 0, m)
	case pkt.ICMPError:
		var q pkt.Meta
		if !w.quoted(&q) {
			w.reason = drop.Unsupported
			return
		}
		w.key.SetForward(0, 0, 0, &q)
	default:
		w.reason = drop.Unsupported
		return
	}
	w.keyed, w.hash = true, flow.Hash(h.v.cfg.Seed, &w.key)
}

// fromHome decides a packet of a guest, on its way out.
func (h *Hub) fromHome(now vt.Instant, w *work, out *Out) {
	if w.notice {
		h.noticed(now, w, out)
		return
	}
	i, f := h.flows.Forward(&w.key, w.hash)
	if f != nil && (f.Deadline <= now || w.asked.Given && f.Reusable()) {
		h.end(now, i, f, out)
		f = nil
	}
	switch {
	case w.meta.TTL <= 1:
		h.dropped(now, w, drop.TTLExpired, out)
		return
	case f == nil && w.asked.Given && w.meta.Opens():
		if i, f = h.openGuest(now, w, out); f == nil {
			return
		}
	case f == nil:
		h.dropped(now, w, drop.Orphan, out)
		return
	}
	if w.asked.Given {
		h.notify(w, f.Egress(), drop.None, out)
	}
	if w.meta.Kind == pkt.ICMPError {
		h.complaint(now, w, i, f, out)
		return
	}
	if h.v.cfg.Uplink > 0 && !h.fits(now, w, h.v.mtu, out) {
		return
	}
	ended := h.flows.Outbound(now, i, f, &w.meta)
	at := f.Egress()
	w.meta.SetSrc(w.data, at.Addr(), at.Port(), w.off)
	w.meta.DecTTL(w.data)
	h.count.Forwarded++
	h.sendOut(w, out)
	if ended {
		h.finish(now, i, f, out)
	}
}

// openGuest gives a flow of another server a port of this one. Without a free one
// the tenant may have the next server asked, as long as the hop cap lets it.
func (h *Hub) openGuest(now vt.Instant, w *work, out *Out) (flow.Index, *flow.Flow) {
	from, servers, reason := h.wanted(w)
	if reason != drop.None {
		h.refuseGuest(now, w, reason, out)
		return 0, nil
	}
	if len(servers) > 0 && h.ports.Size(w.meta.Dst, from) == 0 && w.hops < steer.MaxHops {
		h.askOn(now, w, h.oneOf(w, servers), "moved", out) // who asked does not know yet
		return 0, nil
	}
	at, ok := h.ports.Allocate(h.flows, &w.key, from, egress.Pool)
	if !ok || h.flows.Full() {
		h.sweep(now, out)
		at, ok = h.ports.Allocate(h.flows, &w.key, from, egress.Pool)
	}
	switch {
	case h.flows.Full():
		h.refuseGuest(now, w, drop.TableFull, out)
		return 0, nil
	case !ok:
		h.guestExhausted(now, w, from, servers, out)
		return 0, nil
	}
	i, f := h.flows.Insert(now, w.key, at)
	h.took(w.key.Proto, at, w.key.Destination())
	f.OnRamp = w.asker.ID
	h.keepRemote(i, remote{at: w.owner, guest: true})
	h.count.Guests++
	return i, f
}

// wanted is what a guest may leave by, and which servers have that. A tenant's
// address is for its own guests alone.
func (h *Hub) wanted(w *work) (egress.From, []ident.Server, drop.Reason) {
	if w.asked.Addr == 0 {
		country := w.asker.Country
		return egress.From{Country: country}, h.v.leaving.shared[country], drop.None
	}
	addr := w.asked.Address()
	if a := h.v.directory.Lookup(addr); a == nil || a.Tenant != w.asker.Tenant {
		return egress.From{}, nil, drop.NoEgress
	}
	return egress.From{Addr: addr}, h.v.leaving.owners[addr], drop.None
}

func (h *Hub) guestExhausted(now vt.Instant, w *work, from egress.From, servers []ident.Server, out *Out) {
	if to := h.roomier(w, from, 0); to != 0 {
		h.askOn(now, w, to, "share", out)
		return
	}
	next := ident.Server(0)
	if i := slices.Index(servers, h.v.cfg.Self); i >= 0 && len(servers) > 1 {
		next = servers[(i+1)%len(servers)]
	}
	if next == 0 || w.asker.tenant.OnExhaustion != ExhaustionAnotherServer || w.hops >= steer.MaxHops {
		h.refuseGuest(now, w, drop.PortsExhausted, out)
		return
	}
	h.askOn(now, w, next, "ports", out)
}

// askOn hands the question of another server on to a third.
func (h *Hub) askOn(now vt.Instant, w *work, to ident.Server, why string, out *Out) {
	x := &h.toPeer
	x.encap, x.port = h.v.peers[to].gueTo(w.asker, w.vnet, w.hash), 0
	x.encap.Context.Hops, x.encap.Context.Egress = w.hops+1, w.asked
	if !h.fits(now, w, h.between(w, x), out) {
		return
	}
	h.count.HandedOver++
	h.traceHandover(now, w, to, why, out)
	h.putPeer(w, x, out)
}

func (h *Hub) refuseGuest(now vt.Instant, w *work, reason drop.Reason, out *Out) {
	h.dropped(now, w, reason, out)
	h.notify(w, netip.AddrPort{}, reason, out)
}

// notify answers the server that asked, around the packet that it asked with.
func (h *Hub) notify(w *work, at netip.AddrPort, refused drop.Reason, out *Out) {
	p := h.v.peers[w.owner]
	if p == nil {
		return
	}
	x := &exit{encap: p.gueTo(w.asker, w.vnet, w.hash)}
	e := tunnel.GUEEgress{Given: true, Port: at.Port(), Refused: refused}
	if at.IsValid() {
		b := at.Addr().As4()
		e.Addr = binary.BigEndian.Uint32(b[:])
	}
	x.encap.Context.Hops, x.encap.Context.Return, x.encap.Context.Egress = 1, true, e
	start := len(out.arena)
	out.arena = append(out.arena, w.data...) // the packet itself is translated next
	quote := *w
	quote.data = out.made(start)
	h.putPeer(&quote, x, out)
}

// noticed takes the answer of an egress server: the session starts, or it is
// refused and the client told.
func (h *Hub) noticed(now vt.Instant, w *work, out *Out) {
	key := w.key.Answer(w.key.Source())
	key.Tenant = 0
	i, f := h.flows.Reverse(&key, flow.Hash(h.v.cfg.Seed, &key))
	r := (*remote)(nil)
	if f != nil {
		r = h.remoteOf(i)
	}
	if r == nil || r.guest {
		h.dropped(now, w, drop.NoFlow, out)
		return
	}
	h.count.Answered++
	switch {
	case w.asked.Refused == drop.None:
		r.at, r.egress = w.host, netip.AddrPortFrom(w.asked.Address(), w.asked.Port)
		if !r.open {
			r.open = true
			h.started(now, i, f, out)
		}
	case !r.open:
		w.ramp = h.v.ramps[f.OnRamp]
		client := f.Key.Source()
		h.refusedFlow(now, i, f, w.asked.Refused, out)
		if w.meta.SetSrc(w.data, client.Addr(), client.Port(), w.off); w.meta.Kind == pkt.TCP {
			h.sendReset(w, out)
		}
		h.forget(i, f)
	}
}

// refusedFlow reports a session that got no port elsewhere, or of which nothing
// was heard.
func (h *Hub) refusedFlow(now vt.Instant, i flow.Index, f *flow.Flow, reason drop.Reason, out *Out) {
	s := h.session(i, f)
	s.Egress, s.EgressServer, s.Return = netip.AddrPort{}, 0, 0
	s.End, s.Refused, s.Close = now, reason, closeOfRefusal(reason)
	out.Events = append(out.Events, Event{Kind: FlowRefused, At: now, Tuple: s.Tuple, OnRamp: s.OnRamp, Reason: reason, Session: s})
}

// toHome sends a reply of a guest to the server whose flow it is.
func (h *Hub) toHome(now vt.Instant, w *work, i flow.Index, f *flow.Flow, r *remote, out *Out) {
	p, m := h.v.peers[r.at], &w.meta
	switch {
	case p == nil:
		h.dropped(now, w, drop.NoOwner, out)
		return
	case m.TTL <= 1:
		h.expired(now, w, out)
		return
	}
	x := &h.toPeer
	x.encap, x.port = p.encap, 0
	x.encap.Key = steer.Context{Hops: 1}.Key()
	if !h.fits(now, w, h.between(w, x), out) {
		return
	}
	ended := false
	if m.Kind == pkt.ICMPError {
		h.undoQuote(w, f)
	} else {
		ended = h.flows.Inbound(now, i, f, m)
		source := f.Key.Source()
		m.SetDst(w.data, source.Addr(), source.Port(), w.off)
	}
	m.DecTTL(w.data)
	h.count.Returned++
	h.putPeer(w, x, out)
	if ended {
		h.finish(now, i, f, out)
	}
}
