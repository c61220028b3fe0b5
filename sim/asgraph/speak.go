package asgraph

import (
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/engine"
)

// Announce makes the i-th announcement at an instant from Now on.
func (d *Dynamics) Announce(at vt.Instant, i int) { d.engine.At(at, 2, engine.Entity(i), turn, 1) }

// Withdraw takes the i-th announcement back at an instant from Now on.
func (d *Dynamics) Withdraw(at vt.Instant, i int) { d.engine.At(at, 2, engine.Entity(i), turn, 0) }

// Run goes on until no AS has anything to say, or to the instant end. The error is
// the engine's.
func (d *Dynamics) Run(end vt.Instant) error { return d.engine.Run(d, end) }

// Now is the instant of the last event.
func (d *Dynamics) Now() vt.Instant { return d.engine.Now() }

// Messages is how many the ASes have sent since the beginning.
func (d *Dynamics) Messages() uint64 { return d.messages }

// Events is how many the engine has handled since the beginning.
func (d *Dynamics) Events() uint64 { return d.engine.Handled() }

// Fingerprint is the engine's.
func (d *Dynamics) Fingerprint() engine.Fingerprint { return d.engine.Fingerprint() }

// Churn is what has happened to an AS since the last Reset. An AS without a route
// has been losing time until now.
func (d *Dynamics) Churn(v Node) Churn {
	s := &d.speakers[v]
	c := Churn{int(s.changes), s.last, s.lost}
	if s.gone != vt.Never {
		c.Lost += d.Now().Sub(s.gone)
	}
	return c
}

// Reset begins to count Churn anew.
func (d *Dynamics) Reset() {
	for v := range d.speakers {
		s := &d.speakers[v]
		s.changes, s.last, s.lost = 0, 0, 0
		if s.gone != vt.Never {
			s.gone = d.Now()
		}
	}
}

// At is the route of a node as it is now.
func (d *Dynamics) At(v Node) Route {
	s := &d.speakers[v]
	if s.by == none {
		return Route{Next: Nowhere}
	}
	p := &d.paths[s.path]
	r := Route{s.class, p.length - 1, Nowhere, p.entry}
	if s.by != direct {
		r.Next = d.sessions[s.by].to
	}
	return r
}

// Path is the ASes from a node to the prefix as the node believes now, itself
// first. Nodes on the way may know better already.
func (d *Dynamics) Path(v Node) []Node {
	var all []Node
	for p := d.speakers[v].path; p != none; p = d.paths[p].rest {
		all = append(all, d.paths[p].as)
	}
	return all
}

// Handle is the engine's.
func (d *Dynamics) Handle(e engine.Event) {
	switch of := e.Entity(); e.Kind() {
	case told:
		m := &d.flight[e.Arg()]
		id, path := m.session, m.path
		m.path, d.spare = d.spare, int32(e.Arg()+1)
		d.hear(Node(of), id, path)
	case ready:
		id := int32(e.Arg())
		d.sessions[id].armed = false
		d.tell(Node(of), id)
	case turn:
		d.made[of] = e.Arg() == 1
		d.weigh(d.all[of].To)
	}
}

// on says whether v is on a path.
func (d *Dynamics) on(path int32, v Node) bool {
	if d.paths[path].some&v.bit() == 0 {
		return false
	}
	for ; path != none; path = d.paths[path].rest {
		if d.paths[path].as == v {
			return true
		}
	}
	return false
}

// hear has node v learn a path over one of its sessions; none withdraws. A path
// with v on it is none (RFC 4271 9.1.2).
func (d *Dynamics) hear(v Node, id, path int32) {
	if path != none && d.on(path, v) {
		path = none
	}
	in := &d.inbound[id]
	if in.path == path {
		return
	}
	in.path = path
	if path != none {
		in.length = d.paths[path].length
	}
	s := &d.speakers[v]
	switch {
	case s.by == id:
		d.weigh(v) // what it had may be worse now
	case path != none && (s.by == none || s.by != direct && d.better(v, id, s.by)):
		d.choose(v, id)
	case path != none && s.by == direct:
		d.weigh(v)
	}
}

// better says whether v likes what it has heard over a session better than what
// it has heard over another.
func (d *Dynamics) better(v Node, id, than int32) bool {
	s := &d.speakers[v]
	if a, b := s.classOf(id), s.classOf(than); a != b {
		return a > b
	}
	return d.closer(v, id, than)
}

