// Package thread is what threads that carry packets ask of the kernel.
package thread

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Priority of a thread among those of its kind: the greater goes first.
type Priority int32

const (
	// Control is what changes a running lab: faults, and what servers are told. A
	// fault that comes late is another fault.
	Control Priority = 1
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
	return schedule(0, p)
}

// Controlling is Realtime(Control) for a goroutine that does nothing else until it ends.
func Controlling() {
	runtime.LockOSThread() // for good: the thread ends with the goroutine
	Realtime(Control)
}

// Hasten gives every thread of a process that is to end the priority Control: each of
// them ends by itself, when its turn has come. What is not allowed is left out.
func Hasten(pid int) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return // it has ended
	}
	for _, t := range tasks {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			schedule(tid, Control)
		}
	}
}

// schedule has a thread, 0 is the calling one, scheduled in real time, and not the
// processes that it begins.
func schedule(tid int, p Priority) bool {
	const fifo, resetOnFork = 1, 0x40000000 // SCHED_FIFO, SCHED_RESET_ON_FORK
	_, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, uintptr(tid), fifo|resetOnFork, uintptr(unsafe.Pointer(&p)))
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
