package bpf

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// Counter is what a program counts: index of its per-CPU array, or of its tunnel's
// part of that; the C enum counter.
type Counter uint32

const (
	Encapsulated Counter = iota // outer header pushed
	Decapsulated                // outer header popped
	PushedAgain                 // pushed without encapsulation flags: the packet had been decapsulated on this machine
	Clamped                     // MSS lowered
	Consumed                    // kept from the kernel: the hub has it
	DropNoEncap                 // a mark without an outer header
	DropTooLong                 // the outer length would not fit 16 bits
	DropPush                    // the kernel refused to grow the packet
	DropPop                     // the kernel refused to shrink the packet
	DropStore                   // a header could not be read or written
	DropNotIP                   // routed into a tunnel, which carries IP only
	DropNotECT                  // marked in the tunnel, of ends that understand no marks (RFC 6040)
	counterCount
)

var counterNames = [counterCount]string{
	"encapsulated", "decapsulated", "pushed_again", "clamped", "consumed",
	"drop_no_encap", "drop_too_long", "drop_push", "drop_pop", "drop_store", "drop_not_ip", "drop_not_ect",
}

// String is the counter's label; those of drops begin with "drop_".
func (c Counter) String() string {
	if c < counterCount {
		return counterNames[c]
	}
	return fmt.Sprintf("counter_%d", uint32(c))
}

// Counters are totals over all CPUs since the program was loaded, or the tunnel attached.
type Counters [counterCount]uint64

// Map returns the counters that are not zero, by label.
func (c *Counters) Map() map[string]uint64 {
	m := make(map[string]uint64)
	for i, n := range c {
		if n != 0 {
			m[Counter(i).String()] = n
		}
	}
	return m
}

// readCounters reads those that begin at an index of m.
func readCounters(m *ebpf.Map, from uint32) (c Counters, err error) {
	var perCPU []uint64
	for i := range c {
		if err := m.Lookup(from+uint32(i), &perCPU); err != nil {
			return Counters{}, fmt.Errorf("read counter %v: %w", Counter(i), err)
		}
		for _, n := range perCPU {
			c[i] += n
		}
	}
	return c, nil
}
