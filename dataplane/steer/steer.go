// Package steer says which server is home: by bucket for what comes from an
// on-ramp, by slice for what comes from the Internet (SEMANTICS 5.2).
//
// It decides from tables that are the same on every server; it keeps no state
// of packets. Its law: all servers of a datacenter with the same configuration
// name the same home, one server's leaving moves only its own buckets, and a bucket
// remembers whose it was before.
package steer

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// Buckets is the size of the table; the bucket is the top bits of the flow's
// hash, which the flow table's own index does not use.
const (
	Buckets    = 1 << bucketBits
	bucketBits = 12
)

// Server is one server of the datacenter.
type Server struct {
	ID ident.Server
	// Live servers own buckets now.
	Live bool
	// Was says when it did before: bit 0 until the last change of who does, bit 1
	// until the one before, and so on. Of 0 nothing is asked.
	Was uint64

	score uint64 // of the bucket at hand
}

// Table maps buckets to servers. It is immutable.
type Table struct {
	first, second [Buckets]ident.Server
}

// New builds the bucket table of a datacenter by rendezvous hashing: each
// bucket belongs to the server with the highest hash of both, among those that have
// not their part of all buckets yet; while that takes no part, to the highest of
// those that do. Its second hop is whose it was before it was last reassigned,
// however often others were since (SEMANTICS 5.3).
//
// Without such parts, which servers have that take no part too, the busiest of 31
// servers would have a sixth more than the mean, and its slice be full at four fifths
// of the load that one of equal servers is full at.
func New(seed uint64, servers []Server) *Table {
	servers = slices.Clone(servers)
	slices.SortFunc(servers, func(a, b Server) int { return cmp.Compare(a.ID, b.ID) })
	changes := 0
	for _, s := range servers {
		changes = max(changes, bits.Len64(s.Was))
	}
	t := new(Table)
	left := parts(len(servers))
	for b := range t.first {
		deal(seed, b, servers, left)
		for ago := changes; ago > 0; ago-- {
			t.assign(b, servers, func(s *Server) bool { return s.Was>>(ago-1)&1 != 0 })
		}
		if !t.assign(b, servers, func(s *Server) bool { return s.Live }) {
			t.first[b], t.second[b] = 0, 0
		}
	}
	return t
}

// parts are how many buckets each of n servers has: as near to equal as can be.
func parts(n int) []int {
	left := make([]int, n)
	for i := range left {
		left[i] = Buckets / n
		if i < Buckets%n {
			left[i]++
		}
	}
	return left
}

// deal scores the servers for a bucket; the one whose part it is, of what is left of
// parts, before all others.
func deal(seed uint64, bucket int, servers []Server, left []int) {
	own := -1
	for i := range servers {
		s := &servers[i]
		s.score = flow.Combine(seed, uint64(bucket), uint64(s.ID))
		if left[i] > 0 && (own < 0 || s.score > servers[own].score) {
			own = i
		}
	}
	if own >= 0 {
		left[own]--
		servers[own].score = math.MaxUint64
	}
}

// Division is whose each bucket of a datacenter is while all of its servers take part.
type Division [Buckets]ident.Server

// Divide is the division of a datacenter with these servers, in id order.
func Divide(seed uint64, ids []ident.Server) *Division {
	servers := make([]Server, len(ids))
	for i, id := range ids {
		servers[i].ID = id
	}
	d, left := new(Division), parts(len(ids))
	for b := range d {
		deal(seed, b, servers, left)
		for i := range servers {
			if servers[i].score == math.MaxUint64 {
				d[b] = servers[i].ID
			}
		}
	}
	return d
}

// assign gives a bucket to the best of those that may own it, and notes whose it
// was; false if there is none.
func (t *Table) assign(b int, servers []Server, may func(*Server) bool) bool {
	var best *Server
	for i := range servers {
		if s := &servers[i]; may(s) && (best == nil || s.score > best.score) {
			best = s
		}
	}
	if best != nil && best.ID != t.first[b] {
		t.first[b], t.second[b] = best.ID, t.first[b]
	}
	return best != nil
}

// Owner is the home, among the live servers of the datacenter, of what has this
// hash: what that datacenter's own table says.
func (d *Division) Owner(seed, hash uint64, live []ident.Server) (home ident.Server) {
	bucket := hash >> (64 - bucketBits)
	if own := d[bucket]; slices.Contains(live, own) {
		return own
	}
	var best uint64
	for _, s := range live {
		score := flow.Combine(seed, bucket, uint64(s))
		if home == 0 || score > best || score == best && s < home {
			home, best = s, score
		}
	}
	return home
}

// Home is the home of the forward key with this hash; 0 if no server is live.
func (t *Table) Home(hash uint64) ident.Server { return t.first[hash>>(64-bucketBits)] }

// SecondHop is the previous home of the forward key with this hash; 0 if it did
// not move.
func (t *Table) SecondHop(hash uint64) ident.Server { return t.second[hash>>(64-bucketBits)] }

// MaxHops is how often a packet may be handed over (SEMANTICS 5.2).
const MaxHops = 3

// Context is what a hand-over says about its packet. It travels in the GRE key:
//
//	 31    27  26  25 24 23                                   0
//	+--------+---+-----+---------------------------------------+
//	|    0   | S | hop |                on-ramp                |
//	+--------+---+-----+---------------------------------------+
type Context struct {
	// OnRamp is where the packet came in; 0 is the Internet.
	OnRamp ident.OnRamp
	// Hops counts hand-overs, this one included.
	Hops uint8
	// SecondHop: the receiver keeps the packet, although the bucket is another's:
	// it is the bucket's previous home, or has the flow because its home had no
	// port for it.
	SecondHop bool
}

const (
	hopShift   = 24
	hopMask    = MaxHops
	secondMark = 1 << 26
	unusedBits = ^uint32(1<<27 - 1)
)

// Key is the GRE key of the context.
func (c Context) Key() uint32 {
	key := uint32(c.OnRamp&ident.MaxOnRamp) | uint32(c.Hops&hopMask)<<hopShift
	if c.SecondHop {
		key |= secondMark
	}
	return key
}

// ParseContext reads a GRE key; ok is false for a key that Key never makes.
func ParseContext(key uint32) (c Context, ok bool) {
	c = Context{
		OnRamp:    ident.OnRamp(key) & ident.MaxOnRamp,
		Hops:      uint8(key>>hopShift) & hopMask,
		SecondHop: key&secondMark != 0,
	}
	return c, key&unusedBits == 0 && c.Hops > 0
}
