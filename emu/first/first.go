// Package first is the first process of a process namespace (pid_namespaces(7)):
// it runs one program and ends with it. When it is killed, the kernel ends all
// that the program ever started, however far removed: that is how a user's
// program leaves nothing behind. It knows no lab.
package first

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Cloneflags are how the process that calls Main is to be started.
const Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS

// OwnProcesses gives the first process of a namespace the /proc that belongs to
// it; in another process it does nothing. Mounts that the machine makes later
// are still seen; none of ours is seen outside.
func OwnProcesses() error {
	if os.Getpid() != 1 {
		return nil
	}
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
	if err == nil {
		err = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	if err != nil {
		return fmt.Errorf("mount a /proc of our own: %w", err)
	}
	return nil
}

// Main runs the program and returns its exit code, or 128 and the number of the
// signal that ended it. Signals are passed on.
func Main(args []string) (int, error) {
	if len(args) == 0 {
		return 0, errors.New("no program to run")
	}
	// Without a /proc of its own a program sees the machine's, and runs all the same.
	_ = OwnProcesses()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals)
	p, err := os.StartProcess(args[0], args, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return 0, err
	}
	pid := p.Pid
	if err := p.Release(); err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			if n, ok := s.(syscall.Signal); ok && n != syscall.SIGCHLD && n != syscall.SIGURG { // the runtime's own
				_ = syscall.Kill(pid, n) // fails only if it has ended
			}
		}
	}()
	for { // orphans come to the first process
		var status unix.WaitStatus
		ended, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for %s: %w", args[0], err)
		case ended == pid && status.Exited():
			return status.ExitStatus(), nil
		case ended == pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		}
	}
}
