package run

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// store is the network's configuration store, as far as it moves by itself:
// where devices and connectors are. What one server tells it, the servers of each
// datacenter learn after that datacenter's propagation (SEMANTICS 3.2). Before
// traffic begins they learn at once: the network has been up for a while.
type store struct {
	delays  map[string]time.Duration // by datacenter
	traffic bool
	// news under way, by the argument of the event; free are those to use again.
	news []news
	free []uint32
	// where devices and connectors are, as told last.
	where map[hub.Subject]hub.Attachment
}

// news is what one server is about to learn.
type news struct {
	server *server
	what   hub.Attachment
}

func (s *store) open(p *plan.Plan) {
	s.delays, s.where = map[string]time.Duration{}, map[hub.Subject]hub.Attachment{}
	for _, d := range p.Datacenters {
		s.delays[d.Name] = d.Propagation
	}
}

// tell takes what a server said about where something is.
func (s *store) tell(w *world, a hub.Attachment, by ident.Server) {
	s.where[a.Subject()] = a
	s.pass(w, a, by)
}

// pass has all other servers learn what one told.
func (s *store) pass(w *world, a hub.Attachment, by ident.Server) {
	for _, x := range w.servers {
		if x.plan.Config.Self == by {
			continue
		}
		delay := time.Duration(0)
		if s.traffic {
			delay = s.delays[x.plan.Datacenter]
		}
		w.engine.At(w.engine.Now().Add(delay), classServer, x.entity, kindLearn, s.keep(news{x, a}))
	}
}

// restart says what a server that begins anew has to know, and tells the others that
// what it used before is free.
func (s *store) restart(w *world, id ident.Server) []hub.Attachment {
	var all []hub.Attachment
	for _, a := range slices.SortedFunc(maps.Values(s.where), bySubject) {
		if a.Use == nil || a.Use.Server != id {
			all = append(all, a)
			continue
		}
		none := a.Subject()
		delete(s.where, none)
		s.pass(w, hub.Attachment{Use: &none.Use}, id)
	}
	return all
}

func bySubject(a, b hub.Attachment) int {
	if a.Use == nil || b.Use == nil {
		return cmp.Compare(a.OnRamp, b.OnRamp)
	}
	return cmp.Or(a.Use.Addr.Compare(b.Use.Addr), a.Use.Remote.Compare(b.Use.Remote), cmp.Compare(a.Use.Proto, b.Use.Proto), cmp.Compare(a.Use.Server, b.Use.Server))
}

func (s *store) keep(n news) uint32 {
	if k := len(s.free); k > 0 {
		at := s.free[k-1]
		s.free = s.free[:k-1]
		s.news[at] = n
		return at
	}
	s.news = append(s.news, n)
	return uint32(len(s.news) - 1)
}

// learn lets a server learn what is due.
func (w *world) learn(at uint32) {
	n := w.store.news[at]
	w.store.news[at] = news{}
	w.store.free = append(w.store.free, at)
	n.server.learn([]hub.Attachment{n.what})
}
