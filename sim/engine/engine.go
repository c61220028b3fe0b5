// Package engine is virtual time: events in a total order, timers, and the
// fingerprint of a run.
//
// It knows nothing of networks. A World handles events and schedules more; the
// engine says what is next. There is no goroutine, closure, map iteration or
// wall clock in a run, so the same seed gives the same run on any machine.
//
// The law, tested against another queue: of the events that are scheduled, the
// next is the first in the order of (time, class, entity, sequence), where the
// sequence counts an entity's own events; two events are never equal in it. So
// an entity that is added does not change the order of the others.
package engine

import (
	"errors"
	"fmt"
	"math"

	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Entity is who an event is of: a link, a host, a server. At most MaxEntity.
type Entity uint32

// Class orders events of one instant before anything else does.
type Class uint8

// Kind says to a World what an event means.
type Kind uint16

// An event's place among those of its instant, in one number:
//
//	 63    60 59                          36 35                              0
//	+--------+------------------------------+---------------------------------+
//	|  class |            entity            |            sequence             |
//	+--------+------------------------------+---------------------------------+
const (
	classBits    = 4
	entityBits   = 24
	sequenceBits = 36

	MaxClass    Class  = 1<<classBits - 1
	MaxEntity   Entity = 1<<entityBits - 1
	maxSequence        = 1<<sequenceBits - 2
	// never is the order of no event.
	never = 1<<64 - 1
)

// Event is something that happens at an instant: a value of three words, which
// stay in registers.
type Event struct {
	At    vt.Instant
	order uint64
	what  uint64 // kind and argument
}

// MaxKind is the highest Kind. What is above it says that the argument is a timer
// of the engine's, which decides whether the event is due.
const (
	MaxKind  Kind = 1<<15 - 1
	kindBits      = 32 // of an argument, below the kind
	isTimer       = uint64(MaxKind+1) << kindBits
)

// what is a kind and an argument in one word.
func what(kind Kind, arg uint32) uint64 { return uint64(kind)<<kindBits | uint64(arg) }

// Arg is the World's: an index, a packet's place in a slab.
func (e Event) Arg() uint32 { return uint32(e.what) }

// Kind is what the event means.
func (e Event) Kind() Kind { return Kind(e.what >> kindBits) }

// Entity is who the event is of.
func (e Event) Entity() Entity { return Entity(e.order>>sequenceBits) & MaxEntity }

// Class is the event's.
func (e Event) Class() Class { return Class(e.order >> (sequenceBits + entityBits)) }

// before is the total order.
func (e Event) before(o Event) bool {
	return e.At < o.At || e.At == o.At && e.order < o.order
}

// Queue holds events until they are next.
type Queue interface {
	// Push adds an event at an instant that is not before the last one popped.
	Push(Event)
	// Pop removes the first; ok is false if there is none.
	Pop() (e Event, ok bool)
	Len() int
}

// World is what is simulated.
type World interface {
	// Handle does what e says, at e.At. It may schedule events from e.At on.
	Handle(e Event)
}

// Errors of Run. They are wrapped with when and how far.
var (
	// ErrBudget: the run has handled as many events as it may.
	ErrBudget = errors.New("the budget of events is used up")
	// ErrZeno: too many events at one instant: a loop in zero time.
	ErrZeno = errors.New("events follow each other in no time")
)

// Options of an engine. Zero fields mean the default.
type Options struct {
	// Queue is where events wait; nil means a new Ladder.
	Queue Queue
	// Budget is the most events of a run; 0 means no bound.
	Budget uint64
	// Instant is the most events at one instant; 0 means 1 << 20.
	Instant int
}

const defaultInstant = 1 << 20

// Engine runs one World. Use New. It is not safe for concurrent use.
type Engine struct {
	queue Queue
	// ladder is the queue if it is one, as it nearly always is: called without the
	// detour of an interface, which every event would pay for twice.
	ladder   *Ladder
	now      vt.Instant
	sequence []uint64 // by entity
	timers   []timer
	idle     []Timer // timers that were freed
	last     uint64  // the order of the last event, which was at now
	print    Fingerprint
	handled  uint64
	budget   uint64
	instant  int
	atOnce   int
	halted   bool
}

// New returns an engine at instant 0 without events.
func New(o Options) *Engine {
	e := &Engine{queue: o.Queue, budget: o.Budget, instant: o.Instant}
	if e.queue == nil {
		e.queue = NewLadder()
	}
	e.ladder, _ = e.queue.(*Ladder)
	if e.instant == 0 {
		e.instant = defaultInstant
	}
	if e.budget == 0 {
		e.budget = math.MaxUint64
	}
	return e
}

// Now is the instant of the event being handled.
func (e *Engine) Now() vt.Instant { return e.now }

// Handled is how many events the run has handled.
func (e *Engine) Handled() uint64 { return e.handled }

// Fingerprint is a hash over all events handled so far, in their order: equal
// runs have equal ones.
func (e *Engine) Fingerprint() Fingerprint { return e.print }

// Horizon is the end of time, 146 years: what is scheduled for later never
// happens.
const Horizon = vt.Instant(1 << 62)

// At schedules an event. at must not be before Now: the past does not change.
func (e *Engine) At(at vt.Instant, class Class, entity Entity, kind Kind, arg uint32) {
	e.push(at, e.place(class, entity, kind), what(kind, arg))
}

// place is where the order of an entity's events of a class begins. The entity's
// sequence is there from then on.
func (e *Engine) place(class Class, entity Entity, kind Kind) uint64 {
	if class > MaxClass || entity > MaxEntity || kind > MaxKind {
		panic(fmt.Sprintf("engine: class %d, entity %d and kind %d, want at most %d, %d and %d", class, entity, kind, MaxClass, MaxEntity, MaxKind))
	}
	if int(entity) >= len(e.sequence) {
		e.sequence = append(e.sequence, make([]uint64, int(entity)+1-len(e.sequence))...)
	}
	return uint64(class)<<(sequenceBits+entityBits) | uint64(entity)<<sequenceBits
}

// push schedules an event, whose order it returns: never of one that never happens.
func (e *Engine) push(at vt.Instant, place, what uint64) uint64 {
	n := &e.sequence[place>>sequenceBits&uint64(MaxEntity)]
	if at > Horizon {
		return never
	}
	if at < e.now || *n > maxSequence {
		e.refuse(at, place, *n)
	}
	ev := Event{at, place | *n, what}
	*n++
	if l := e.ladder; l == nil {
		e.queue.Push(ev)
	} else if l.short() {
		l.insert(ev)
	} else {
		l.place(ev)
	}
	return ev.order
}

//go:noinline
func (e *Engine) refuse(at vt.Instant, place, n uint64) {
	entity := place >> sequenceBits & uint64(MaxEntity)
	if n > maxSequence {
		panic(fmt.Sprintf("engine: entity %d has scheduled %d events", entity, n))
	}
	panic(fmt.Sprintf("engine: event of entity %d at %v, and it is %v already", entity, at, e.now))
}

// Run handles events until the one after end, until there are none, or until the
// World halts it. It may be called again to go on. The error wraps ErrBudget or
// ErrZeno.
func (e *Engine) Run(w World, end vt.Instant) error {
	_, err := e.Steps(w, end, math.MaxUint64)
	return err
}

// Steps is Run that comes back after at most n events, for a caller that has
// something else to look at too; more says that it stopped for that.
func (e *Engine) Steps(w World, end vt.Instant, n uint64) (more bool, err error) {
	for e.halted = false; n > 0; {
		var ev Event
		if l := e.ladder; l != nil {
			if !l.ready(end) {
				return false, nil
			}
			ev = l.take()
		} else if ev = e.popUntil(end); ev.order == never {
			return false, nil
		}
		if ev.what >= isTimer {
			t := &e.timers[ev.Arg()]
			if t.generation != ev.order {
				continue // overtaken
			}
			t.generation = never
			ev.what = t.what
		}
		if e.handled >= e.budget {
			return false, fmt.Errorf("%w: %d, at %v", ErrBudget, e.budget, ev.At)
		}
		if ev.At > e.now {
			e.now, e.atOnce = ev.At, 1
		} else if err := e.again(ev); err != nil {
			return false, err
		}
		e.last = ev.order
		e.handled++
		e.print.add(ev)
		w.Handle(ev)
		if e.halted {
			return false, nil
		}
		n--
	}
	return true, nil
}

// again is of one more event at an instant, or of one that does not come after the
// last one in the total order.
func (e *Engine) again(ev Event) error {
	if e.atOnce++; e.atOnce > e.instant {
		return fmt.Errorf("%w: %d events at %v, the last of entity %d", ErrZeno, e.instant, ev.At, ev.Entity())
	}
	if (ev.At < e.now || ev.order == e.last) && e.handled > 0 {
		panic(fmt.Sprintf("engine: event %+v after one of order %x at %v: two of one order, or a queue that mixes them up", ev, e.last, e.now))
	}
	return nil
}

// popUntil takes the first event out of any queue, unless it is after end: then,
// or without one, it is one of order never.
func (e *Engine) popUntil(end vt.Instant) Event {
	ev, ok := e.queue.Pop()
	if !ok {
		return Event{order: never}
	}
	if ev.At > end {
		e.queue.Push(ev)
		return Event{order: never}
	}
	return ev
}

// Halt has Run come back after the event that is being handled.
func (e *Engine) Halt() { e.halted = true }
