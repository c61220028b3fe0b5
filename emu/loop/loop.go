// Package loop runs a worker that moves packets between descriptors: on a
// thread of its own, which goes before all others where that is allowed, asleep
// while nothing is ready, until it is stopped or fails.
//
// It knows nothing of what is moved. Its law: when Stop returns, the worker is
// not called any more, and whatever ended it is told.
package loop

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/thread"
)

// Worker is what a loop calls, all from one goroutine.
type Worker interface {
	// Descriptors appends those that the worker reads from.
	Descriptors(fds []int) []int
	// Patience is how long to sleep at most if none is ready; negative means that
	// nothing is due.
	Patience() time.Duration
	// Turn is called when one is ready, when Patience is over, and after Ring. It
	// may find nothing to do. An error ends the loop.
	Turn() error
}

// Loop is a running worker. Its methods are safe for concurrent use.
type Loop struct {
	bell    int
	watch   atomic.Pointer[watch]
	closing atomic.Bool
	done    chan struct{}
	err     error // set before done is closed
	stop    func() error
}

// Start begins to call w.
func Start(w Worker) (*Loop, error) {
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &Loop{bell: bell, done: make(chan struct{})}
	l.stop = sync.OnceValue(l.end)
	go l.run(w)
	return l, nil
}

func (l *Loop) run(w Worker) {
	runtime.LockOSThread() // for good: the thread ends with its priority
	thread.Realtime(thread.Nodes)
	defer close(l.done)
	var own []int
	var fds []unix.PollFd
	for {
		fds = append(fds[:0], unix.PollFd{Fd: int32(l.bell), Events: unix.POLLIN})
		own = w.Descriptors(own[:0])
		for _, fd := range own {
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
		late := l.watch.Load()
		if late != nil {
			late.ask(fds[1:])
		}
		if l.err = afpacket.Wait(fds, w.Patience()); l.err != nil {
			return
		}
		if fds[0].Revents != 0 {
			var count [8]byte
			unix.Read(l.bell, count[:]) // fails only if it does not ring
			if l.closing.Load() {
				return
			}
		}
		if l.err = w.Turn(); l.err != nil {
			return
		}
		if late != nil {
			late.note(fds[1:], time.Now())
		}
	}
}

// Ring makes the loop call Turn soon.
func (l *Loop) Ring() { unix.Write(l.bell, []byte{7: 1}) } // fails only if it rings already

// Done is closed when the loop has ended, Err then says why.
func (l *Loop) Done() <-chan struct{} { return l.done }

// Err is the error that ended the loop; nil while it runs and after Stop.
func (l *Loop) Err() error {
	select {
	case <-l.done:
		return l.err
	default:
		return nil
	}
}

// Stop ends the loop and returns the error that had ended it before, if one
// did. It is idempotent; Ring must not be called after it.
func (l *Loop) Stop() error { return l.stop() }

func (l *Loop) end() error {
	l.closing.Store(true)
	l.Ring()
	<-l.done
	return errors.Join(l.err, unix.Close(l.bell))
}
