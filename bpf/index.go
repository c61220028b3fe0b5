package bpf

import (
	"math/bits"
	"sync/atomic"
)

// index is the programs' map hashed, as memory: flows in returns by the hash
// of their forward key. An entry holds the low half of the hash below and the
// place, plus one, above. One goroutine writes.
type index []uint64

const (
	indexProbes = 8         // INDEX_PROBES in C
	slotGone    = 1<<32 - 1 // SLOT_GONE
)

// indexSize is how many entries so many flows need: with half of them free, few
// flows find no place in their reach.
func indexSize(flows int) uint32 { return 1 << bits.Len32(uint32(2*max(flows, 1)-1)) }

func (x index) at(hash uint64, probe int) *uint64 {
	return &x[(hash+uint64(probe))&uint64(len(x)-1)]
}

func entry(hash uint64, slot uint32) uint64 { return hash&(1<<32-1) | uint64(slot+1)<<32 }

// insert lets slot be found by hash; false if there is no room in its reach.
func (x index) insert(hash uint64, slot uint32) bool {
	for i := range indexProbes {
		if e := x.at(hash, i); *e == 0 || *e>>32 == slotGone {
			atomic.StoreUint64(e, entry(hash, slot))
			return true
		}
	}
	return false
}

// remove takes it away; false if it was not there. A look-up goes on over what is
// gone, but not where nothing follows.
func (x index) remove(hash uint64, slot uint32) bool {
	for i := range indexProbes {
		e := x.at(hash, i)
		if *e != entry(hash, slot) {
			continue
		}
		atomic.StoreUint64(e, slotGone<<32)
		for back := i; *x.at(hash, back+1) == 0 && *x.at(hash, back)>>32 == slotGone; back-- {
			atomic.StoreUint64(x.at(hash, back), 0)
		}
		return true
	}
	return false
}
