package engine

import (
	"fmt"
	"math/bits"
)

// Fingerprint is a hash over the events of a run.
type Fingerprint uint64

// String is 16 hex digits.
func (f Fingerprint) String() string { return fmt.Sprintf("%016x", uint64(f)) }

// add mixes in an event: when, whose, and what.
func (f *Fingerprint) add(e Event) {
	const m1, m2 = 0x9e3779b185ebca87, 0xc2b2ae3d27d4eb4f // those of XXH64
	h := uint64(*f) ^ uint64(e.At)*m1
	h = bits.RotateLeft64(h, 31) * m2
	h ^= e.order
	h = bits.RotateLeft64(h, 27)*m1 + e.what
	*f = Fingerprint(h ^ h>>29)
}
