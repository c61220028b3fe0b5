package swarm

import (
	"iter"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/run"
)

// watched is a hub whose every call is judged.
type watched struct {
	check  *checker
	server int
	hub    run.Hub
	calls  uint64
	meta   pkt.Meta
	// sessions the books have of it.
	sessions int
	// count is the hub's, from after its last call.
	count hub.Counters
	// crossed is set while a packet is decided, not a timer.
	crossed bool
}

// watch puts judges around the hubs that made makes.
func (c *checker) watch(made func(int, hub.Config) (run.Hub, error)) func(int, hub.Config) (run.Hub, error) {
	return func(server int, config hub.Config) (run.Hub, error) {
		h, err := made(server, config)
		if err != nil {
			return nil, err
		}
		w := &watched{check: c, server: server, hub: h}
		c.hubs[server] = w
		return w, nil
	}
}

// HandlePacket implements run.Hub.
func (w *watched) HandlePacket(now vt.Instant, in *hub.Packet, out *hub.Out) {
	c := w.check
	mark := uint32(0)
	if c.world != nil {
		mark = c.world.Mark()
	}
	if w.calls%7 == 0 {
		c.keep(in.Data)
	}
	w.calls++
	w.crossed = true
	w.hub.HandlePacket(now, in, out)
	if c.outside == refused {
		w.believed(out)
	} else if c.outside == anything && len(out.Send) > 0 {
		c.mixed = true
	}
	w.judge(now, mark, out)
	w.crossed = false
}

// HandleTimer implements run.Hub.
func (w *watched) HandleTimer(now vt.Instant, out *hub.Out) {
	w.hub.HandleTimer(now, out)
	w.judge(now, 0, out)
	if next := w.hub.NextWake(); next <= now {
		w.check.failf(RuleTimer, "server %d was woken at %v and wants to be woken at %v", w.server+1, now, next)
	}
}

// NextWake implements run.Hub.
func (w *watched) NextWake() vt.Instant { return w.hub.NextWake() }

// Learn implements run.Hub.
func (w *watched) Learn(now vt.Instant, all []hub.Attachment, out *hub.Out) {
	w.hub.Learn(now, all, out)
	w.judge(now, 0, out)
}

// Reconfigure implements run.Hub.
func (w *watched) Reconfigure(now vt.Instant, c hub.Config) error { return w.hub.Reconfigure(now, c) }

// Close implements run.Hub.
func (w *watched) Close(now vt.Instant, out *hub.Out) {
	w.hub.Close(now, out)
	w.judge(now, 0, out)
}

// Counters implements run.Hub.
func (w *watched) Counters() hub.Counters { return w.hub.Counters() }

// Sessions implements run.Hub.
func (w *watched) Sessions() iter.Seq[hub.Session] { return w.hub.Sessions() }

// keep remembers a packet, to come again damaged.
func (c *checker) keep(b []byte) {
	if len(c.seen) < maxSeen {
		c.seen = append(c.seen, slices.Clone(b))
		return
	}
	i := len(b) * 31 % maxSeen
	c.seen[i] = append(c.seen[i][:0], b...)
}

// believed judges what a hub did with a packet from outside that only the network
// itself may send.
func (w *watched) believed(out *hub.Out) {
	for i := range out.Send {
		if s := &out.Send[i]; s.Encap.Proto != tunnel.ViaUDP { // a refusal
			w.check.failf(RuleOutside, "server %d took a packet from outside for one of the network's own, and sent it on", w.server+1)
		}
	}
	for i := range out.Events {
		if k := out.Events[i].Kind; k == hub.Attached || k == hub.FlowStart {
			w.check.failf(RuleOutside, "server %d believed a packet from outside: event %d", w.server+1, k)
		}
	}
}

// judge looks at all that one call did.
func (w *watched) judge(now vt.Instant, mark uint32, out *hub.Out) {
	c := w.check
	if c.broken != nil {
		return
	}
	n := w.hub.Counters()
	returned := n.Returned != w.count.Returned
	w.count = n
	told := false
	for i := range out.Events {
		told = w.hear(now, mark, &out.Events[i]) || told
	}
	for i := range out.Send {
		if s := &out.Send[i]; s.Encap.IsZero() {
			w.leaves(now, mark, s.Data)
		} else {
			w.enters(mark, s, returned)
		}
	}
	w.adds(told)
}

