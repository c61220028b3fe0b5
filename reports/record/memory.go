package record

import (
	"slices"
	"sync"
)

// Records are one run's records, all of them.
type Records struct {
	// Dir is where they were read from; empty if they were collected in memory.
	Dir      string
	Run      Run
	Flows    []Flow
	Sessions []Session
	Events   []Event
}

// Memory is a Sink that collects: checks are evaluated over its Records. It
// grows with the run, about 500 B for each record. The zero value is ready.
type Memory struct {
	mu  sync.Mutex
	all Records
	ran bool
}

var _ Sink = (*Memory)(nil)

// Flow collects f.
func (m *Memory) Flow(f Flow) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all.Flows = append(m.all.Flows, f)
}

// Session collects s.
func (m *Memory) Session(s Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all.Sessions = append(m.all.Sessions, s)
}

// Event collects e.
func (m *Memory) Event(e Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all.Events = append(m.all.Events, e)
}

// Run keeps the manifest.
func (m *Memory) Run(r Run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all.Run, m.ran = r, true
}

// Progress is not kept.
func (m *Memory) Progress(string, int, int) {}

// Records is what came so far. Without a manifest the run counts as Partial.
func (m *Memory) Records() *Records {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &Records{
		Run: m.all.Run, Flows: slices.Clone(m.all.Flows),
		Sessions: slices.Clone(m.all.Sessions), Events: slices.Clone(m.all.Events),
	}
	if !m.ran {
		r.Run.Partial = true
	}
	return r
}

// Tee passes every record to each sink, in the order given.
func Tee(sinks ...Sink) Sink { return tee(sinks) }

type tee []Sink

func (t tee) Flow(f Flow) {
	for _, s := range t {
		s.Flow(f)
	}
}

func (t tee) Session(v Session) {
	for _, s := range t {
		s.Session(v)
	}
}

func (t tee) Event(e Event) {
	for _, s := range t {
		s.Event(e)
	}
}

func (t tee) Run(r Run) {
	for _, s := range t {
		s.Run(r)
	}
}

func (t tee) Progress(stage string, done, total int) {
	for _, s := range t {
		s.Progress(stage, done, total)
	}
}
