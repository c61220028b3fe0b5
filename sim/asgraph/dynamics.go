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

// session is one direction of a link, as its owner tells the neighbour. What the
// neighbour has told is in inbound: who listens looks at all of that, and at
// little of this.
type session struct {
	ready vt.Instant // when the neighbour may be told a path again
	to    Node
	back  int32  // the other direction
	sent  int32  // what the neighbour was told last: a path, or none
	pace  uint32 // drawn: how long a message takes, and what is off the MRAI
	armed bool   // the timer will look again
}

// inbound is what a session's neighbour has told last.
type inbound struct {
	path   int32 // or none
	length uint8 // of the path
}

// message is what is under way to an AS.
type message struct {
	session int32 // the receiver's
	path    int32 // or none: a withdrawal; of an unused message the next one + 1
}

// step is a path of ASes, nearest first, that shares its rest with others.
type step struct {
	// some has the bit of each AS on the path, so that an AS whose bit is missing
	// is not on it.
	some   uint64
	as     Node
	rest   int32 // none at the end
	length uint8
	entry  uint16
}

// bit is an AS's in step.some.
func (v Node) bit() uint64 { return 1 << (uint32(v) * 0x9e3779b1 >> 26) }

const (
	none   int32 = -1
	direct int32 = -2
)

// speaker is an AS: its route, what became of it since the last Reset, and where its
// sessions are. It fills a line of the processor's cache: whoever hears something reads
// it all.
type speaker struct {
	by    int32 // the session that told the route; direct if an announcement did, none
	path  int32 // as it tells others: itself first
	heard int32 // the path as it was told
	class Class
	// enters: there are announcements to it.
	enters bool
	// Its sessions begin with those with customers; those with peers and providers
	// follow, up to end.
	customers, peers, providers, end int32
	gone                             vt.Instant // since when it has no route
	lost                             time.Duration
	last                             vt.Instant
	changes                          int32
}

// classOf is of the routes that a session's neighbour tells.
func (s *speaker) classOf(id int32) Class {
	switch {
	case id < s.peers:
		return FromCustomer
	case id < s.providers:
		return FromPeer
	}
	return FromProvider
}

// classEnd is where the sessions of a session's class end.
func (s *speaker) classEnd(id int32) int32 {
	switch {
	case id < s.peers:
		return s.peers
	case id < s.providers:
		return s.providers
	}
	return s.end
}

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
	timing   Timing
	engine   *engine.Engine
	speakers []speaker
	sessions []session
	inbound  []inbound // by session
	paths    []step
	flight   []message
	spare    int32             // first unused message of flight + 1; 0 is none
	enter    map[Node][]uint16 // announcements to a node, the best first
	messages uint64
}

// The kinds of events.
const (
	told  engine.Kind = iota // an AS, by a message
	ready                    // an AS may announce again over a session
	turn                     // an announcement is made, or withdrawn: 0
)

// NewDynamics returns a graph on which none of the announcements is made yet.
func NewDynamics(g *Graph, all []Announcement, p Preference, t Timing) (*Dynamics, error) {
	if err := check(g, all); err != nil {
		return nil, err
	}
	d := &Dynamics{
		g: g, prefer: p, all: all, made: make([]bool, len(all)), timing: t, engine: engine.New(engine.Options{}),
		speakers: make([]speaker, g.Len()), enter: map[Node][]uint16{},
		paths: make([]step, 0, 4*g.Len()), // grown, it would be copied while ASes speak
	}
	if t.Least == 0 && t.Most == 0 {
		d.timing.Least, d.timing.Most = 5*time.Millisecond, 95*time.Millisecond
	}
	d.connect()
	for i, a := range all {
		d.speakers[a.To].enters = true
		d.enter[a.To] = append(d.enter[a.To], uint16(i))
	}
	for _, list := range d.enter {
		slices.SortStableFunc(list, func(i, k uint16) int {
			return cmp.Or(cmp.Compare(all[k].Class, all[i].Class), cmp.Compare(all[i].Length, all[k].Length))
		})
	}
	return d, nil
}

// connect makes the sessions.
func (d *Dynamics) connect() {
	g := d.g
	all := len(g.customers.to) + len(g.peers.to) + len(g.providers.to)
	d.sessions, d.inbound = make([]session, 0, all), make([]inbound, all)
	for i := range d.inbound {
		d.inbound[i].path = none
	}
	for v := range d.speakers {
		s := &d.speakers[v]
		*s = speaker{by: none, path: none, heard: none, gone: vt.Never}
		for _, of := range []struct {
			list []Node
			from *int32
		}{{g.Customers(Node(v)), &s.customers}, {g.Peers(Node(v)), &s.peers}, {g.Providers(Node(v)), &s.providers}} {
			*of.from = int32(len(d.sessions))
			for _, w := range of.list {
				pace := uint32(Preference(d.timing.Seed^0x74696d65).rank(g.asn[v], g.asn[w]) >> 32)
				d.sessions = append(d.sessions, session{to: w, sent: none, pace: pace})
			}
		}
		s.end = int32(len(d.sessions))
	}
	d.pair()
}

// delay is how long a session's messages take.
func (t *Timing) delay(s *session) time.Duration {
	return max(t.Least+time.Duration(s.pace&0xffff)*(t.Most-t.Least)/0xffff, time.Nanosecond)
}

// pause is how long a session waits between two announcements.
func (t *Timing) pause(s *session) time.Duration {
	return t.MRAI - t.MRAI/4*time.Duration(s.pace>>16)/0xffff
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
		s := &d.speakers[v]
		next[v] = [3]int32{s.customers, s.peers, s.providers}
	}
	slices.SortFunc(order, func(v, w Node) int { return cmp.Compare(g.asn[v], g.asn[w]) })
	for _, v := range order {
		from := &d.speakers[v]
		for id := from.customers; id < from.end; id++ {
			s := &d.sessions[id]
			// What v is to the neighbour: its customer where that is v's provider.
			kind := from.classOf(id) - FromProvider
			s.back = next[s.to][kind]
			next[s.to][kind]++
		}
	}
}
