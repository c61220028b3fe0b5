// Package netns makes network namespaces that nothing but file descriptors
// hold, and runs code inside them.
//
// No name, no bind mount: when the last descriptor closes, by Close or by the
// death of the process, the kernel takes the namespace down with everything in
// it. That is how a lab leaves the machine as it was after SIGKILL.
//
// containernetworking's pkg/ns is not used for it: it takes a thread and two open files
// for each visit, where a Thread goes through a thousand namespaces, its handles are
// for one goroutine at a time, and what pkg/testutils makes has a name on the host.
//
// Its law: no goroutine ever finds itself in a namespace that it did not enter.
// Threads that cannot be brought home are given up.
package netns

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// NS is a network namespace held by a file descriptor, made by New or Open.
type NS struct{ fd atomic.Int32 }

// New makes a fresh network namespace. It needs CAP_SYS_ADMIN in the current
// user namespace; without it the error wraps os.ErrPermission.
func New() (n *NS, err error) {
	err = Tour(func(t *Thread) error {
		n, err = t.New()
		return err
	})
	return n, err
}

// Open takes hold of the namespace behind a path such as /proc/PID/fd/N: that
// of a lab's node, from another process.
func Open(path string) (*NS, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.NSFS_MAGIC {
		return nil, errors.Join(fmt.Errorf("open network namespace: %s is none", path), err, unix.Close(fd))
	}
	return hold(fd), nil
}

func hold(fd int) *NS {
	n := &NS{}
	n.fd.Store(int32(fd))
	return n
}

// Fd is the namespace's descriptor, -1 after Close.
func (n *NS) Fd() int { return int(n.fd.Load()) }

// Close lets go of the namespace. It is idempotent.
func (n *NS) Close() error {
	if fd := n.fd.Swap(-1); fd >= 0 {
		return unix.Close(int(fd))
	}
	return nil
}

// Do runs f on a thread that is inside the namespace. Sockets and netlink
// handles that f opens stay in the namespace after Do returns; goroutines that
// f starts do not run in it.
func (n *NS) Do(f func() error) error {
	return Tour(func(t *Thread) error {
		if err := t.Enter(n); err != nil {
			return err
		}
		return f()
	})
}

// Thread goes from namespace to namespace: entering one costs it a microsecond,
// where Do takes a thread for each visit.
type Thread struct{}

// Tour runs f on a thread that f may send into namespaces, and brings the thread
// home. Only f itself is on it, not the goroutines that f starts.
func Tour(f func(t *Thread) error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		home, e := here()
		if e != nil {
			err = e
			return
		}
		defer func() {
			// A thread that stays locked ends with its goroutine.
			if unix.Setns(home, unix.CLONE_NEWNET) == nil {
				runtime.UnlockOSThread()
			}
			unix.Close(home)
		}()
		err = f(&Thread{})
	}()
	<-done
	return err
}

// here opens the namespace of the calling thread.
func here() (fd int, err error) {
	fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open this thread's network namespace: %w", err)
	}
	return fd, nil
}

// Enter moves the thread into a namespace.
func (t *Thread) Enter(n *NS) error {
	if err := unix.Setns(n.Fd(), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	return nil
}

// New makes a fresh network namespace, in which the thread is from then on.
func (t *Thread) New() (*NS, error) {
	// Raw: it takes 0.2 ms and waits for nobody. Told of the call, Go's scheduler would
	// give this thread's processor to another one each time, and back.
	if _, _, errno := unix.RawSyscall(unix.SYS_UNSHARE, unix.CLONE_NEWNET, 0, 0); errno != 0 {
		return nil, fmt.Errorf("make a network namespace: %w", errno)
	}
	fd, err := here()
	if err != nil {
		return nil, err
	}
	return hold(fd), nil
}

// Index is the number of an interface of the calling thread's namespace: for use
// inside Do. net.InterfaceByName lists them all, which in a router with a
// thousand links takes a thousand times as long.
func Index(name string) (int, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("interface %q: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("interface %q: %w", name, err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, fmt.Errorf("no interface %q: %w", name, err)
	}
	return int(ifr.Uint32()), nil
}