// adds checks the counters, and now and then the sessions themselves.
func (w *watched) adds(told bool) {
	c, n := w.check, &w.count
	sum := n.Forwarded + n.Returned + n.HandedOver + n.Delivered + n.Routed + n.Speaking + n.Answered + n.Held
	for _, d := range n.Drops {
		sum += d
	}
	switch {
	case sum != n.Packets || n.Packets != w.calls || n.Drops[drop.None] != 0:
		c.failf(RuleCounters, "server %d was given %d packets, counts %d, and accounts for %d", w.server+1, w.calls, n.Packets, sum)
	case n.Flows != uint64(w.sessions) || n.FlowsStarted-n.FlowsEnded != n.Flows:
		c.failf(RuleCounters, "server %d counts %d flows, %d started and %d ended, and told of %d", w.server+1, n.Flows, n.FlowsStarted, n.FlowsEnded, w.sessions)
	}
	if !told && w.calls%64 != 0 {
		return
	}
	found := 0
	for s := range w.hub.Sessions() {
		found++
		if b := c.live[reverseOf(w.server, &s)]; b == nil || b.s.ID != s.ID || b.server != w.server {
			c.failf(RuleReverse, "server %d has a session %s that it did not tell of, or another has its reverse key", w.server+1, tuple(&s))
		}
	}
	if found != w.sessions {
		c.failf(RuleSession, "server %d has %d sessions and told of %d", w.server+1, found, w.sessions)
	}
}

// config is what the server should work by.
func (w *watched) config() *hub.Config { return &w.check.truth[w.server] }

// rampNow is an on-ramp in the server's present configuration; nil if it is gone.
func (w *watched) rampNow(id ident.OnRamp) *hub.OnRamp {
	c := w.config()
	for i := range c.OnRamps {
		if c.OnRamps[i].ID == id {
			return &c.OnRamps[i]
		}
	}
	return nil
}

// hear follows an event; true if it is of a session.
func (w *watched) hear(now vt.Instant, mark uint32, e *hub.Event) bool {
	c := w.check
	if a, ok := e.Attachment(w.config().Self); ok {
		if old := c.where[a.OnRamp]; old.Since <= a.Since {
			c.where[a.OnRamp] = a
		}
	}
	switch e.Kind {
	case hub.FlowStart:
		w.starts(now, mark, e.Session)
	case hub.FlowEnd:
		w.ends(now, e.Session)
	case hub.FlowRefused:
		if e.Session.Refused == drop.None {
			c.failf(RuleSession, "server %d refused %s without a reason", w.server+1, tuple(e.Session))
		}
	default:
		return false
	}
	return true
}

// starts opens a book.
func (w *watched) starts(now vt.Instant, mark uint32, s *hub.Session) {
	c := w.check
	at := reverseOf(w.server, s)
	b := &book{s: *s, at: at, server: w.server, mark: mark, last: now}
	ramp := w.rampNow(s.OnRamp)
	id := idAt{s.ID, w}
	switch other, held := c.live[at], c.held[at]; {
	case c.ids[id]:
		c.failf(RuleSession, "server %d started session %x twice", w.server+1, s.ID)
	case other != nil:
		c.failf(RuleReverse, "%s of server %d has the reverse key of %s of server %d, which lives", tuple(s), w.server+1, tuple(&other.s), other.server+1)
	case held.b != nil && now < held.until && !same(&held.b.s, s):
		c.failf(RuleHold, "%s has the port of %s, which is held until %v", tuple(s), tuple(&held.b.s), held.until)
	case ramp == nil || ramp.Tenant != s.Tenant:
		c.failf(RuleTenants, "%s is tenant %d's and came by on-ramp %d", tuple(s), s.Tenant, s.OnRamp)
	case c.sure(mark) && !c.asks[mark-1].by(s, c.ramps[s.OnRamp].site):
		c.failf(RuleTenants, "%s asked, and %s is tenant %d's and came by %s", c.asks[mark-1].client, tuple(s), s.Tenant, ramp.Name)
	case ramp.ARR != (s.Return != 0) || s.Return != 0 && s.Return != s.OnRamp:
		c.failf(RuleHome, "%s came by %s (ARR %v) and its replies return by on-ramp %d", tuple(s), ramp.Name, ramp.ARR, s.Return)
	}
	if off := w.rampNow(s.OffRamp); off != nil && (off.Tenant != s.Tenant || off.Kind == tunnel.Connector && off.VNet != s.VNet) {
		c.failf(RuleTenants, "%s of tenant %d in virtual network %d goes to %s", tuple(s), s.Tenant, s.VNet, off.Name)
	}
	delete(c.held, at)
	c.ids[id], c.live[at] = true, b
	c.started++
	w.sessions++
	if mark != 0 {
		c.byMark[markAt{w.server, mark}] = b
	}
}

