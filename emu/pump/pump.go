// Package pump carries packets across impaired links, and measures whether they
// take as long as they were asked to.
//
// An impaired link is cut (emu/wire): the pump receives what one half delivers,
// asks dataplane/impair what becomes of it, holds it so long, and sends it into
// the other half. One process does that for a whole lab, in the namespace where
// the halves meet: a thread of its own with real-time priority where allowed,
// packets in memory taken in advance, and nothing allocated per packet. The
// parent side (Start) talks to it in JSON lines over stdin and stdout; the child
// side is Main.
//
// The pump decides nothing about a packet. Its law: a packet leaves when the
// model says, or as soon after as the machine manages, and the meter, which sees
// the ends of the link and knows nothing of the pump, tells how soon that is;
// a packet that is lost although nobody asked for it is counted.
//
// How soon the machine manages is the kernel's: one that does not preempt itself
// (PREEMPT_NONE, PREEMPT_VOLUNTARY) lets a real-time thread wait until the system
// call of another, or its interrupts' work, is over. With twenty processes at work
// on two processors that was 9 ms for one packet in a hundred, and as much for a
// thread that does nothing but sleep; without them it is a tenth of a millisecond.
package pump

import (
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/late"
)

// header is the first line on the child's stdin.
type header struct {
	Seed uint64 `json:"seed"`
	// Base is CLOCK_MONOTONIC at the start of the run, ns.
	Base  int64  `json:"base"`
	Links []link `json:"links"`
	// Most is how many links there may be once others are added, MTU the largest
	// of theirs.
	Most int `json:"most"`
	MTU  int `json:"mtu"`
}

// link is a cut link: the interfaces in the middle, and what each direction does.
type link struct {
	ID  string        `json:"id"`
	A   int           `json:"a"`
	B   int           `json:"b"`
	MTU int           `json:"mtu"`
	AB  impair.Config `json:"ab"`
	BA  impair.Config `json:"ba"`
}

// command is any further line on the child's stdin. It is answered by one reply.
type command struct {
	Set  *set  `json:"set,omitempty"`
	Add  *link `json:"add,omitempty"`
	Stop bool  `json:"stop,omitempty"`
}

type set struct {
	Link      string           `json:"link"`
	Direction impair.Direction `json:"direction"`
	Config    impair.Config    `json:"config"`
}

// reply is a line on the child's stdout: the first says that it is ready, the
// others answer commands. An empty command asks for counters alone.
type reply struct {
	Hello *Hello  `json:"hello,omitempty"`
	Error string  `json:"error,omitempty"`
	Wires []Count `json:"wires,omitempty"`
}

// Hello is what a child says when it is ready.
type Hello struct {
	// Realtime says that its threads have real-time priority.
	Realtime bool `json:"realtime"`
	// Threads that carry packets.
	Threads int `json:"threads"`
}

// Count is what the pump knows of one direction of a link.
type Count struct {
	Link      string           `json:"link"`
	Direction impair.Direction `json:"direction"`
	// Model is what was asked for and happened.
	Model impair.Counters `json:"model"`
	// Sent packets, and those lost although nobody asked for it: the pump came
	// too late to fetch them, had no memory to hold them, or the kernel refused them.
	Sent    uint64 `json:"sent"`
	Missed  uint64 `json:"missed,omitempty"`
	Unheld  uint64 `json:"unheld,omitempty"`
	Refused uint64 `json:"refused,omitempty"`
	// Asked is how long packets were to take, Late how much longer the pump
	// took by its own clock.
	Asked Spread `json:"asked"`
	Late  Spread `json:"late"`
	// Moments are when packets left late, ns of the run.
	Moments late.Told `json:"moments,omitzero"`
}

// Unasked is how many packets were lost although nobody asked for it.
func (c *Count) Unasked() uint64 { return c.Missed + c.Unheld + c.Refused }

// Spread is a distribution of times in three numbers.
type Spread struct {
	N   int64         `json:"n"`
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
}

// Bounds of the pump.
const (
	// ringMemory is shared by the rings of all directions, each of which has
	// from minRing to maxRing packets.
	ringMemory       = 64 << 20
	minRing, maxRing = 128, 4096
	// heldMemory bounds the packets under way.
	heldMemory = 512 << 20
	// ethernet is what precedes a packet: destination, source and EtherType.
	ethernet = 14
	// batch is how many packets one system call sends at most, and how many are
	// taken from one ring before others have their turn.
	batch = 64
)
