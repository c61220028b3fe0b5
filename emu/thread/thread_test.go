package thread_test

import (
	"os"
	"os/exec"
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

// What is to end goes before all that have no priority, in each of its threads, and what
// a thread with a priority begins has none.
func TestHasten(t *testing.T) {
	need.Root(t)
	started := make(chan *exec.Cmd)
	go func() {
		thread.Controlling()
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Error(err)
		}
		started <- cmd
	}()
	cmd := <-started
	policy := func() uint32 {
		a, err := unix.SchedGetAttr(cmd.Process.Pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		return a.Policy
	}
	const fifo = 1
	if policy() == fifo {
		t.Error("a process has the priority of the thread that began it")
	}
	thread.Hasten(cmd.Process.Pid)
	if policy() != fifo {
		t.Error("what is to end has no priority")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	thread.Hasten(cmd.Process.Pid) // which is gone
}
