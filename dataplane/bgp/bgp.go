// Package bgp is one router's decisions between autonomous systems: which path to
// a prefix is best, and whom to tell of it. It is a path-vector: updates go in,
// updates and changed prefixes come out.
//
// It is not a BGP speaker: no session, message format or timer is here. Whoever
// drives it carries updates and says which neighbours are up, in virtual time or,
// to learn what real speakers must agree on, at once (Network).
//
// Its law: what is best depends on the paths that a router has and not on the
// order in which they came, and under the export rules of Gao and Rexford every
// order of updates ends in the same best paths.
package bgp

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/route"
)

// Relation is what a neighbour is to a router's AS.
type Relation string

const (
	Customer Relation = "customer" // it pays us
	Peer     Relation = "peer"     // nobody pays
	Provider Relation = "provider" // we pay it
)

// Reverse is what the neighbour calls us.
func (r Relation) Reverse() Relation {
	switch r {
	case Customer:
		return Provider
	case Provider:
		return Customer
	}
	return r
}

// Preference is the LOCAL_PREF (RFC 4271 section 5.1.5) that a path gets from the
// relation to who told it: what earns money goes before what is free, and that
// before what costs. A path that is marked for shutdown comes after all others
// (RFC 8326), and still says by its preference what relation it is of: exports
// depend on that, and real speakers see it nowhere else.
func (r Relation) Preference(shutdown bool) uint32 {
	var p uint32
	switch r {
	case Customer:
		p = 3
	case Peer:
		p = 2
	case Provider:
		p = 1
	}
	if shutdown {
		return p
	}
	return 100 * p
}

// Exports says whether a path that was learned from one neighbour is told to
// another: to customers all, to others only what customers told (Gao and
// Rexford, 2001). Paths of one's own are told to everybody.
func Exports(from, to Relation) bool { return from == Customer || to == Customer }

// Well-known communities that routers act on.
const (
	NoExport         route.Community = 0xffffff01 // not beyond who it is told to (RFC 1997)
	NoAdvertise      route.Community = 0xffffff02 // to nobody at all (RFC 1997)
	GracefulShutdown route.Community = 0xffff0000 // going away: better any other path (RFC 8326)
)

// Path is a way to a prefix as a neighbour tells it.
type Path struct {
	// AS are those on the way, the neighbour's first, the origin's last.
	AS          []uint32
	Communities []route.Community
}

func (p *Path) equal(o *Path) bool {
	if p == nil || o == nil {
		return p == o
	}
	return slices.Equal(p.AS, o.AS) && slices.Equal(p.Communities, o.Communities)
}

// Neighbor is the other end of a session.
type Neighbor struct {
	ASN uint32 `json:"asn"`
	// ID is its router id (RFC 4271 section 4.2).
	ID       netip.Addr `json:"id"`
	Relation Relation   `json:"relation"`
	// Cost of getting there, in µs of one-way delay: what a network sets as
	// MULTI_EXIT_DISC on the way in to leave by its nearest exit.
	Cost uint32 `json:"cost"`
}

// Origin is a prefix that a router announces of its own. Several of one prefix
// are for different neighbours; the first that includes one is for it.
type Origin struct {
	Prefix netip.Prefix `json:"prefix"`
	// To are the neighbours that are told; nil means all.
	To []int `json:"to,omitempty"`
	// Prepend is how often the own AS is there more than once.
	Prepend     int               `json:"prepend,omitempty"`
	Communities []route.Community `json:"communities,omitempty"`
}

// Tells says whether the origin is for a neighbour.
func (o *Origin) Tells(n int) bool { return o.To == nil || slices.Contains(o.To, n) }

// Update is a neighbour's word about a prefix: a path that replaces what it said
// before, or nil, which takes that back.
type Update struct {
	Prefix netip.Prefix
	Path   *Path
}

// Message is an update for a neighbour.
type Message struct {
	To int
	Update
}

// Out collects what follows from an input.
type Out struct {
	Messages []Message
	// Changed are the prefixes whose best path is another now.
	Changed []netip.Prefix
}

// Router is one AS's router, or one of several that speak for it.
type Router struct {
	asn       uint32
	neighbors []neighbor
	ribs      map[netip.Prefix]*rib
	order     []netip.Prefix // of ribs, so that nothing depends on a map's order
}

type neighbor struct {
	Neighbor
	up bool
}

// rib is what a router knows of a prefix.
type rib struct {
	own  []Origin
	in   []*Path // by neighbour
	out  []*Path // what each was told
	best int
}

// Where a best path comes from, besides the number of a neighbour.
const (
	None = -1 // there is none
	Own  = -2 // the router's own origin
)

// NewRouter returns a router all of whose sessions are down.
func NewRouter(asn uint32, neighbors []Neighbor) *Router {
	r := &Router{asn: asn, ribs: map[netip.Prefix]*rib{}}
	for _, n := range neighbors {
		r.neighbors = append(r.neighbors, neighbor{Neighbor: n})
	}
	return r
}

