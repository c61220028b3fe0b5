package thread_test

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/thread"
	"github.com/homeward-lab/homeward/internal/need"
)

// A thread that carries packets goes before all that have no real-time priority, and
// no other thread of the process does.
func TestRealtime(t *testing.T) {
	need.Root(t)
	policy := func() uint32 {
		a, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return a.Policy
	}
	const fifo = 1
	done := make(chan uint32)
	go func() {
		runtime.LockOSThread() // for good
		if !thread.Realtime(thread.Links) {
			t.Error("not allowed, although this is root")
		}
		done <- policy()
	}()
	if got := <-done; got != fifo {
		t.Errorf("policy %d, want SCHED_FIFO", got)
	}
	if policy() == fifo {
		t.Error("another thread has the priority too")
	}
}

// atFirst is how many processors of the runtime there are before anybody asks for more.
var atFirst = runtime.GOMAXPROCS(0)

// A process with packets has more processors of the runtime than the machine, made once;
// what its environment says stands.
func TestRoom(t *testing.T) {
	thread.Room()
	more := runtime.GOMAXPROCS(0)
	if asked := os.Getenv("GOMAXPROCS") != ""; asked && more != atFirst || !asked && more <= atFirst {
		t.Errorf("%d processors, %d at first", more, atFirst)
	}
	if thread.Room(); runtime.GOMAXPROCS(0) != more {
		t.Errorf("a second call made %d of %d", runtime.GOMAXPROCS(0), more)
	}
}
