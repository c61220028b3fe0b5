// Package health judges a tunnel by its probes (SEMANTICS 2.8): healthy,
// degraded or down, and what that adds to the priority of its routes.
//
// It sends nothing and reads no clock: a Tracker says when a probe is due and is
// told of answers. It knows one tunnel as one server sees it; servers do not
// agree, and need not (RT-16).
package health

import (
	"time"

	"github.com/homeward-lab/homeward/dataplane/vt"
)

// State is a tunnel's health. The zero value is healthy: what nobody probes is
// sent to without a penalty.
type State uint8

const (
	Healthy State = iota
	Degraded
	Down
)

var names = [...]string{"healthy", "degraded", "down"}

// String is the state for people and records.
func (s State) String() string { return names[s] }

// Penalty is added to the priority of the tunnel's routes. It never removes one.
func (s State) Penalty() int {
	switch s {
	case Degraded:
		return 500_000
	case Down:
		return 1_000_000
	}
	return 0
}

// Timing is how a tunnel is probed. Every field is above 0.
type Timing struct {
	// Interval between probes, Timeout of each: after it a probe has failed.
	Interval, Timeout time.Duration
	// Window is over which failures are counted: five minutes.
	Window time.Duration
	// Burst is within which Retries+1 failures mean down: one second.
	Burst time.Duration
}

// Rules of SEMANTICS 2.8.
const (
	// retries follow a failure at once, and a success of a tunnel that is down.
	retries = 2
	// degraded is from this many failures in the window on, if they are at least
	// one in a thousand.
	minFailures = 2
	perThousand = 1
	// recovery is how many probes in a row must succeed before a tunnel is
	// healthy again.
	recovery = 30

	slots = 30
)

// Tracker follows one tunnel. Use New. It is not safe for concurrent use.
type Tracker struct {
	timing Timing
	state  State
	// next is when the next regular probe is due.
	next vt.Instant
	seq  uint16
	// waiting are the probes without an answer yet, oldest first.
	waiting []waiting
	// extra probes are due at once.
	extra int
	// failures and successes in a row; fell is when the first of the last
	// retries+1 failures was noticed.
	failures, successes int
	fell                [retries + 1]vt.Instant
	// window counts outcomes by slot of time; slot is the number of the latest.
	window [slots]outcomes
	slot   int64
}

type waiting struct {
	seq      uint16
	deadline vt.Instant
}

type outcomes struct{ ok, failed uint32 }

// New returns a tracker whose first probe is due at first.
func New(timing Timing, first vt.Instant) *Tracker { return &Tracker{timing: timing, next: first} }

// State is the tunnel's health now.
func (t *Tracker) State() State { return t.state }

// Usable are those of n tunnels that a branch router should use, by number, in
// its order of preference: all that are not down, or only the first of them
// unless it balances over every one. A tunnel without a tracker (nil) is never
// down. When all are down, none is worse than another and all count as up.
func Usable(n int, tracker func(i int) *Tracker, balance bool) []int {
	var all, up []int
	for i := range n {
		all = append(all, i)
		if t := tracker(i); t == nil || t.State() != Down {
			up = append(up, i)
		}
	}
	if len(up) == 0 {
		up = all
	}
	if !balance {
		up = up[:1]
	}
	return up
}

// NextWake is when Tick has something to do.
func (t *Tracker) NextWake() vt.Instant {
	if len(t.waiting) > 0 {
		return min(t.next, t.waiting[0].deadline)
	}
	return t.next
}

// Tick notes which probes have failed by now, and calls send for each that is
// due with its sequence number.
func (t *Tracker) Tick(now vt.Instant, send func(seq uint16)) {
	for len(t.waiting) > 0 && t.waiting[0].deadline <= now {
		at := t.waiting[0].deadline
		t.waiting = t.waiting[1:]
		t.failed(at)
	}
	if t.next <= now {
		t.extra++
		// What was missed while nobody ticked is not made up for.
		for t.next <= now {
			t.next = t.next.Add(t.timing.Interval)
		}
	}
	for ; t.extra > 0; t.extra-- {
		t.seq++
		t.waiting = append(t.waiting, waiting{t.seq, now.Add(t.timing.Timeout)})
		send(t.seq)
	}
	t.judge(now)
}

// Answer notes the answer to a probe. It is false for one that nobody waits for
// any more.
func (t *Tracker) Answer(now vt.Instant, seq uint16) bool {
	for i, w := range t.waiting {
		if w.seq != seq || w.deadline <= now {
			continue
		}
		t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
		t.count(now).ok++
		t.failures = 0
		t.successes++
		if t.state == Down && t.successes == 1 {
			t.extra, t.next = retries, min(t.next, now)
		}
		t.judge(now)
		return true
	}
	return false
}

// failed notes a failure. The first after a success is tried again at once.
func (t *Tracker) failed(at vt.Instant) {
	t.count(at).failed++
	t.successes = 0
	copy(t.fell[:], t.fell[1:])
	t.fell[retries] = at
	if t.failures++; t.failures == 1 && t.state != Down {
		t.extra = retries
	}
}

// count is the slot of now; those since the last are empty.
func (t *Tracker) count(now vt.Instant) *outcomes {
	slot := int64(now) / max(int64(t.timing.Window)/slots, 1)
	for i := max(t.slot+1, slot-slots+1); i <= slot; i++ {
		t.window[i%slots] = outcomes{}
	}
	t.slot = max(t.slot, slot)
	return &t.window[t.slot%slots]
}

// judge moves the state by the rules of SEMANTICS 2.8.
func (t *Tracker) judge(now vt.Instant) {
	t.count(now)
	var sum outcomes
	for _, o := range t.window {
		sum.ok += o.ok
		sum.failed += o.failed
	}
	often := sum.failed*1000 >= perThousand*(sum.failed+sum.ok)
	switch {
	case t.state != Down && t.failures > retries && t.fell[retries].Sub(t.fell[0]) <= t.timing.Burst:
		t.state = Down
	case t.state == Down && t.successes > retries:
		t.state = Degraded
	case t.state == Healthy && sum.failed >= minFailures && often:
		t.state = Degraded
	case t.state == Degraded && t.successes >= recovery && !(sum.failed >= 1 && often):
		t.state = Healthy
	}
}
