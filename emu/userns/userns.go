// Package userns runs this program again as root of a user namespace of its own,
// so that a lab needs no privilege on the machine (user_namespaces(7)).
//
// Root there is nobody outside: it owns the network namespaces that it makes and
// nothing else. Programs of eBPF are loaded there if root grants it (emu/grant); labs
// do without otherwise. The law: what runs inside ends with who started it.
package userns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// mark tells the program that it is inside.
const mark = "HOMEWARD_USERNS"

// Inside reports whether this process is root of a namespace that Run made.
func Inside() bool { return os.Getenv(mark) != "" }

// Needed reports whether Run is of use: who is not root, and not inside.
func Needed() bool { return os.Geteuid() != 0 && !Inside() }

// ErrDenied is wrapped where the machine lets nobody make a user namespace; the
// error says what mends that.
var ErrDenied = errors.New("user namespaces are denied to all but root")

// Run runs this program with args inside, with this process's standard streams,
// and returns its exit code. Signals that end a process are passed on. Its own
// network namespace is one that it may come back to.
func Run(args []string) (code int, err error) {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), mark+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   unix.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("%w: %s (%w)", ErrDenied, Mend(), err)
	}
	got := make(chan os.Signal, 8)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-got:
				// A terminal signals both; one that came to this process alone
				// is meant for what it runs. Twice does no harm (cmd's signals).
				_ = cmd.Process.Signal(s)
			case <-done:
				return
			}
		}
	}()
	err = cmd.Wait()
	close(done)
	signal.Stop(got)
	var status *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &status) && status.Exited():
		return status.ExitCode(), nil
	case errors.As(err, &status):
		return 128 + int(status.Sys().(syscall.WaitStatus).Signal()), nil
	}
	return 0, fmt.Errorf("run in a user namespace: %w", err)
}

// restrictions are the knobs by which machines deny user namespaces, and the
// value of each that does not.
var restrictions = []struct{ file, allows, mend string }{
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "0", "AppArmor restricts them: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
	{"/proc/sys/kernel/unprivileged_userns_clone", "1", "this kernel leaves them off: sudo sysctl -w kernel.unprivileged_userns_clone=1"},
}

// Mend is the line that lets who is not root make user namespaces here, as far
// as this machine tells.
func Mend() string {
	for _, r := range restrictions {
		if v, err := os.ReadFile(r.file); err == nil && strings.TrimSpace(string(v)) != r.allows {
			return r.mend
		}
	}
	if v, err := os.ReadFile("/proc/sys/user/max_user_namespaces"); err == nil && strings.TrimSpace(string(v)) == "0" {
		return "their number is limited to 0: sudo sysctl -w user.max_user_namespaces=10000"
	}
	return "run as root, for example with sudo"
}
