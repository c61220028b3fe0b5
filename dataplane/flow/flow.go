package flow

import (
	"iter"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Index names a flow in its table while it is there.
type Index uint32

// Flow is one flow, two cache lines. Fields are read by the hub and written
// through the table's methods where they move timers or keys.
type Flow struct {
	// Key is the forward key.
	Key Key
	// egress is the address the outside sees, 16-byte form.
	egress [16]byte
	// Deadline is when the flow ends unless something touches it.
	Deadline vt.Instant
	// Start is when the session started.
	Start vt.Instant
	// Sent and Received are payload bytes delivered: client to origin, origin
	// to client.
	Sent, Received uint64
	// client and origin follow the sequence numbers of what each end sends.
	client, origin stream
	// OnRamp is where the session arrived, Return where ARR sends replies; 0
	// when routes decide.
	OnRamp, Return ident.OnRamp
	// Ordinal numbers the sessions of this table, from 1.
	Ordinal    uint32
	egressPort uint16
	state      State
	flags      flags
}

// Egress is the address and port the outside sees; for ICMP echo the id.
func (f *Flow) Egress() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(f.egress).Unmap(), f.egressPort)
}

// reverse is the flow's reverse key.
func (f *Flow) reverse() Key { return f.Key.Answer(f.Egress()) }

// Flows live in chunks that never move, so that a pointer stays good while the
// table grows.
const (
	chunkBits = 10
	chunkSize = 1 << chunkBits
)

type chunk [chunkSize]Flow

// Table holds the flows of one server. Use New. It is not safe for concurrent
// use.
type Table struct {
	seed     uint64
	bound    int
	used     int
	sessions uint32
	chunks   []*chunk
	// free lists the indices of removed flows, last out first.
	free     []Index
	next     Index // the first index never used
	forward  index
	backward index
	wheel    wheel
	timeouts Timeouts
}

// New returns an empty table for at most bound flows.
func New(seed uint64, bound int, timeouts Timeouts) *Table {
	t := &Table{seed: seed, bound: bound, timeouts: timeouts}
	t.wheel.init()
	return t
}

// Configure changes bound and timeouts. Flows beyond a lower bound stay; new
// timeouts apply from a flow's next packet.
func (t *Table) Configure(bound int, timeouts Timeouts) { t.bound, t.timeouts = bound, timeouts }

// Len is how many flows the table holds, those that only hold their port
// included.
func (t *Table) Len() int { return t.used }

// Full reports whether the table is at its bound.
func (t *Table) Full() bool { return t.used >= t.bound }

// At returns the flow at i, which must be in the table.
func (t *Table) At(i Index) *Flow { return &t.chunks[i>>chunkBits][i&(chunkSize-1)] }

// Forward finds a flow by its forward key and the key's Hash; nil if there is
// none.
func (t *Table) Forward(k *Key, hash uint64) (Index, *Flow) {
	x := &t.forward
	if len(x.slots) == 0 {
		return 0, nil
	}
	for i := uint32(hash) & x.mask(); x.slots[i].ref != 0; i = (i + 1) & x.mask() {
		if x.slots[i].tag == uint32(hash) {
			at := Index(x.slots[i].ref - 1)
			if f := t.At(at); f.Key == *k {
				return at, f
			}
		}
	}
	return 0, nil
}

// Reverse finds a flow by its reverse key and the key's Hash; nil if there is
// none.
func (t *Table) Reverse(k *Key, hash uint64) (Index, *Flow) {
	x := &t.backward
	if len(x.slots) == 0 {
		return 0, nil
	}
	for i := uint32(hash) & x.mask(); x.slots[i].ref != 0; i = (i + 1) & x.mask() {
		if x.slots[i].tag == uint32(hash) {
			at := Index(x.slots[i].ref - 1)
			f := t.At(at)
			if f.egressPort == k.SrcPort && f.Key.DstPort == k.DstPort && f.Key.Proto == k.Proto &&
				f.egress == k.Src && f.Key.Dst == k.Dst && (k.Tenant == 0 || k.Tenant == f.Key.Tenant) {
				return at, f
			}
		}
	}
	return 0, nil
}

// Warm and WarmFlow read what a look-up of hash will read and return something
// that depends on it, so that the memory of a batch is fetched for all of its
// packets at once: first Warm for each, the slots, and then WarmFlow, the flows.
func (t *Table) Warm(side Side, hash uint64) uint8 {
	x := t.side(side)
	if len(x.slots) == 0 {
		return 0
	}
	return uint8(x.slots[uint32(hash)&x.mask()].ref)
}

