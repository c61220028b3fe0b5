package hub

import (
	"fmt"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Connected tunnels (SEMANTICS 4.1): devices and connectors reach one server
// each, whose datagrams say whose they are once, at their beginning. What that
// server learned then it tells with every packet that it hands over.

// lineKey is where the datagrams of a connected tunnel come from: an address and
// port outside, or a socket inside the server.
type lineKey struct {
	addr  pkt.Number
	port  uint16
	local Port
}

// line is a connected tunnel of this server.
type line struct {
	key  lineKey
	ramp ident.OnRamp // 0: refused, and not yet closed by the driver
	vnet ident.VNet
	exit exit
}

// lines are the connected tunnels of this server.
type lines struct {
	from map[lineKey]*line
	of   map[ident.OnRamp]*line
}

func makeLines() lines {
	return lines{make(map[lineKey]*line), make(map[ident.OnRamp]*line)}
}

func (l *lines) forget(x *line) {
	delete(l.from, x.key)
	if l.of[x.ramp] == x {
		delete(l.of, x.ramp)
	}
}

// receiveOutside reads a datagram to the port of connected tunnels.
func (h *Hub) receiveOutside(w *work, o *pkt.Outer, port uint16, payload []byte) drop.Reason {
	key := lineKey{addr: o.Src, port: port}
	l := h.lines.from[key]
	w.data = payload
	if l != nil && h.again(l, payload) {
		w.event = connectedAgain
		w.line = l
		return drop.None
	}
	if l != nil {
		return h.receiveLine(w, l)
	}
	w.answer = tunnel.Encap{Proto: tunnel.ViaUDP, Src: o.Dst.Addr(), Dst: o.Src.Addr(), SrcPort: tunnel.ConnectedPort, DstPort: port, TTL: tunnel.DefaultTTL}
	if tunnel.CheckConnected(payload) == drop.None {
		w.event = unknownLine
		return drop.UnknownTunnel
	}
	context, err := tunnel.ParseContext(payload)
	r := h.v.registered[context.Registration]
	if err != nil || r == nil || h.welcome(r, &context) != nil || len(r.tenant.Secret) == 0 || !context.Verify(r.tenant.Secret) {
		w.event = refusedLine
		return drop.BadContext
	}
	h.connect(w, key, r, context.VNet, exit{encap: w.answer})
	return drop.None
}

// receivePort reads a datagram of a socket inside the server, which needs no
// token: who may open it is one of the server's own programs.
func (h *Hub) receivePort(w *work, port Port) drop.Reason {
	key := lineKey{local: port}
	if l := h.lines.from[key]; l != nil {
		return h.receiveLine(w, l)
	}
	context, err := tunnel.ParseContext(w.data)
	r := h.v.registered[context.Registration]
	if err != nil || r == nil || h.welcome(r, &context) != nil {
		h.lines.from[key] = &line{key: key}
		w.event, w.port = refusedLine, port
		return drop.BadContext
	}
	h.connect(w, key, r, context.VNet, exit{port: port})
	return drop.None
}

// receiveLine reads a datagram after the first: exactly one IP packet, and of a
// device one from its own address.
func (h *Hub) receiveLine(w *work, l *line) drop.Reason {
	if l.ramp == 0 {
		return drop.UnknownTunnel
	}
	if reason := tunnel.CheckConnected(w.data); reason != drop.None {
		return reason
	}
	w.ramp, w.vnet = h.v.ramps[l.ramp], l.vnet
	if w.ramp.Kind != tunnel.Device {
		return drop.None
	}
	if src := source(w.data); src != w.ramp.client && src != w.ramp.client6 || src == (pkt.Number{}) {
		return drop.SpoofedSource
	}
	return drop.None
}

// source is the source address of an IP packet that CheckConnected found sound.
func source(packet []byte) pkt.Number {
	o, _ := pkt.ParseOuter(packet)
	return o.Src
}

// again reports whether a datagram of a tunnel that stands is the context that
// began it: the answer got lost.
func (h *Hub) again(l *line, datagram []byte) bool {
	if tunnel.CheckConnected(datagram) != drop.BadTunnel || l.ramp == 0 {
		return false
	}
	context, err := tunnel.ParseContext(datagram)
	r := h.v.ramps[l.ramp]
	return err == nil && r.Registration == context.Registration && context.Verify(r.tenant.Secret) && r.network(context.VNet) == l.vnet
}

// welcome says what keeps a context from being that of r; nil if nothing does.
func (h *Hub) welcome(r *onRamp, c *tunnel.Context) error {
	switch {
	case c.Kind != r.Kind || c.Tenant != r.Tenant:
		return fmt.Errorf("kind %q of tenant %d, want %q of %d", c.Kind, c.Tenant, r.Kind, r.Tenant)
	case c.User != "" && c.User != r.User || c.Country != "" && c.Country != r.Country:
		return fmt.Errorf("user %q in %q, want %q in %q", c.User, c.Country, r.User, r.Country)
	case r.network(c.VNet) == 0:
		return fmt.Errorf("virtual network %d does not exist", c.VNet)
	}
	return nil
}

// network is the virtual network that a choice means now: the default one for
// none, 0 for one that does not exist (SEMANTICS 3.1).
func (r *onRamp) network(chosen ident.VNet) ident.VNet {
	if chosen == 0 || chosen == r.tenant.DefaultVNet() {
		return r.tenant.DefaultVNet()
	}
	for _, v := range r.tenant.VNets {
		if v.ID == chosen {
			return chosen
		}
	}
	return 0
}

// connect makes a line; the one that the device or connector had is forgotten.
func (h *Hub) connect(w *work, key lineKey, r *onRamp, chosen ident.VNet, x exit) {
	if old := h.lines.of[r.ID]; old != nil {
		h.hangUp(old)
	}
	l := &line{key: key, ramp: r.ID, vnet: r.network(chosen), exit: x}
	h.lines.from[key], h.lines.of[r.ID] = l, l
	w.event, w.line = connectedNow, l
}

// hangUp forgets a line; one inside the server is closed.
func (h *Hub) hangUp(l *line) {
	h.lines.forget(l)
	if l.key.local != 0 {
		h.hangups = append(h.hangups, l.key.local)
		h.lines.from[l.key] = &line{key: l.key} // until the driver has closed it
	}
}

// lineEvent is what a packet is, beside being one to pass on: what began a
// connected tunnel or should have, news of a tunnel's path, or the word of the
// datacenter's BGP speaker to a customer's router.
type lineEvent uint8

const (
	_ lineEvent = iota
	connectedNow
	connectedAgain
	refusedLine
	unknownLine
	pathReport
	fromSpeaker
)

// connected decides a datagram that began a tunnel or should have: it is
// answered, but inside the server, where nothing gets lost.
func (h *Hub) connected(now vt.Instant, w *work, out *Out) {
	if w.event == refusedLine || w.event == unknownLine {
		h.dropped(now, w, w.reason, out)
		answer := tunnel.Refused
		if w.event == unknownLine {
			answer = tunnel.Unknown
		}
		if w.port != 0 {
			out.Hangup = append(out.Hangup, w.port)
			return
		}
		h.answerLine(&exit{encap: w.answer}, answer, 0, out)
		return
	}
	l := w.line
	h.count.Answered++
	if w.event == connectedNow {
		h.attach(now, Attachment{OnRamp: l.ramp, Server: h.v.cfg.Self, VNet: l.vnet, Since: now}, out)
		out.Events = append(out.Events, Event{Kind: Attached, At: now, OnRamp: l.ramp, VNet: l.vnet, Peer: h.v.cfg.Self})
	}
	if l.key.local == 0 {
		h.answerLine(&l.exit, tunnel.Accepted, l.vnet, out)
	}
}

func (h *Hub) answerLine(x *exit, a tunnel.Answer, vnet ident.VNet, out *Out) {
	start := len(out.arena)
	out.arena = tunnel.AppendAnswer(out.arena, a, vnet)
	x.put(out, out.made(start), pkt.Offload{})
}

// Closed tells that a connected tunnel inside the server is gone.
func (h *Hub) Closed(now vt.Instant, port Port, out *Out) {
	h.begin(now, out)
	l := h.lines.from[lineKey{local: port}]
	if l == nil {
		return
	}
	h.lines.forget(l)
	if at := h.attached[l.ramp]; l.ramp != 0 && at.Server == h.v.cfg.Self && h.lines.of[l.ramp] == nil {
		h.attach(now, Attachment{OnRamp: l.ramp, Since: now}, out)
		out.Events = append(out.Events, Event{Kind: Detached, At: now, OnRamp: l.ramp, Peer: h.v.cfg.Self})
	}
}

// Learn tells where devices and connectors are. What a server knows already, or
// better, does not change. Flows of a device that is in another virtual network
// now end (SEMANTICS 3.2). Of how much of an address a server uses nothing older may
// be told after the newer.
func (h *Hub) Learn(now vt.Instant, news []Attachment, out *Out) {
	h.begin(now, out)
	for _, a := range news {
		if a.Use != nil {
			h.ports.LearnUse(a.Use)
			h.used()
			continue
		}
		if r := h.v.ramps[a.OnRamp]; r != nil && r.connected() {
			h.attach(now, a, out)
		}
	}
}

func (h *Hub) attach(now vt.Instant, a Attachment, out *Out) {
	old, known := h.attached[a.OnRamp]
	if known && a.Since < old.Since {
		return
	}
	h.attached[a.OnRamp] = a
	if a.Server != h.v.cfg.Self {
		if l := h.lines.of[a.OnRamp]; l != nil {
			h.hangUp(l) // it connected elsewhere since
		}
	}
	if known && a.VNet != 0 && old.VNet != 0 && a.VNet != old.VNet {
		h.leave(now, a.OnRamp, a.VNet, out)
	}
}

// leave ends the flows that an on-ramp has in any other virtual network.
func (h *Hub) leave(now vt.Instant, ramp ident.OnRamp, vnet ident.VNet, out *Out) {
	for i, f := range h.flows.All() {
		if f.OnRamp == ramp && f.Key.VNet != vnet {
			h.end(now, i, f, out)
		}
	}
}

// seen learns from a packet that was handed over by the server that got it from
// a device or connector itself.
func (h *Hub) seen(now vt.Instant, w *work) {
	at := h.attached[w.ramp.ID]
	if at.Server == w.from || w.hops != 1 || w.kept {
		return
	}
	at.OnRamp, at.Server, at.Since = w.ramp.ID, w.from, max(at.Since, now)
	if at.VNet == 0 {
		at.VNet = w.vnet
	}
	h.attached[w.ramp.ID] = at
}

// relearn drops what a new configuration has no place for.
func (h *Hub) relearn() {
	before := len(h.hangups)
	for _, l := range h.lines.from {
		if l.ramp == 0 {
			continue
		}
		if r := h.v.ramps[l.ramp]; r == nil || !r.connected() || r.network(l.vnet) != l.vnet {
			h.hangUp(l)
		}
	}
	slices.Sort(h.hangups[before:])
	for id := range h.attached {
		if r := h.v.ramps[id]; r == nil || !r.connected() {
			delete(h.attached, id)
		}
	}
}

// mirrored is the flow whose reply w is, nil if it is none. A packet from a
// private network answers a flow if it comes from where the flow goes.
func (h *Hub) mirrored(now vt.Instant, w *work, out *Out) (flow.Index, *flow.Flow, drop.Reason) {
	tenant := w.ramp.Tenant
	if w.owner != 0 {
		tenant = 0
	}
	key := w.key.Mirror(tenant)
	i, f := h.flows.Reverse(&key, flow.Hash(h.v.cfg.Seed, &key))
	if f == nil || h.offRamp(i) == nil {
		return 0, nil, drop.None
	}
	if f.Deadline <= now {
		h.end(now, i, f, out)
		return 0, nil, drop.None
	}
	if off := h.offRamp(i); off != w.ramp && (off.connected() || w.ramp.connected() || off.Tenant != w.ramp.Tenant) {
		return 0, nil, drop.SpoofedSource
	}
	return i, f, drop.None
}
