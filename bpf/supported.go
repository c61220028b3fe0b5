package bpf

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Supported returns nil if the programs can run on this machine: it loads them
// and attaches them by tcx to the loopback of a namespace made for the purpose,
// because versions and capabilities only hint at what a try proves. The error
// says what is lacking.
func Supported() error {
	done := make(chan error, 1)
	go func() { done <- inThrowaway(tryServer) }()
	if err := <-done; err != nil {
		return fmt.Errorf("eBPF with tcx (Linux 6.6) does not work here: %w", err)
	}
	return nil
}

const loopback = 1 // its index in every new namespace

func tryServer() error {
	s, err := AttachServer(ServerOptions{Interface: loopback})
	if err != nil {
		return err
	}
	return s.Close()
}

// inThrowaway runs f in a network namespace of its own and brings the thread
// back. A thread that cannot be brought back stays locked and ends with its
// goroutine.
func inThrowaway(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("new network namespace: %w", err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}
