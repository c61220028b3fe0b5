// Package thread is what threads that carry packets ask of the kernel.
package thread

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Realtime gives the calling thread, which is locked for good, timers without slack
// and, where that is allowed, a real-time priority: low among its kind, above all
// others. It reports whether it was. What a lab's network does to a packet is not to
// hang on what else the machine does.
func Realtime() bool {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	const fifo = 1 // SCHED_FIFO
	priority := int32(10)
	_, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, fifo, uintptr(unsafe.Pointer(&priority)))
	return errno == 0
}
