// Package netns makes network namespaces that nothing but file descriptors
// hold, and runs code inside them.
//
// No name, no bind mount: when the last descriptor closes, by Close or by the
// death of the process, the kernel takes the namespace down with everything in
// it. That is how a lab leaves the machine as it was after SIGKILL.
//
// Its law: no goroutine ever finds itself in a namespace that it did not enter.
// Threads that cannot be brought home are given up (containernetworking/plugins).
package netns

import (
	"fmt"
	"sync"

	"github.com/containernetworking/plugins/pkg/ns"
	"golang.org/x/sys/unix"
)

// NS is a network namespace held by a file descriptor, made by New or Open.
type NS struct {
	held  ns.NetNS
	close func() error
}

// New makes a fresh network namespace. It needs CAP_SYS_ADMIN in the current
// user namespace; without it the error wraps os.ErrPermission.
func New() (*NS, error) {
	held, err := ns.TempNetNS()
	if err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	return hold(held), nil
}

// Open takes hold of the namespace behind a path such as /proc/PID/fd/N: that
// of a lab's node, from another process.
func Open(path string) (*NS, error) {
	held, err := ns.GetNS(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	return hold(held), nil
}

func hold(held ns.NetNS) *NS { return &NS{held: held, close: sync.OnceValue(held.Close)} }

// Fd is the namespace's descriptor, -1 after Close.
func (n *NS) Fd() int { return int(n.held.Fd()) }

// Close lets go of the namespace. It is idempotent.
func (n *NS) Close() error { return n.close() }

// Do runs f on a thread that is inside the namespace. Sockets and netlink
// handles that f opens stay in the namespace after Do returns; goroutines that
// f starts do not run in it.
func (n *NS) Do(f func() error) error {
	return n.held.Do(func(ns.NetNS) error { return f() })
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
