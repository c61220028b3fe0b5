package egress

import (
	"cmp"
	"net/netip"
	"slices"
)

// Ledger is the ports of an Allocator toward one remote end, counted and not
// numbered: a flow gets the same address, and is refused when the Allocator would
// refuse it, because which port of a slice it has says nothing to the others. It
// is for what asks how full ports are, millions of times.
type Ledger struct {
	a     *Allocator
	parts []part
	taken []int32
	size  int32
}

// NewLedger has all ports toward a remote end free. Slices have size ports, for
// asking what other sizes would do; 0 means SliceSize.
func (a *Allocator) NewLedger(remote netip.Addr, from From, size int) *Ledger {
	parts := a.pools[pool{from, remote.Is6()}]
	return &Ledger{a, parts, make([]int32, len(parts)), int32(cmp.Or(size, SliceSize))}
}

// Take takes a port as Allocate does, and says of which of the Ledger's slices. The
// flow is known by the hash of its forward key under the Allocator's seed.
func (l *Ledger) Take(flow uint64, reach Reach) (slice int, ok bool) {
	if len(l.parts) == 0 {
		return 0, false
	}
	start := first(l.a.spread(flow), l.parts)
	for i := range l.parts {
		k := start + i
		if k >= len(l.parts) {
			k -= len(l.parts)
		}
		if l.taken[k] < l.size && reach.holds(l.parts[k], l.parts[start]) {
			l.taken[k]++
			return k, true
		}
	}
	return 0, false
}

// Free gives a port of a slice back.
func (l *Ledger) Free(slice int) { l.taken[slice]-- }

// Clone is the same ledger, which goes on by itself.
func (l *Ledger) Clone() *Ledger {
	c := *l
	c.taken = slices.Clone(l.taken)
	return &c
}

// Taken is how many ports of a slice are.
func (l *Ledger) Taken(slice int) int { return int(l.taken[slice]) }

// Slices are how many there are.
func (l *Ledger) Slices() int { return len(l.parts) }

// Addr is whose slice it is.
func (l *Ledger) Addr(slice int) netip.Addr { return l.parts[slice].addr }
