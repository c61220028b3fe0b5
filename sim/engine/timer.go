package engine

import "github.com/homeward-lab/homeward/dataplane/vt"

// Timer is an alarm that can be moved and stopped. An event of it that has been
// overtaken stays in the queue and is passed over: to stop a timer costs nothing.
type Timer uint32

type timer struct {
	place uint64 // of its events' order
	at    vt.Instant
	what  uint64 // its events mean
	// generation is the order of the event that counts; never while none does.
	generation uint64
}

// NewTimer returns a stopped timer, whose events will be of this class, entity,
// kind and argument.
func (e *Engine) NewTimer(class Class, entity Entity, kind Kind, arg uint32) Timer {
	t := timer{place: e.place(class, entity, kind), what: what(kind, arg), generation: never}
	if n := len(e.idle); n > 0 {
		id := e.idle[n-1]
		e.idle = e.idle[:n-1]
		e.timers[id] = t
		return id
	}
	e.timers = append(e.timers, t)
	return Timer(len(e.timers) - 1)
}

// Arm sets the timer to go off at an instant, instead of any other it was set
// to. It goes off once.
func (e *Engine) Arm(id Timer, at vt.Instant) {
	t := &e.timers[id]
	if t.at == at && t.generation != never {
		return
	}
	t.at = at
	t.generation = e.push(at, t.place, isTimer|uint64(id))
}

// Stop disarms the timer.
func (e *Engine) Stop(id Timer) { e.timers[id].generation = never }

// Free gives the timer back. It must not be used again.
func (e *Engine) Free(id Timer) {
	e.Stop(id)
	e.idle = append(e.idle, id)
}
