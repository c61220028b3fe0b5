// Package late notes when a thread was done later with a packet than it might have been:
// the kernel, the hypervisor or another thread had its processor, before or while it
// was at it.
//
// A log says how late, and when. It holds a bounded number of moments: of more it
// keeps the longest, and says from which length on none is missing. Its law: nothing
// is allocated, and nothing is locked for a packet that came to its turn in time.
package late

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Least is the shortest lateness that is noted: on a quiet machine a thread is
	// woken within a tenth of it.
	Least = 100 * time.Microsecond
	// Most is how many moments a log holds.
	Most = 1024
)

// Moment is when a thread was late with a packet.
type Moment struct {
	// Who is which of its works it was, by a number of the thread's own.
	Who int32 `json:"who,omitempty"`
	// At is when it was done, ns by the thread's clock, and For how late that was, ns.
	At  int64 `json:"at"`
	For int64 `json:"for"`
}

// Told is what a log held.
type Told struct {
	// Least is the length from which on all moments are told, ns; 0 if nothing
	// measured any.
	Least   int64    `json:"least"`
	Moments []Moment `json:"moments,omitempty"` // in the order in which they came
}

// Log holds moments. One thread notes, any may ask.
type Log struct {
	least   atomic.Int64
	mu      sync.Mutex
	moments []Moment
}

// New makes a log.
func New() *Log {
	l := &Log{moments: make([]Moment, 0, Most)}
	l.least.Store(int64(Least))
	return l
}

// Note notes that a thread was done at with a packet that it might have been done with
// d ns earlier. A nil log notes nothing.
func (l *Log) Note(who int32, at, d int64) {
	if l != nil && d >= l.least.Load() {
		l.add(Moment{who, at, d})
	}
}

func (l *Log) add(m Moment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.moments) == Most {
		l.forget()
	}
	if m.For >= l.least.Load() {
		l.moments = append(l.moments, m)
	}
}

// forget makes room: what is shorter than twice the least goes.
func (l *Log) forget() {
	least := 2 * l.least.Load()
	kept := l.moments[:0]
	for _, m := range l.moments {
		if m.For >= least {
			kept = append(kept, m)
		}
	}
	l.moments = kept
	l.least.Store(least)
}

// Told is what was noted so far; of a nil log nothing.
func (l *Log) Told() Told {
	if l == nil {
		return Told{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return Told{Least: l.least.Load(), Moments: append([]Moment(nil), l.moments...)}
}
