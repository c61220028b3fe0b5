package run

import (
	"fmt"
	"math"
	"slices"
	"sync"

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
	all := r.manifest.Metrics.Late
	if l := r.late(all[node], told); l != nil {
		all[node] = l
	}
}

// lateLogs are of origins and ends of tunnels, which this process is, by node. Its zero
// value is ready.
type lateLogs struct {
	mu sync.Mutex
	by map[string]*late.Log
}

// lateOf is the log of a node of this process; nil where times do not count.
func (r *runner) lateOf(node string) *late.Log {
	if !r.timed {
		return nil
	}
	r.logs.mu.Lock()
	defer r.logs.mu.Unlock()
	if r.logs.by == nil {
		r.logs.by = map[string]*late.Log{}
	}
	if r.logs.by[node] == nil {
		r.logs.by[node] = late.New()
	}
	return r.logs.by[node]
}

// lateInside notes what the nodes of this process told.
func (r *runner) lateInside() {
	r.logs.mu.Lock()
	defer r.logs.mu.Unlock()
	for node, l := range r.logs.by {
		told := l.Told()
		r.lateNode(node, &told)
	}
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
