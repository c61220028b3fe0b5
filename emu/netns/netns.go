// Package netns makes network namespaces that nothing but file descriptors
// hold, and runs code inside them.
//
// No name, no bind mount: when the last descriptor closes, by Close or by the
// death of the process, the kernel takes the namespace down with everything in
// it. That is how a lab leaves the machine as it was after SIGKILL.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// NS is a network namespace held by a file descriptor.
type NS struct {
	file *os.File
}

// New makes a fresh network namespace. It needs CAP_SYS_ADMIN in the current
// user namespace; without it the error wraps os.ErrPermission.
func New() (*NS, error) {
	var file *os.File
	err := onThread(func() error {
		// The namespace must exist before anything is inherited into it.
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("%w: unshare: %w", errNotEntered, err)
		}
		var err error
		file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, err
	}
	return &NS{file: file}, nil
}

// FromFile is the namespace that an open file stands for, such as one that a
// process inherited from its keeper. The file then belongs to the namespace.
func FromFile(file *os.File) *NS { return &NS{file: file} }

// Fd is the namespace's descriptor, valid until Close.
func (n *NS) Fd() int { return int(n.file.Fd()) }

// File is the namespace's descriptor as a file, for passing to a child.
func (n *NS) File() *os.File { return n.file }

// Close lets go of the namespace. It is idempotent.
func (n *NS) Close() error {
	if err := n.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// Do runs f on a thread that is inside the namespace. Sockets and netlink
// handles that f opens stay in the namespace after Do returns; goroutines that
// f starts do not run in it.
func (n *NS) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(n.Fd(), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("%w: setns: %w", errNotEntered, err)
		}
		return f()
	})
}

// errNotEntered says that the thread is still where it was.
var errNotEntered = errors.New("cannot enter a network namespace")

// onThread runs f on a locked thread and brings the thread back to the
// namespace it came from. A thread that cannot be brought back is given up
// with its goroutine, so that no other goroutine ever finds itself in the
// wrong namespace. (Giving every thread up would be simpler, but the
// thread-group leader cannot end: it would pin the namespace for the life of
// the process.)
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer home.Close()
		if err = f(); errors.Is(err, errNotEntered) {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			done <- errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
			return
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}
