// Package vt is virtual time: the one clock type of the dataplane, the
// simulator and the lab.
//
// An Instant is an argument, never something a core reads for itself: the lab
// passes a monotonic clock, the simulator its event time. That is what lets
// the same hub run in both.
package vt

import (
	"math"
	"time"
)

// Instant is nanoseconds since the start of a run. The zero value is the start.
type Instant int64

// Never is later than every other instant: nothing is due.
const Never Instant = math.MaxInt64

// Add returns t+d. It saturates at Never, so that "Never plus a timeout" is
// still Never; d must not be negative beyond the start of time.
func (t Instant) Add(d time.Duration) Instant {
	if d > 0 && t > Never-Instant(d) {
		return Never
	}
	return t + Instant(d)
}

// Sub returns t-u.
func (t Instant) Sub(u Instant) time.Duration { return time.Duration(t - u) }

// Before reports whether t is earlier than u.
func (t Instant) Before(u Instant) bool { return t < u }

// String prints the instant as a duration since the start.
func (t Instant) String() string {
	if t == Never {
		return "never"
	}
	return time.Duration(t).String()
}
