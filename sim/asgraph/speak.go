package asgraph

import (
	"time"

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
	c := d.churn[v]
	if d.gone[v] != vt.Never {
		c.Lost += d.Now().Sub(d.gone[v])
	}
	return c
}

// Reset begins to count Churn anew.
func (d *Dynamics) Reset() {
	clear(d.churn)
	for v, since := range d.gone {
		if since != vt.Never {
			d.gone[v] = d.Now()
		}
	}
}

// At is the route of a node as it is now.
func (d *Dynamics) At(v Node) Route {
	c := &d.chosen[v]
	if c.by == none {
		return Route{Next: Nowhere}
	}
	r := Route{c.class, d.paths[c.path].length - 1, Nowhere, d.paths[c.path].entry}
	if c.by != direct {
		r.Next = d.sessions[c.by].to
	}
	return r
}

// Path is the ASes from a node to the prefix as the node believes now, itself
// first. Nodes on the way may know better already.
func (d *Dynamics) Path(v Node) []Node {
	var all []Node
	for p := d.chosen[v].path; p != none; p = d.paths[p].rest {
		all = append(all, d.paths[p].as)
	}
	return all
}

// Handle is the engine's.
func (d *Dynamics) Handle(e engine.Event) {
	id := int32(e.Entity())
	switch e.Kind() {
	case told:
		s := &d.sessions[id]
		d.hear(s.to, s.back, int32(e.Arg())-1)
	case ready:
		s := &d.sessions[id]
		s.armed = false
		d.tell(d.sessions[s.back].to, id)
	case turn:
		d.made[id] = e.Arg() == 1
		d.weigh(d.all[id].To)
	}
}

// hear has node v learn a path over one of its sessions; none withdraws. A path
// with v on it is none (RFC 4271 9.1.2).
func (d *Dynamics) hear(v Node, id, path int32) {
	for p := path; p != none; p = d.paths[p].rest {
		if d.paths[p].as == v {
			path = none
			break
		}
	}
	s := &d.sessions[id]
	if s.heard == path {
		return
	}
	s.heard = path
	c := &d.chosen[v]
	switch {
	case c.by == id:
		d.weigh(v) // what it had may be worse now
	case path != none && (c.by == none || c.by != direct && d.better(v, id, c.by)):
		d.choose(v, id, path)
	case path != none && c.by == direct:
		d.weigh(v)
	}
}

// better says whether v likes what it has heard over a session better than what
// it has heard over another.
func (d *Dynamics) better(v Node, id, than int32) bool {
	a, b := &d.sessions[id], &d.sessions[than]
	if a.class != b.class {
		return a.class > b.class
	}
	if x, y := d.paths[a.heard].length, d.paths[b.heard].length; x != y {
		return x < y
	}
	asn := d.g.asn
	return d.prefer.rank(asn[v], asn[a.to]) < d.prefer.rank(asn[v], asn[b.to])
}

// weigh has v choose among all that it knows.
func (d *Dynamics) weigh(v Node) {
	best := none
	for id := d.off[v]; id < d.off[v+1]; id++ {
		if d.sessions[id].heard != none && (best == none || d.better(v, id, best)) {
			best = id
		}
	}
	for _, i := range d.enter[v] {
		a := d.all[i]
		if !d.made[i] {
			continue
		}
		if best == none || a.Class > d.sessions[best].class ||
			a.Class == d.sessions[best].class && a.Length <= d.paths[d.sessions[best].heard].length {
			d.start(v, i)
			return
		}
		break // the others are no better
	}
	if best == none {
		d.lose(v)
		return
	}
	d.choose(v, best, d.sessions[best].heard)
}

// start has v take an announcement.
func (d *Dynamics) start(v Node, i uint16) {
	a := d.all[i]
	if c := &d.chosen[v]; c.by == direct && d.paths[c.path].entry == i {
		return
	}
	d.paths = append(d.paths, step{v, none, a.Length + 1, i})
	d.settle(v, choice{direct, int32(len(d.paths) - 1), none, a.Class})
}

// choose has v take the path that a session has told.
func (d *Dynamics) choose(v Node, id, path int32) {
	if c := &d.chosen[v]; c.by == id && c.heard == path {
		return
	}
	rest := d.paths[path]
	d.paths = append(d.paths, step{v, path, rest.length + 1, rest.entry})
	d.settle(v, choice{id, int32(len(d.paths) - 1), path, d.sessions[id].class})
}

func (d *Dynamics) lose(v Node) {
	if d.chosen[v].by != none {
		d.settle(v, choice{by: none, path: none, heard: none})
	}
}

// settle changes v's route and has it tell everybody.
func (d *Dynamics) settle(v Node, c choice) {
	now := d.Now()
	switch was := d.chosen[v].by; {
	case c.by == none:
		d.gone[v] = now
	case was == none && d.gone[v] != vt.Never:
		d.churn[v].Lost += now.Sub(d.gone[v])
		d.gone[v] = vt.Never
	}
	d.chosen[v] = c
	d.churn[v].Changes++
	d.churn[v].Last = now
	for id := d.off[v]; id < d.off[v+1]; id++ {
		d.tell(v, id)
	}
}

// tell has v say over a session what the neighbour does not know yet, if it may
// know it (Gao-Rexford), and as soon as the timer allows.
func (d *Dynamics) tell(v Node, id int32) {
	s, c := &d.sessions[id], &d.chosen[v]
	path := c.path
	if c.class < FromCustomer && s.class != FromCustomer || c.by == id {
		path = none
	}
	if path == s.sent {
		return
	}
	now := d.Now()
	if path != none && s.mrai > 0 {
		if now < s.ready {
			if !s.armed {
				s.armed = true
				d.engine.At(s.ready, 1, engine.Entity(id), ready, 0)
			}
			return
		}
		s.ready = now.Add(s.mrai)
	}
	s.sent = path
	d.messages++
	d.engine.At(now.Add(max(s.delay, time.Nanosecond)), 0, engine.Entity(id), told, uint32(path+1))
}
