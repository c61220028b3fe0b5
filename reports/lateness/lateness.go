// Package lateness says how much longer a flow's round trip may have taken because
// parts of its lab came late to its packets, by what they measured of themselves, and
// how late any came while the flow lasted.
//
// The first is an upper bound, and as tight as the records allow. A packet is at one place at
// a time, so that it cannot have waited for longer than somebody was late; and it
// crosses each part a known number of times, so that of a part that was late all the
// time, each time a little, no more counts than that. Its law: what no part measured is
// not excused.
package lateness

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
)

// Of a run, what its parts told.
type Run struct {
	parts []part
	nodes map[string]*record.TopologyNode
}

// part is one that measures its lateness.
type part struct {
	name string
	ends []string // the nodes that a flow that crosses it crosses
	// times is how often a round trip crosses it at most; never, if what is late is a
	// program on a host.
	times   int
	moments []record.LateMoment
	longest int64
}

// How often a round trip crosses a part: a link's direction once; a server twice, there
// and back; who answers, or ends a tunnel, likewise.
const (
	acrossLink = 1
	acrossNode = 2
	never      = 0
)

// Of reads a run. A run of which nothing is known has no parts.
func Of(r *record.Records) *Run {
	all := &Run{nodes: make(map[string]*record.TopologyNode)}
	for i := range r.Run.Topology.Nodes {
		n := &r.Run.Topology.Nodes[i]
		all.nodes[n.ID] = n
	}
	for node, l := range r.Run.Metrics.Late {
		all.add(l, node, acrossNode, node)
	}
	for node, l := range r.Run.Metrics.LateHosts {
		all.add(l, "a program on "+node, never, node)
	}
	for i := range r.Run.Metrics.Wires {
		w := &r.Run.Metrics.Wires[i]
		all.add(w.Late, "the link from "+w.From+" to "+w.To, acrossLink, w.From, w.To)
	}
	slices.SortFunc(all.parts, func(a, b part) int { return strings.Compare(a.name, b.name) })
	return all
}

func (r *Run) add(l *record.Late, name string, times int, ends ...string) {
	if l == nil || len(l.Moments) == 0 {
		return
	}
	p := part{name: name, ends: ends, times: times, moments: slices.Clone(l.Moments)}
	slices.SortFunc(p.moments, func(a, b record.LateMoment) int { return cmp.Compare(a.AtNs, b.AtNs) })
	for _, m := range p.moments {
		p.longest = max(p.longest, m.ForNs)
	}
	r.parts = append(r.parts, p)
}

// Met is the lateness that a flow's round trip can have met.
type Met struct {
	// In all is by how much it can have become longer.
	InAll time.Duration
	// Part came latest of those on its way: At, since the start of the run, For so long
	// within the round trip. Empty if none was late.
	Part    string
	At, For time.Duration
}

// String says who was late, by how much and when; empty if nobody was.
func (m Met) String() string {
	if m.Part == "" {
		return ""
	}
	const exact = 10 * time.Microsecond
	text := fmt.Sprintf("%s came %v late to packets at %.3f s", m.Part, m.For.Round(exact), m.At.Seconds())
	if m.InAll > m.For {
		text += fmt.Sprintf(", all parts together %v", m.InAll.Round(exact))
	}
	return text
}

// span is a piece of time, ns.
type span struct{ from, to int64 }

// Met is what a flow's round trip met, which begins when the flow does, or when its
// client has found its server. One without a round trip met nothing.
func (r *Run) Met(f *record.Flow) Met {
	from := f.StartNs + f.FoundNs
	sent := part{name: "the kernel of " + f.Client, times: 1, moments: []record.LateMoment{{AtNs: from + f.SendNs, ForNs: f.SendNs}}, longest: f.SendNs}
	return r.within(f, span{from, from + f.RTTNs}, func(p *part) bool { return p.times != never }, sent)
}

// Throughout is what a flow met from its start to its end, programs on hosts among it. Of
// that For alone bounds anything: what any one of its packets met at one place.
func (r *Run) Throughout(f *record.Flow) Met {
	return r.within(f, span{f.StartNs, f.EndNs}, func(*part) bool { return true })
}

// within is what a flow met in a piece of its time of parts that count, and of its own.
func (r *Run) within(f *record.Flow, window span, counts func(*part) bool, own ...part) Met {
	if window.to <= window.from {
		return Met{}
	}
	var met Met
	var all []span
	var sum int64
	for _, p := range slices.Concat(r.parts, own) {
		if !counts(&p) || slices.ContainsFunc(p.ends, func(node string) bool { return !r.crosses(f, node) }) {
			continue
		}
		spans := p.within(window)
		all = append(all, spans...)
		for k, s := range spans {
			if k == p.times {
				break
			}
			sum += s.to - s.from
		}
		if len(spans) > 0 && time.Duration(spans[0].to-spans[0].from) > met.For {
			met.Part, met.At, met.For = p.name, time.Duration(spans[0].to), time.Duration(spans[0].to-spans[0].from)
		}
	}
	met.InAll = time.Duration(min(sum, union(all)))
	return met
}

// within are the times at which a part was late within a window, the longest first.
func (p *part) within(w span) []span {
	first, _ := slices.BinarySearchFunc(p.moments, w.from, func(m record.LateMoment, at int64) int { return cmp.Compare(m.AtNs, at) })
	var all []span
	for _, m := range p.moments[first:] {
		if m.AtNs-p.longest >= w.to {
			break
		}
		if s := (span{max(m.AtNs-m.ForNs, w.from), min(m.AtNs, w.to)}); s.to > s.from {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b span) int { return cmp.Compare(b.to-b.from, a.to-a.from) })
	return all
}

// union is how long at least one of them lasted.
func union(all []span) (sum int64) {
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	end := int64(0)
	for _, s := range all {
		if from := max(s.from, end); s.to > from {
			sum, end = sum+s.to-from, s.to
		}
	}
	return sum
}

// crosses reports whether a flow can cross a node: a server of the datacenters that it
// is known to have used, its own ends and what is of their sites; what is inside the
// network or the Internet is everybody's.
func (r *Run) crosses(f *record.Flow, node string) bool {
	n := r.nodes[node]
	switch {
	case n == nil:
		return true
	case n.Kind == "server":
		return f.IngressDC == "" || f.EgressDC == "" || n.Datacenter == f.IngressDC || n.Datacenter == f.EgressDC || node == f.HomeServer || node == f.EgressServer ||
			r.datacenter(f.HomeServer) == n.Datacenter
	case n.Kind == "transit" || n.Kind == "edge":
		return true
	}
	own := func(end string) bool { return node == end || n.Site != "" && n.Site == r.site(end) }
	return own(f.Client) || own(f.Server)
}

func (r *Run) datacenter(node string) string {
	if n := r.nodes[node]; n != nil {
		return n.Datacenter
	}
	return ""
}

func (r *Run) site(node string) string {
	if n := r.nodes[node]; n != nil {
		return n.Site
	}
	return ""
}