// Prefixes are those that the router has heard of, in the order of that.
func (r *Router) Prefixes() []netip.Prefix { return r.order }

// Best is the neighbour that the best path to a prefix comes from, or None or Own.
func (r *Router) Best(p netip.Prefix) int {
	if b := r.ribs[p]; b != nil {
		return b.best
	}
	return None
}

// Path is the best path to a prefix as its neighbour told it; nil if there is
// none or it is the router's own.
func (r *Router) Path(p netip.Prefix) *Path {
	if b := r.ribs[p]; b != nil && b.best >= 0 {
		return b.in[b.best]
	}
	return nil
}

func (r *Router) rib(p netip.Prefix) *rib {
	b := r.ribs[p]
	if b == nil {
		b = &rib{in: make([]*Path, len(r.neighbors)), out: make([]*Path, len(r.neighbors)), best: None}
		r.ribs[p] = b
		r.order = append(r.order, p)
	}
	return b
}

// Announce makes these the router's own origins of a prefix; none withdraws it.
func (r *Router) Announce(p netip.Prefix, own []Origin, out *Out) {
	r.rib(p).own = own
	r.decide(p, out)
}

// Up begins a session: the neighbour is told everything.
func (r *Router) Up(n int, out *Out) {
	if r.neighbors[n].up {
		return
	}
	r.neighbors[n].up = true
	for _, p := range r.order {
		r.tell(p, r.ribs[p], n, out)
	}
}

// Down ends a session: all that the neighbour said is void.
func (r *Router) Down(n int, out *Out) {
	r.neighbors[n].up = false
	for _, p := range r.order {
		b := r.ribs[p]
		b.out[n] = nil
		if b.in[n] != nil {
			b.in[n] = nil
			r.decide(p, out)
		}
	}
}

// Receive takes an update of a neighbour. One whose session is down says
// nothing. A path with the own AS in it is a loop, as good as none (RFC 4271
// section 9.1.2).
func (r *Router) Receive(n int, u Update, out *Out) {
	if !r.neighbors[n].up {
		return
	}
	if u.Path != nil && slices.Contains(u.Path.AS, r.asn) {
		u.Path = nil
	}
	b := r.rib(u.Prefix)
	if b.in[n].equal(u.Path) {
		return
	}
	b.in[n] = u.Path
	r.decide(u.Prefix, out)
}

// decide chooses the best path anew, and tells who has to know.
func (r *Router) decide(p netip.Prefix, out *Out) {
	b := r.ribs[p]
	best := r.choose(b)
	if best != b.best {
		b.best = best
		out.Changed = append(out.Changed, p)
	}
	for n := range r.neighbors {
		r.tell(p, b, n, out)
	}
}

func (r *Router) choose(b *rib) int {
	if len(b.own) > 0 {
		return Own
	}
	best := None
	for n, p := range b.in {
		if p != nil && (best == None || r.compare(b, n, best) < 0) {
			best = n
		}
	}
	return best
}

// compare orders the paths of two neighbours (RFC 4271 section 9.1.2.2): the
// higher preference, the shorter path, the nearer neighbour, the lower router id.
func (r *Router) compare(b *rib, x, y int) int {
	nx, ny := &r.neighbors[x], &r.neighbors[y]
	return cmp.Or(
		-cmp.Compare(r.preference(b, x), r.preference(b, y)),
		cmp.Compare(len(b.in[x].AS), len(b.in[y].AS)),
		cmp.Compare(nx.Cost, ny.Cost),
		nx.ID.Compare(ny.ID),
	)
}

func (r *Router) preference(b *rib, n int) uint32 {
	return r.neighbors[n].Relation.Preference(slices.Contains(b.in[n].Communities, GracefulShutdown))
}

// tell sends a neighbour what it should know, if that is not what it was told.
func (r *Router) tell(p netip.Prefix, b *rib, n int, out *Out) {
	if !r.neighbors[n].up {
		return
	}
	path := r.export(b, n)
	if path.equal(b.out[n]) {
		return
	}
	b.out[n] = path
	out.Messages = append(out.Messages, Message{n, Update{p, path}})
}

// export is the best path as a neighbour may know it; nil if it may not.
func (r *Router) export(b *rib, n int) *Path {
	switch {
	case b.best == None || b.best == n:
		return nil
	case b.best == Own:
		i := slices.IndexFunc(b.own, func(o Origin) bool { return o.Tells(n) })
		if i < 0 {
			return nil
		}
		o := &b.own[i]
		return &Path{AS: slices.Repeat([]uint32{r.asn}, 1+o.Prepend), Communities: o.Communities}
	}
	in := b.in[b.best]
	if !Exports(r.neighbors[b.best].Relation, r.neighbors[n].Relation) ||
		slices.Contains(in.Communities, NoExport) || slices.Contains(in.Communities, NoAdvertise) {
		return nil
	}
	return &Path{AS: append([]uint32{r.asn}, in.AS...), Communities: in.Communities}
}
