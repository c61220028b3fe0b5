package asgraph

import (
	"cmp"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/engine"
)

// Timing is how fast BGP speaks.
type Timing struct {
	// MRAI is the least time between two announcements to one neighbour (RFC 4271
	// 9.2.1.1), which each session shortens by up to a quarter, by chance. It does
	// not hold withdrawals up.
	MRAI time.Duration
	// A message takes between Least and Most to be there and digested; which, is
	// drawn for each session. Zero both means 5 and 95 ms.
	Least, Most time.Duration
	// Seed of these draws.
	Seed uint64
}

// session is one direction of a link, as its owner sees the neighbour.
type session struct {
	to    Node
	back  int32 // the other direction
	class Class // of the routes that the neighbour tells
	armed bool  // the timer will look again
	heard int32 // what the neighbour told last: a path, or none
	sent  int32 // what it was told last
	delay time.Duration
	mrai  time.Duration
	ready vt.Instant // when it may be told a path again
}

// step is a path of ASes, nearest first, that shares its rest with others.
type step struct {
	as     Node
	rest   int32 // none at the end
	length uint8
	entry  uint16
}

const none int32 = -1

// choice is a node's route.
type choice struct {
	by    int32 // the session that told it; direct if an announcement did, none
	path  int32 // as it tells others: itself first
	heard int32 // the path as it was told
	class Class
}

const direct int32 = -2

// Churn is what a change has cost an AS since the last Reset.
type Churn struct {
	// Changes of its route, and the instant of the last.
	Changes int
	Last    vt.Instant
	// Lost is how long it had no route, although it had had one or got one.
	Lost time.Duration
}

// Dynamics is one prefix over a Graph as it spreads in time: every AS tells its
// neighbours by messages, and what it knew may be out of date. It comes to rest in
// the state that Routes finds. Use NewDynamics.
type Dynamics struct {
	g        *Graph
	prefer   Preference
	all      []Announcement
	made     []bool
	engine   *engine.Engine
	off      []int32
	sessions []session
	chosen   []choice
	paths    []step
	enter    map[Node][]uint16 // announcements to a node, the best first
	churn    []Churn
	gone     []vt.Instant // since when a node has no route
	messages uint64
}

// The kinds of events.
const (
	told  engine.Kind = iota // a session's owner its neighbour: a path and 1, or 0 for a withdrawal
	ready                    // a session may announce again
	turn                     // an announcement is made, or withdrawn: 0
)

// NewDynamics returns a graph on which none of the announcements is made yet.
func NewDynamics(g *Graph, all []Announcement, p Preference, t Timing) (*Dynamics, error) {
	if err := check(g, all); err != nil {
		return nil, err
	}
	n := g.Len()
	d := &Dynamics{
		g: g, prefer: p, all: all, made: make([]bool, len(all)), engine: engine.New(engine.Options{}),
		chosen: make([]choice, n), churn: make([]Churn, n), gone: make([]vt.Instant, n), enter: map[Node][]uint16{},
	}
	for v := range d.chosen {
		d.chosen[v] = choice{by: none, path: none, heard: none}
		d.gone[v] = vt.Never
	}
	for i, a := range all {
		d.enter[a.To] = append(d.enter[a.To], uint16(i))
	}
	for _, list := range d.enter {
		slices.SortStableFunc(list, func(i, k uint16) int {
			return cmp.Or(cmp.Compare(all[k].Class, all[i].Class), cmp.Compare(all[i].Length, all[k].Length))
		})
	}
	d.connect(t)
	return d, nil
}

// connect makes the sessions.
func (d *Dynamics) connect(t Timing) {
	if t.Least == 0 && t.Most == 0 {
		t.Least, t.Most = 5*time.Millisecond, 95*time.Millisecond
	}
	g, n := d.g, d.g.Len()
	d.off = make([]int32, n+1)
	for v := range Node(n) {
		d.off[v+1] = d.off[v] + int32(len(g.Customers(v))+len(g.Peers(v))+len(g.Providers(v)))
	}
	d.sessions = make([]session, 0, d.off[n])
	for v := range Node(n) {
		for _, of := range []struct {
			list  []Node
			class Class
		}{{g.Customers(v), FromCustomer}, {g.Peers(v), FromPeer}, {g.Providers(v), FromProvider}} {
			for _, w := range of.list {
				delay, mrai := t.draw(g.asn[v], g.asn[w])
				d.sessions = append(d.sessions, session{to: w, class: of.class, heard: none, sent: none, delay: delay, mrai: mrai})
			}
		}
	}
	d.pair()
}

// draw is the delay of messages from one AS to another, and how long it waits
// between two announcements.
func (t Timing) draw(from, to ASN) (delay, mrai time.Duration) {
	x := Preference(t.Seed^0x74696d65).rank(from, to) >> 32
	delay = t.Least + time.Duration(x&0xffff)*(t.Most-t.Least)/0xffff
	return delay, t.MRAI - t.MRAI/4*time.Duration(x>>16)/0xffff
}

// pair finds each session's other direction. Lists are in order of number, so that
// nodes that are visited in that order are met in the lists in that order too.
func (d *Dynamics) pair() {
	g, n := d.g, d.g.Len()
	order := make([]Node, n)
	// Where in a node's sessions the next customer, peer and provider stands.
	next := make([][3]int32, n)
	for v := range Node(n) {
		order[v] = v
		c, p := int32(len(g.Customers(v))), int32(len(g.Peers(v)))
		next[v] = [3]int32{d.off[v], d.off[v] + c, d.off[v] + c + p}
	}
	slices.SortFunc(order, func(v, w Node) int { return cmp.Compare(g.asn[v], g.asn[w]) })
	for _, v := range order {
		for e := d.off[v]; e < d.off[v+1]; e++ {
			s := &d.sessions[e]
			// What v is to the neighbour: its customer where that is v's provider.
			kind := s.class - FromProvider
			s.back = next[s.to][kind]
			next[s.to][kind]++
		}
	}
}
