package run

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/emu/agent"
)

// store is the network's configuration store, as far as it moves by itself:
// where devices and connectors are. What one server tells it, the servers of
// each datacenter learn after that datacenter's propagation (SEMANTICS 3.2).
// Before traffic begins they learn at once: the network has been up for a while.
//
// Safe for concurrent use. It never calls a server from the goroutine that reads
// that server's events, which would have each wait for the other.
type store struct {
	delays map[string]time.Duration // by datacenter
	fail   func(error)

	mu       sync.Mutex
	learners []*learner
	traffic  bool
	closing  chan struct{}
	where    map[hub.Subject]hub.Attachment // as told last
	learning sync.WaitGroup
}

// known is a server that learns.
type known struct {
	datacenter string
	learn      func([]hub.Attachment) error
	id         ident.Server
}

// learner is a known server with the news that are under way to it, in the order in
// which they were told: of how much of an address a server uses the last news count.
type learner struct {
	known
	news  []news
	awake bool // somebody delivers
}

// news is what a server is about to learn.
type news struct {
	what hub.Attachment
	due  time.Time
}

func newStore(delays map[string]time.Duration, fail func(error)) *store {
	return &store{delays: delays, fail: fail, closing: make(chan struct{}), where: map[hub.Subject]hub.Attachment{}}
}

// add makes a server one that learns.
func (s *store) add(k known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.learners = append(s.learners, &learner{known: k})
}

// begin says that traffic begins: from now on news take their time.
func (s *store) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.traffic = true
}

// tell takes what a server said about where something is.
func (s *store) tell(a hub.Attachment, by ident.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.where[a.Subject()] = a
	s.pass(a, by)
}

// pass has all other servers learn what one told. The lock is held.
func (s *store) pass(a hub.Attachment, by ident.Server) {
	for _, l := range s.learners {
		if l.id == by {
			continue
		}
		delay := time.Duration(0)
		if s.traffic {
			delay = s.delays[l.datacenter]
		}
		s.schedule(l, news{a, time.Now().Add(delay)})
	}
}

// restart tells a server that begins anew everything, and the others that what it
// used before is free.
func (s *store) restart(id ident.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for subject, a := range s.where {
		if a.Use != nil && a.Use.Server == id {
			delete(s.where, subject)
			none := subject.Use
			s.pass(hub.Attachment{Use: &none}, id)
		}
	}
	for _, l := range s.learners {
		if l.id == id {
			l.news = l.news[:0]
			for _, a := range s.where {
				s.schedule(l, news{a, time.Now()})
			}
		}
	}
}

// schedule has a server learn something, after all that it is to learn before. The
// lock is held.
func (s *store) schedule(l *learner, n news) {
	if s.closed() {
		return
	}
	if l.news = append(l.news, n); l.awake {
		return
	}
	l.awake = true
	s.learning.Go(func() {
		for s.deliver(l) {
		}
	})
}

// deliver has a server learn what is due, or waits until something is. It returns
// whether there is more.
func (s *store) deliver(l *learner) bool {
	s.mu.Lock()
	now := time.Now()
	due := slices.IndexFunc(l.news, func(n news) bool { return n.due.After(now) })
	if due < 0 {
		due = len(l.news)
	}
	var learn []hub.Attachment
	for _, n := range l.news[:due] {
		learn = append(learn, n.what)
	}
	wait := time.Duration(0)
	if l.news = l.news[due:]; due == 0 && len(l.news) > 0 {
		wait = l.news[0].due.Sub(now)
	}
	l.awake = !s.closed() && due+len(l.news) > 0
	awake := l.awake
	s.mu.Unlock()
	switch {
	case !awake:
	case wait > 0:
		select {
		case <-time.After(wait):
		case <-s.closing:
		}
	default:
		if err := l.learn(learn); err != nil {
			s.fail(fmt.Errorf("what servers tell each other: %w", err))
		}
	}
	return awake
}

func (s *store) closed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// close ends it: what is not learned by then never is.
func (s *store) close() {
	s.mu.Lock()
	close(s.closing)
	s.mu.Unlock()
	s.learning.Wait()
}

// learns makes a server of the lab one that learns, and returns what takes its
// events.
func (r *runner) learns(i int) func(agent.Event) {
	s := &r.plan.Servers[i]
	return func(e agent.Event) {
		if a, ok := e.Attachment(s.Config.Self); ok {
			r.store.tell(a, s.Config.Self)
		}
		r.journal.Hub(e.Node, &e.Event)
	}
}
