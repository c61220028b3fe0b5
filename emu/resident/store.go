package resident

import (
	"context"
	"slices"
	"sync"

	"github.com/homeward-lab/homeward/reports/record"
)

// keptEvents is how many events of the time line are kept. A lab may stay for
// days: what is older is forgotten, and whoever asks is told how much.
const keptEvents = 1 << 16

// store keeps what has happened in a lab: of each traffic the latest round, of
// the time line the latest events. It is a record.Sink, safe for concurrent use.
type store struct {
	mu       sync.Mutex
	flows    map[string][]record.Flow // by traffic
	sessions []record.Session
	events   []record.Event // the last of them is number first+len-1
	first    int
	more     chan struct{} // closed when there is another event
	progress func(stage string, done, total int)
}

var _ record.Sink = (*store)(nil)

func newStore() *store {
	return &store{flows: map[string][]record.Flow{}, more: make(chan struct{})}
}

// Flow is told by round, not by the sink: see rounds.
func (s *store) Flow(record.Flow) {}

// Session keeps the log of what has ended.
func (s *store) Session(v record.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) >= 2*keptEvents {
		s.sessions = slices.Clone(s.sessions[keptEvents:])
	}
	s.sessions = append(s.sessions, v)
}

// Event adds to the time line.
func (s *store) Event(e record.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) >= 2*keptEvents {
		s.events = slices.Clone(s.events[keptEvents:])
		s.first += keptEvents
	}
	s.events = append(s.events, e)
	close(s.more)
	s.more = make(chan struct{})
}

// Run is not kept: the manifest is asked of the lab.
func (s *store) Run(record.Run) {}

// Progress is for whoever waits.
func (s *store) Progress(stage string, done, total int) {
	s.mu.Lock()
	tell := s.progress
	s.mu.Unlock()
	if tell != nil {
		tell(stage, done, total)
	}
}

// toStarter says who is told of progress; nil is nobody.
func (s *store) toStarter(tell func(stage string, done, total int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress = tell
}

// round keeps what became of the traffic, in place of its round before. What
// the time line says of misdeliveries of that one is no longer of its flows.
func (s *store) round(flows []record.Flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := map[string]bool{}
	for _, f := range flows {
		if !fresh[f.Traffic] {
			fresh[f.Traffic] = true
			s.flows[f.Traffic] = nil
		}
		s.flows[f.Traffic] = append(s.flows[f.Traffic], f)
	}
}

// all is what checks are judged over.
func (s *store) all(traffic []string) record.Records {
	s.mu.Lock()
	defer s.mu.Unlock()
	var r record.Records
	began := map[string]int64{} // by client and tuple: when its latest flow did
	for _, id := range traffic {
		r.Flows = append(r.Flows, s.flows[id]...)
		for _, f := range s.flows[id] {
			began[asked(f.Client, f.Proto, f.Src, f.Dst)] = f.StartNs
		}
	}
	r.Sessions = slices.Clone(s.sessions)
	latest := map[string]int64{} // by fault: when it last happened
	for _, e := range s.events {
		if e.Kind == "fault" {
			latest[e.Fault] = e.AtNs
		}
	}
	for _, e := range s.events {
		if e.Kind == "misdelivered" && e.AtNs < began[e.Node+" "+e.Flow] || e.Kind == "fault" && e.AtNs < latest[e.Fault] {
			continue // of an earlier round
		}
		r.Events = append(r.Events, e)
	}
	return r
}

func asked(client, proto, src, dst string) string {
	return client + " " + proto + " " + src + " > " + dst
}

// follow calls each for every event from the oldest that is kept, and, if on,
// for those to come, until ctx ends. lost is how many were not kept for it.
func (s *store) follow(ctx context.Context, on bool, each func(e record.Event, lost int) error) error {
	for next := 0; ; {
		s.mu.Lock()
		lost := max(0, s.first-next)
		next = max(next, s.first)
		batch, more := slices.Clone(s.events[next-s.first:]), s.more
		s.mu.Unlock()
		for _, e := range batch {
			if err := each(e, lost); err != nil {
				return err
			}
			lost = 0
		}
		next += len(batch)
		if len(batch) > 0 {
			continue
		}
		if !on {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		}
	}
}
