package run

import (
	"cmp"
	"fmt"
	"maps"
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
	servers  []known
	traffic  bool
	closed   bool
	pending  map[*time.Timer]bool
	where    map[hub.Subject]hub.Attachment // as told last
	learning sync.WaitGroup
}

// known is a server that learns.
type known struct {
	datacenter string
	learn      func([]hub.Attachment) error
	id         ident.Server
}

func newStore(delays map[string]time.Duration, fail func(error)) *store {
	return &store{delays: delays, fail: fail, pending: map[*time.Timer]bool{}, where: map[hub.Subject]hub.Attachment{}}
}

// add makes a server one that learns.
func (s *store) add(k known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servers = append(s.servers, k)
}

// begin says that traffic begins: from now on news take their time.
func (s *store) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.traffic = true
}

// tell takes what a server said about where something is.
func (s *store) tell(news hub.Attachment, by ident.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.where[news.Subject()] = news
	for _, k := range s.servers {
		if k.id == by || s.closed {
			continue
		}
		delay := time.Duration(0)
		if s.traffic {
			delay = s.delays[k.datacenter]
		}
		s.schedule(delay, k, news)
	}
}

// everything is what a server that begins anew has to know.
func (s *store) everything() []hub.Attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.where), func(a, b hub.Attachment) int { return cmp.Compare(a.OnRamp, b.OnRamp) })
}

// schedule lets a server learn after the delay. The lock is held.
func (s *store) schedule(delay time.Duration, k known, news hub.Attachment) {
	s.learning.Add(1)
	var t *time.Timer
	t = time.AfterFunc(delay, func() {
		defer s.learning.Done()
		s.mu.Lock()
		delete(s.pending, t)
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return
		}
		if err := k.learn([]hub.Attachment{news}); err != nil {
			s.fail(fmt.Errorf("where devices are: %w", err))
		}
	})
	s.pending[t] = true
}

// close ends it: what is not learned by then never is.
func (s *store) close() {
	s.mu.Lock()
	s.closed = true
	for t := range s.pending {
		if t.Stop() {
			s.learning.Done()
		}
	}
	clear(s.pending)
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