// sure reports whether a mark says whose a packet is.
func (c *checker) sure(mark uint32) bool { return mark != 0 && !c.strayed[mark] }

func connected(o *hub.OnRamp) bool { return o.Kind == tunnel.Device || o.Kind == tunnel.Connector }

// same reports whether two sessions have one forward key.
func same(a, b *hub.Session) bool {
	return a.Tenant == b.Tenant && a.VNet == b.VNet && a.OnRamp == b.OnRamp && a.Tuple == b.Tuple
}

// serves reports whether a session's on-ramp is in the present configuration, and
// neither attached somewhere nor of a group, which it may have left.
func (w *watched) serves(s *hub.Session) bool {
	o := w.rampNow(s.OnRamp)
	grouped := func(g hub.Group) bool { return slices.Contains(g.Members, s.OnRamp) }
	return o != nil && !connected(o) && !slices.ContainsFunc(w.config().Groups, grouped)
}

// late is how much later than its time a session may end: what a timer's wheel is
// coarse by.
const late = 2 * time.Second

// ends closes a book.
func (w *watched) ends(now vt.Instant, s *hub.Session) {
	c := w.check
	at := reverseOf(w.server, s)
	b := c.live[at]
	if b == nil || b.s.ID != s.ID || b.server != w.server {
		c.failf(RuleSession, "server %d ended %s, which it had not started", w.server+1, tuple(s))
		return
	}
	delete(c.live, at)
	c.over[at] = b
	w.sessions--
	if b.mark != 0 {
		c.ended[b.mark] = append(c.ended[b.mark], b)
	}
	tcp, public := s.Tuple.Proto == pkt.ProtoTCP, s.OffRamp == 0
	switch {
	case s.End < s.Start || s.End > now:
		c.failf(RuleTimer, "%s started at %v and ended at %v, and it is %v", tuple(s), s.Start, s.End, now)
	case !tcp && public && !b.unsure && !c.mixed && (s.BytesSent != b.sent || s.BytesReceived != b.received):
		c.failf(RuleBytes, "%s counts %d and %d bytes, %d and %d crossed", tuple(s), s.BytesSent, s.BytesReceived, b.sent, b.received)
	case !tcp && public && c.forced && !c.closing && w.serves(s) && s.End < b.last.Add(timeout(w.config(), s)):
		c.failf(RuleSession, "%s was ended by a configuration that still has its on-ramp", tuple(s))
	case !tcp && public && !c.forced && !connected(&c.ramps[s.OnRamp].ramp): // one that connects anew ends what it had
		w.lived(now, b, s)
	}
	b.s = *s
	if c.forced {
		c.strayed[b.mark] = true
	}
	own := s.Egress == s.Tuple.Src
	closed := w.crossed && s.End == now && (s.Close == hub.ClientClosed || s.Close == hub.OriginClosed)
	if tcp && !own && (closed && !c.forced || public && c.forced && !c.closing) {
		c.held[at] = hold{b, now.Add(w.config().Timers.PortHold)}
	}
}

