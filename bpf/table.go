package bpf

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/cilium/ebpf"
)

// tableProbes is TABLE_PROBES in C.
const tableProbes = 16

// tableSize is how many entries a half needs for n: with a quarter of them taken,
// next to nothing is out of reach.
func tableSize(n uint32) uint32 { return 1 << bits.Len32(4*max(n, 1)-1) }

// table is a map of the programs that is written as a whole: into the half that is
// not in force, which then takes its turn.
type table struct {
	entries, halves *ebpf.Map
	number          dataplaneTable
	half            uint32
}

var errReach = errors.New("no room in reach of its hash")

// lay puts entries where the programs look for them, by their hash. The zero entry
// is none.
func lay[E comparable](size uint32, entries []E, hash func(*E) uint32) ([]E, error) {
	half := make([]E, size)
	var none E
	for i := range entries {
		e, probe := &entries[i], uint32(0)
		for ; probe < tableProbes && half[(hash(e)+probe)&(size-1)] != none; probe++ {
		}
		if probe == tableProbes {
			return nil, fmt.Errorf("%+v: %w", *e, errReach)
		}
		half[(hash(e)+probe)&(size-1)] = *e
	}
	return half, nil
}

// write puts other entries in force.
func write[E comparable](t *table, entries []E, hash func(*E) uint32) error {
	size := t.entries.MaxEntries() / 2
	laid, err := lay(size, entries, hash)
	if err != nil {
		return fmt.Errorf("%v: %w", t.entries, err)
	}
	half, keys := 1-t.half, make([]uint32, size)
	for i := range keys {
		keys[i] = half*size + uint32(i)
	}
	if _, err := t.entries.BatchUpdate(keys, laid, nil); err != nil {
		return fmt.Errorf("%v: %w", t.entries, err)
	}
	t.half = half
	return put(t.halves, uint32(t.number), &half)
}

// The hashes are address_hash and tunnel_hash in C.
const (
	prime1 = 0x9e3779b185ebca87
	prime2 = 0xc2b2ae3d27d4eb4f
	prime3 = 0x165667b19e3779f9
)

func (e *dataplanePlace) hash() uint32 {
	return uint32((bits.RotateLeft64(e.Address.First, 32)*prime1 + bits.RotateLeft64(e.Address.Second, 32)*prime2) >> 32)
}

func (e *dataplaneTunnelEntry) hash() uint32 {
	return uint32((uint64(e.Src)*prime1 + uint64(e.Dst)*prime2 + uint64(e.Key)*prime3) >> 32)
}
