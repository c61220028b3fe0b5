package run

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// speaker is a router that speaks BGP in virtual time: the decisions are
// dataplane/bgp's, the sessions are this file's. What two routers say to each
// other is not packets here. It takes as long as the link between them, and while
// the link carries nothing it waits, as TCP would have it, until the hold timer of
// one of them has run out.
type speaker struct {
	plan    *plan.Speaker
	machine *machine
	router  *bgp.Router
	halves  []*half // by session
}

// half is a session as one of its ends has it: what it hears.
type half struct {
	world   *world
	of      *speaker
	session int
	peer    *half
	// in is the wire that it hears the other by.
	in *wire
	// up: the session is established. mail is what is on its way here, in order;
	// since the wire is silent, nothing of it arrives.
	up     bool
	mail   []bgp.Update
	heard  vt.Instant // the last keepalive at the latest
	timer  engine.Timer
	index  uint32
	entity engine.Entity
}

// connectRetry is how long after a session was lost, or could not be had, an end
// tries again (RFC 4271 section 8: ConnectRetryTimer), as the lab's speakers do.
const connectRetry = time.Second

// speakers makes all of them, at rest: the plan's learned routes are theirs.
func (w *world) speakers() error {
	_, routers, quiet := w.plan.Network()
	if !quiet {
		return fmt.Errorf("routing never comes to rest")
	}
	ends := map[[2]string]*half{}
	for i := range w.plan.Speakers {
		s := &speaker{plan: &w.plan.Speakers[i], router: routers[i]}
		s.machine = w.nodes[s.plan.Node]
		for n := range s.plan.Sessions {
			h := &half{world: w, of: s, session: n, up: true, index: uint32(len(w.halves))}
			h.entity = w.entity()
			h.timer = w.engine.NewTimer(classServer, h.entity, kindHold, h.index)
			for _, x := range w.wires {
				if x.end == s.plan.Node && x.at == s.plan.Sessions[n].Interface {
					h.in = x
				}
			}
			if h.in == nil {
				return fmt.Errorf("%s: no wire at %q", s.plan.Node, s.plan.Sessions[n].Interface)
			}
			h.in.hears = h
			s.halves, w.halves = append(s.halves, h), append(w.halves, h)
			ends[[2]string{s.plan.Node, s.plan.Sessions[n].Node}] = h
		}
		w.bgp = append(w.bgp, s)
	}
	for _, h := range w.halves {
		h.peer = ends[[2]string{h.of.plan.Sessions[h.session].Node, h.of.plan.Node}]
	}
	return nil
}

// do has the router decide, and carries what follows.
func (s *speaker) do(f func(out *bgp.Out)) {
	var out bgp.Out
	f(&out)
	for _, m := range out.Messages {
		s.halves[m.To].peer.send(m.Update)
	}
	for _, p := range out.Changed {
		s.install(p)
	}
}

// install has the machine route a prefix by the best path.
func (s *speaker) install(p netip.Prefix) {
	w := s.machine
	best := s.router.Best(p)
	neighbor := ""
	switch {
	case best >= 0:
		x := &s.plan.Sessions[best]
		w.node.AddRoute(p, w.ports[x.Interface])
		neighbor = x.Node
	case best == bgp.None && !slices.ContainsFunc(w.plan.Routes, func(r plan.KernelRoute) bool { return r.To == p && !r.Learned }):
		w.node.DeleteRoute(p)
	default:
		return // its own, whether it is announced or not
	}
	s.halves[0].world.event(journal.Moved(s.plan.Node, p, neighbor))
}

// send puts an update on its way here.
func (h *half) send(u bgp.Update) {
	if !h.up {
		return
	}
	h.mail = append(h.mail, u)
	if h.in.muted == 0 {
		h.schedule()
	}
}

// schedule has one update arrive after the delay of the wire.
func (h *half) schedule() {
	w := h.world
	w.engine.At(w.engine.Now().Add(h.in.link.Impair(h.in.direction).Delay), classServer, h.entity, kindUpdate, h.index)
}

// arrive takes the oldest update.
func (h *half) arrive() {
	if !h.up || len(h.mail) == 0 || h.in.muted > 0 {
		return
	}
	u := h.mail[0]
	h.mail = h.mail[1:]
	h.heard = h.world.engine.Now()
	h.of.do(func(out *bgp.Out) { h.of.router.Receive(h.session, u, out) })
}

// silent is called when the wire carries nothing any more, or carries again.
func (h *half) silent(muted bool) {
	w := h.world
	now := w.engine.Now()
	if !h.up {
		if !muted {
			w.engine.Arm(h.timer, now.Add(connectRetry))
		}
		return
	}
	if muted {
		// The last keepalive, of one in every third of the hold time (RFC 4271 section 4.4).
		interval := w.plan.Hold / 3
		h.heard = max(h.heard, now-now%vt.Instant(interval))
		w.engine.Arm(h.timer, h.heard.Add(w.plan.Hold))
		return
	}
	w.engine.Stop(h.timer)
	for range h.mail { // what TCP repeats
		h.schedule()
	}
}

// expire is the end of a session whose hold timer has run out, or an attempt to
// have it again.
func (h *half) expire() {
	if !h.up {
		h.connect()
		return
	}
	h.end("hold timer expired")
	if h.peer.in.muted == 0 {
		h.peer.end("the other end says: hold timer expired")
	}
	h.world.engine.Arm(h.timer, h.world.engine.Now().Add(connectRetry))
}

// end forgets all that came by the session.
func (h *half) end(why string) {
	if !h.up {
		return
	}
	h.up, h.mail = false, nil
	x := &h.of.plan.Sessions[h.session]
	h.world.event(journal.BGPSession(h.of.plan.Node, x.Node, false, why))
	h.of.do(func(out *bgp.Out) { h.of.router.Down(h.session, out) })
}

// connect has the session again where both ends hear each other. An end that
// still holds the old one gives that up (RFC 4271 section 6.8).
func (h *half) connect() {
	if h.in.muted > 0 || h.peer.in.muted > 0 {
		return // tried again when the wire carries again
	}
	h.peer.end("the other end connects anew")
	for _, e := range []*half{h, h.peer} {
		e.up = true
		e.heard = h.world.engine.Now()
		h.world.engine.Stop(e.timer)
		h.world.event(journal.BGPSession(e.of.plan.Node, e.of.plan.Sessions[e.session].Node, true, ""))
	}
	for _, e := range []*half{h, h.peer} {
		e.of.do(func(out *bgp.Out) { e.of.router.Up(e.session, out) })
	}
}

// announce has the edges announce what they should.
func (w *world) announce(withdrawn []plan.Announcement) {
	for _, s := range w.bgp {
		wanted := w.plan.Announces(s.plan, withdrawn)
		for _, own := range s.plan.Originated() {
			p := own[0].Prefix
			if !slices.ContainsFunc(wanted, func(o bgp.Origin) bool { return o.Prefix == p }) {
				own = nil
			}
			if announced := s.router.Best(p) == bgp.Own; announced != (own != nil) {
				s.do(func(out *bgp.Out) { s.router.Announce(p, own, out) })
			}
		}
	}
}
