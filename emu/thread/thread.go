// Package thread is what threads that carry packets ask of the kernel.
package thread

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Priority of a thread among those of its kind: the greater goes first.
type Priority int32

const (
	// Nodes are servers and the ends of tunnels.
	Nodes Priority = 5
	// Links go before them: what a link is asked to do is exact, however busy a
	// server is.
	Links Priority = 10
)

// Realtime gives the calling thread, which is locked for good, timers without slack
// and, where that is allowed, a real-time priority: above all threads that have none.
// It reports whether it was. What a lab's network does to a packet is not to hang on
// what else the machine does.
func Realtime(p Priority) bool {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	const fifo = 1 // SCHED_FIFO
	_, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, fifo, uintptr(unsafe.Pointer(&p)))
	return errno == 0
}
