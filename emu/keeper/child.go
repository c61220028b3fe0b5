package keeper

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// child is a started process, held by a descriptor: unlike its number, that
// can never come to mean another process.
type child struct {
	pid   int
	pidfd *os.File
}

// newChild takes hold of a process that nobody can have reaped yet.
func newChild(pid int) (*child, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("take hold of process %d: %w", pid, err)
	}
	return &child{pid, os.NewFile(uintptr(fd), "pidfd")}, nil
}

func (c *child) signal(s unix.Signal) error {
	return unix.PidfdSendSignal(int(c.pidfd.Fd()), s, nil, 0)
}

// reaped says whether the process has ended and was waited for.
func (c *child) reaped() bool { return errors.Is(c.signal(0), unix.ESRCH) }

// ended waits until the process has ended, waited for or not; false when that
// takes longer than the deadline.
func (c *child) ended(deadline time.Time) bool {
	for {
		fds := []unix.PollFd{{Fd: int32(c.pidfd.Fd()), Events: unix.POLLIN}}
		left := max(0, time.Until(deadline))
		n, err := unix.Poll(fds, int(left.Milliseconds()))
		if n > 0 {
			return true
		}
		if left == 0 || (err != nil && !errors.Is(err, unix.EINTR)) {
			return false
		}
	}
}

// reapPatience is how long those who started children have to wait for them all,
// before Close does.
const reapPatience = 200 * time.Millisecond

// reap sees to it that an ended child leaves the process table, after the
// deadline by itself.
func (c *child) reap(deadline time.Time) {
	for ; time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if c.reaped() {
			return
		}
	}
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PIDFD, int(c.pidfd.Fd()), &info, unix.WEXITED, nil)
		if !errors.Is(err, unix.EINTR) {
			return // reaped, here or by the caller meanwhile
		}
	}
}
