// Package thread is what threads that carry packets ask of the kernel.
package thread

import (
	"os"
	"runtime"
	"sync"
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

// spare is how many processors of the runtime a process with packets has above those of
// the machine.
const spare = 14

// Room gives the process more processors of the runtime (GOMAXPROCS) than the machine
// has, unless its environment says how many. A thread that comes back from a system call
// has to have one, whatever its priority: if goroutines that have none hold them all it
// waits for these to run and to end, which is a priority inversion. Where eight labs of
// one command shared two processors, what of them is in its process came late by half as
// much with it.
func Room() { room() }

var room = sync.OnceFunc(func() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spare)
	}
})
