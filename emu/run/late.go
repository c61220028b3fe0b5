package run

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/emu/late"
	"github.com/homeward-lab/homeward/reports/record"
)

// late is what a part told of its lateness since traffic began, behind what it told
// before, in another life; nil if nobody knows.
func (r *runner) late(before *record.Late, told *late.Told) *record.Late {
	if told.Least == 0 {
		return before
	}
	l := &record.Late{LeastNs: told.Least}
	if before != nil {
		l.LeastNs, l.Moments = max(l.LeastNs, before.LeastNs), before.Moments
	}
	began := r.since(r.first)
	for _, m := range told.Moments {
		if m.At >= began {
			l.Moments = append(l.Moments, record.LateMoment{AtNs: m.At, ForNs: m.For})
		}
	}
	return l
}

// stood is when faults had servers stand still, by server: what comes late of that was
// asked for. Its methods are safe for concurrent use.
type stood struct {
	mu sync.Mutex
	by map[string][]still
}

// still is from when until when, ns of the run.
type still struct{ from, to int64 }

func (s *stood) begin(server string, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[string][]still{}
	}
	s.by[server] = append(s.by[server], still{at, math.MaxInt64})
}

func (s *stood) end(server string, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.by[server]; len(all) > 0 {
		all[len(all)-1].to = at
	}
}

// asked reports whether a fault had the server stand still while it was late.
func (s *stood) asked(server string, m late.Moment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.by[server], func(x still) bool { return m.At >= x.from && m.At-m.For < x.to })
}

// lateNode notes what a node told of its lateness, but for what a fault asked for.
func (r *runner) lateNode(node string, told *late.Told) {
	told.Moments = slices.DeleteFunc(told.Moments, func(m late.Moment) bool { return r.stood.asked(node, m) })
	r.lateIn(r.manifest.Metrics.Late, node, told)
}

// lateIn adds to all what a node told of its lateness.
func (r *runner) lateIn(all map[string]*record.Late, node string, told *late.Told) {
	if l := r.late(all[node], told); l != nil {
		all[node] = l
	}
}

// lateLogs are of nodes that this process is, by node. Its zero value is ready.
type lateLogs struct {
	mu sync.Mutex
	by map[string]*late.Log
}

// of is the log of a node.
func (l *lateLogs) of(node string) *late.Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[string]*late.Log{}
	}
	if l.by[node] == nil {
		l.by[node] = late.New()
	}
	return l.by[node]
}

// told is what the nodes told.
func (l *lateLogs) told(tell func(node string, told *late.Told)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for node, log := range l.by {
		told := log.Told()
		tell(node, &told)
	}
}

// lateOf is the log of packets of a node of this process, an origin or the end of a
// tunnel; nil where times do not count.
func (r *runner) lateOf(node string) *late.Log {
	if !r.timed {
		return nil
	}
	return r.logs.of(node)
}

// lateHost notes that a program on a host was late.
func (r *runner) lateHost(node string, at time.Time, d time.Duration) {
	if r.timed && d >= late.Least {
		r.hostLogs.of(node).Note(0, r.since(at), int64(d))
	}
}

// lateInside notes what the nodes of this process told.
func (r *runner) lateInside() {
	r.logs.told(r.lateNode)
	r.hostLogs.told(func(node string, told *late.Told) { r.lateIn(r.manifest.Metrics.LateHosts, node, told) })
}

// lateFeature says which parts of a lab whose times count told of their lateness: what
// no part tells excuses nothing.
func (r *runner) lateFeature() {
	if !r.timed {
		return
	}
	servers, links, asked := 0, 0, 0
	for _, s := range r.plan.Servers {
		if r.manifest.Metrics.Late[s.Node] != nil {
			servers++
		}
	}
	for i := range r.manifest.Metrics.Wires {
		if w := &r.manifest.Metrics.Wires[i]; w.Asked.N > 0 {
			if asked++; w.Late != nil {
				links++
			}
		}
	}
	r.manifest.Features["lateness"] = fmt.Sprintf("told by %d of %d servers, %d of %d directions of links", servers, len(r.plan.Servers), links, asked)
}