// closer is better among sessions of one class.
func (d *Dynamics) closer(v Node, id, than int32) bool {
	if a, b := d.inbound[id].length, d.inbound[than].length; a != b {
		return a < b
	}
	if d.prefer == 0 {
		return id < than // sessions of a class are in the order of numbers
	}
	asn := d.g.asn
	return d.prefer.rank(asn[v], asn[d.sessions[id].to]) < d.prefer.rank(asn[v], asn[d.sessions[than].to])
}

// weigh has v choose among all that it knows.
func (d *Dynamics) weigh(v Node) {
	s := &d.speakers[v]
	best := none
	for id, end := s.customers, s.end; id < end; id++ {
		if d.inbound[id].path == none {
			continue
		}
		if best == none {
			best, end = id, s.classEnd(id) // what follows is of worse classes
		} else if d.closer(v, id, best) {
			best = id
		}
	}
	if s.enters && d.enterBefore(v, best) {
		return
	}
	if best == none {
		d.lose(v)
		return
	}
	d.choose(v, best)
}

// enterBefore has v take the best announcement made to it, if it is as good as what
// a session has told.
func (d *Dynamics) enterBefore(v Node, best int32) bool {
	for _, i := range d.enter[v] {
		if !d.made[i] {
			continue
		}
		a := d.all[i]
		if best != none {
			if class := d.speakers[v].classOf(best); a.Class < class || a.Class == class && a.Length > d.inbound[best].length {
				return false // and the others are no better
			}
		}
		d.start(v, i)
		return true
	}
	return false
}

// start has v take an announcement.
func (d *Dynamics) start(v Node, i uint16) {
	a, s := &d.all[i], &d.speakers[v]
	if s.by == direct && d.paths[s.path].entry == i {
		return
	}
	d.settle(v, direct, none, a.Class, step{v.bit(), v, none, a.Length + 1, i})
}

// choose has v take the path that a session has told.
func (d *Dynamics) choose(v Node, id int32) {
	s, path := &d.speakers[v], d.inbound[id].path
	if s.by == id && s.heard == path {
		return
	}
	rest := &d.paths[path]
	d.settle(v, id, path, s.classOf(id), step{rest.some | v.bit(), v, path, rest.length + 1, rest.entry})
}

// lose has v be without a route.
func (d *Dynamics) lose(v Node) {
	s := &d.speakers[v]
	if s.by == none {
		return
	}
	s.gone = d.Now()
	d.change(v, none, none, none, Unreachable)
}

// settle has v take a route and tell it.
func (d *Dynamics) settle(v Node, by, heard int32, class Class, path step) {
	s := &d.speakers[v]
	if s.by == none && s.gone != vt.Never {
		s.lost += d.Now().Sub(s.gone)
		s.gone = vt.Never
	}
	d.paths = append(d.paths, path)
	d.change(v, by, heard, int32(len(d.paths)-1), class)
}

// change gives a speaker another route, and has it tell everybody whom it concerns:
// what is no customer's is told to customers alone (Gao-Rexford), so that the
// others, unless they know something, have nothing to hear.
func (d *Dynamics) change(v Node, by, heard, path int32, class Class) {
	s := &d.speakers[v]
	end := s.end
	if s.class < FromCustomer && class < FromCustomer {
		end = s.peers
	}
	s.by, s.heard, s.path, s.class = by, heard, path, class
	s.changes++
	s.last = d.Now()
	for id := s.customers; id < end; id++ {
		d.tell(v, id)
	}
}

// tell has v say over a session what the neighbour does not know yet, if it
// may know it, and as soon as the timer allows.
func (d *Dynamics) tell(v Node, id int32) {
	s := &d.speakers[v]
	path := s.path
	if s.class < FromCustomer && id >= s.peers || s.by == id {
		path = none
	}
	to := &d.sessions[id]
	if path == to.sent {
		return
	}
	now := d.Now()
	if path != none && d.timing.MRAI > 0 {
		if now < to.ready {
			if !to.armed {
				to.armed = true
				d.engine.At(to.ready, 1, engine.Entity(v), ready, uint32(id))
			}
			return
		}
		to.ready = now.Add(d.timing.pause(to))
	}
	to.sent = path
	d.messages++
	d.engine.At(now.Add(d.timing.delay(to)), 0, engine.Entity(to.to), told, d.send(message{to.back, path}))
}

// send puts a message among those under way, and says where.
func (d *Dynamics) send(m message) uint32 {
	i := d.spare - 1
	if i < 0 {
		d.flight = append(d.flight, m)
		return uint32(len(d.flight) - 1)
	}
	d.spare, d.flight[i] = d.flight[i].path, m
	return uint32(i)
}