// lived judges when a session of datagrams ran out.
func (w *watched) lived(now vt.Instant, b *book, s *hub.Session) {
	due := b.last.Add(timeout(w.config(), s))
	if s.End < due || now > due.Add(late) {
		w.check.failf(RuleTimer, "%s ended at %v, told at %v; its client's last packet was at %v, and it should have ended at %v", tuple(s), s.End, now, b.last, due)
	}
}

// leaves judges a packet to the Internet.
func (w *watched) leaves(now vt.Instant, mark uint32, data []byte) {
	c, m := w.check, &w.meta
	m.Parse(data)
	if m.Kind == pkt.Fragment {
		if b := c.byMark[markAt{w.server, mark}]; b != nil {
			b.unsure, b.last = true, now
		}
		return
	}
	if m.Kind != pkt.TCP && m.Kind != pkt.UDP && m.Kind != pkt.EchoRequest {
		return
	}
	self, owner := w.config().Self, ident.Server(0)
	for i := range c.plan.Servers[0].Config.Egress {
		if a := &c.plan.Servers[0].Config.Egress[i]; a.Addr == m.Src {
			owner = a.Owner[egress.Slice(m.SrcPort)]
		}
	}
	at := reverse{proto: m.Proto, egress: addrPort(m.Src, m.SrcPort), remote: addrPort(m.Dst, m.DstPort)}
	b := c.live[at]
	if b == nil {
		b = c.over[at]
	}
	switch {
	case owner != self:
		c.failf(RuleSlice, "%v left server %d, and belongs to server %d", at.egress, self, owner)
	case b == nil || b.server != w.server:
		c.failf(RuleSession, "%v to %v left server %d without a session", at.egress, at.remote, self)
	case c.sure(mark) && !c.asks[mark-1].by(&b.s, c.ramps[b.s.OnRamp].site):
		c.failf(RuleHome, "a packet of %s left as %s, which is a session of %s", c.asks[mark-1].client, tuple(&b.s), c.ramps[b.s.OnRamp].site)
	case m.Kind != pkt.TCP:
		b.sent += uint64(m.PayloadLen)
		b.last = now
	}
}

// enters judges a packet with an outer header: into an on-ramp, or to another
// server.
func (w *watched) enters(mark uint32, s *hub.Send, returned bool) {
	c := w.check
	b := c.byMark[markAt{w.server, mark}]
	if returned {
		w.returns(b, s.Data)
	}
	if c.peers[s.Encap.Dst] || !c.sure(mark) {
		return
	}
	id := c.outer[s.Encap.Dst]
	if s.Encap.Proto == tunnel.ViaGUE {
		id = s.Encap.Context.OnRamp
	}
	ramp, a := c.ramps[id], &c.asks[mark-1]
	if ramp == nil {
		c.failf(RuleHome, "server %d sent a packet of %s to %v, which is no on-ramp", w.server+1, a.client, s.Encap.Dst)
		return
	}
	elsewhere := ramp.site != a.client && ramp.site != a.server
	switch {
	case ramp.tenant != a.tenant:
		c.failf(RuleTenants, "a packet of %s, tenant %d, went into %s of tenant %d", a.client, a.tenant, ramp.ramp.Name, ramp.tenant)
	case elsewhere && b != nil && b.s.Return != 0:
		c.failf(RuleHome, "a packet of %s, whose session returns by on-ramp %d, went into %s", a.client, b.s.Return, ramp.ramp.Name)
	case elsewhere && a.public && c.always[a.client]:
		c.failf(RuleHome, "a packet of %s, which has ARR, went into %s", a.client, ramp.ramp.Name)
	}
}

// returns counts what goes back to the client of a session, into its on-ramp or to
// the server where that is attached.
func (w *watched) returns(b *book, data []byte) {
	if b == nil || b.s.OffRamp != 0 {
		return
	}
	m := &w.meta
	m.Parse(data)
	to := &b.s.Tuple
	switch {
	case m.Kind == pkt.Fragment:
		b.unsure = true
	case (m.Kind == pkt.UDP || m.Kind == pkt.EchoReply) && m.Src == to.Dst.Addr() && m.SrcPort == to.Dst.Port() && m.Dst == to.Src.Addr():
		b.received += uint64(m.PayloadLen)
	}
}