// WarmFlow reads both cache lines of the flow. It looks for the tag from the
// hash's place on, as the look-up does: with a table half full, a third of all
// flows stand further on.
func (t *Table) WarmFlow(side Side, hash uint64) uint8 {
	x := t.side(side)
	if len(x.slots) == 0 {
		return 0
	}
	for i := uint32(hash) & x.mask(); x.slots[i].ref != 0; i = (i + 1) & x.mask() {
		if x.slots[i].tag == uint32(hash) {
			f := t.At(Index(x.slots[i].ref - 1))
			return f.Key.Proto + uint8(f.state)
		}
	}
	return 0
}

func (t *Table) side(s Side) *index {
	if s == Reverse {
		return &t.backward
	}
	return &t.forward
}

// Taken reports whether a flow holds this reverse key.
func (t *Table) Taken(k *Key) bool {
	_, f := t.Reverse(k, Hash(t.seed, k))
	return f != nil
}

// Insert adds a flow that starts now. It returns nil at the bound, and for a
// key that is there already, forward or reverse: two live flows never share one.
func (t *Table) Insert(now vt.Instant, key Key, egress netip.AddrPort) (Index, *Flow) {
	forward := Hash(t.seed, &key)
	if _, f := t.Forward(&key, forward); f != nil || t.Full() {
		return 0, nil
	}
	reverse := key.Answer(egress)
	backward := Hash(t.seed, &reverse)
	if _, f := t.Reverse(&reverse, backward); f != nil {
		return 0, nil
	}
	i := t.slot()
	f := t.At(i)
	*f = Flow{Key: key, egress: egress.Addr().As16(), egressPort: egress.Port()}
	t.used++
	t.forward.insert(forward, uint32(i)+1)
	t.backward.insert(backward, uint32(i)+1)
	t.begin(now, f)
	t.wheel.arm(i, f.Deadline)
	return i, f
}

// slot finds a place for a flow.
func (t *Table) slot() Index {
	if n := len(t.free); n > 0 {
		i := t.free[n-1]
		t.free = t.free[:n-1]
		return i
	}
	if int(t.next)>>chunkBits == len(t.chunks) {
		t.chunks = append(t.chunks, new(chunk))
		t.wheel.grow(len(t.chunks) * chunkSize)
	}
	t.next++
	return t.next - 1
}

// begin starts a session on f.
func (t *Table) begin(now vt.Instant, f *Flow) {
	t.sessions++
	*f = Flow{Key: f.Key, egress: f.egress, egressPort: f.egressPort, Start: now, Ordinal: t.sessions, state: initial(&f.Key)}
	f.Deadline = now.Add(t.timeouts[f.state])
}

// Reopen starts a new session on a flow whose last one is over, keeping its
// egress address and port (SEMANTICS 1.9).
func (t *Table) Reopen(now vt.Instant, i Index) *Flow {
	f := t.At(i)
	t.begin(now, f)
	t.wheel.arm(i, f.Deadline)
	return f
}

// Remove forgets the flow at i.
func (t *Table) Remove(i Index) {
	f := t.At(i)
	reverse := f.reverse()
	t.forward.remove(Hash(t.seed, &f.Key), uint32(i)+1)
	t.backward.remove(Hash(t.seed, &reverse), uint32(i)+1)
	t.wheel.disarm(i)
	*f = Flow{}
	t.used--
	t.free = append(t.free, i)
}

// Expire advances the timers to now and calls end for every flow whose
// deadline has passed; end must Remove the flow or move its deadline.
func (t *Table) Expire(now vt.Instant, end func(Index, *Flow)) {
	t.wheel.advance(now, func(i Index) {
		f := t.At(i)
		if f.Deadline > now { // touched since it was armed: the lazy re-arm
			t.wheel.arm(i, f.Deadline)
			return
		}
		end(i, f)
	})
}

// Rearm sets the timer of the flow at i by its deadline, after one that was moved
// while Expire asked about it.
func (t *Table) Rearm(i Index) { t.wheel.arm(i, t.At(i).Deadline) }

// NextWake is when Expire has something to look at; vt.Never if nothing is
// armed. It may be early, never late by more than a tick of the wheel.
func (t *Table) NextWake() vt.Instant { return t.wheel.next() }

// All yields the flows in the order of their places.
func (t *Table) All() iter.Seq2[Index, *Flow] {
	return func(yield func(Index, *Flow) bool) {
		for i := range t.next {
			if f := t.At(i); f.state != Free && !yield(i, f) {
				return
			}
		}
	}
}
