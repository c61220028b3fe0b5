//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/homeward-lab/homeward/emu/control"
)

func newShell() *cobra.Command {
	return &cobra.Command{
		Use: "shell [LAB] NODE", Short: "Open a shell in a node", GroupID: "lab", Args: cobra.RangeArgs(1, 2),
		Long: `Shell opens your shell ($SHELL) in the network of a node, on a terminal of its
own: job control, Ctrl-C and the window's size work. The prompt variable
HOMEWARD_NODE says where you are. What is left in the background ends with the lab.`,
		Example: `  sudo homeward shell overlapping_branches shop.1.till
  sudo homeward shell web                   # the only lab that is up`,
		ValidArgsFunction: completeLabThen(1, nodeCompletions),
		RunE: func(cmd *cobra.Command, args []string) error {
			lab, node, err := labAndNode(cmd, args)
			if err != nil {
				return err
			}
			return shell(cmd, lab, node)
		},
	}
}

func shell(cmd *cobra.Command, lab *control.Lab, node string) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return usagef("shell wants a terminal; for a script use homeward exec %s %s -- sh", lab.Name, node)
	}
	path := os.Getenv("SHELL")
	if path == "" {
		path = "/bin/sh"
	}
	outer, inner, err := pseudoTerminal()
	if err != nil {
		return judgeless(fmt.Errorf("open a terminal: %w", err))
	}
	defer outer.Close()
	if err := os.Setenv("HOMEWARD_NODE", lab.Name+"/"+node); err != nil {
		return judgeless(err)
	}
	before, err := term.MakeRaw(int(os.Stdin.Fd()))
	if err != nil {
		return judgeless(fmt.Errorf("set up the terminal: %w", err))
	}
	defer term.Restore(int(os.Stdin.Fd()), before)
	resized := followSize(outer)
	defer resized()
	go func() { _, _ = io.Copy(outer, os.Stdin) }()
	shown := make(chan struct{})
	go func() { // ends when the last program has closed the terminal
		defer close(shown)
		_, _ = io.Copy(os.Stdout, outer)
	}()
	err = inNode(cmd, lab, control.ExecArgs{Node: node, Args: []string{path}, Terminal: true}, []*os.File{inner})
	inner.Close()
	if errors.As(err, new(*control.Error)) {
		return err
	}
	select {
	case <-shown:
	case <-afterGoodbye(): // something in the background holds the terminal
	}
	return err
}

// pseudoTerminal opens both ends of a terminal (pty(7)). It needs no place in
// the file system but /dev/ptmx.
func pseudoTerminal() (outer, inner *os.File, err error) {
	outer, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	raw, err := outer.SyscallConn()
	if err != nil {
		return nil, nil, errors.Join(err, outer.Close())
	}
	var fd uintptr
	var failed error
	err = raw.Control(func(master uintptr) {
		if failed = unix.IoctlSetPointerInt(int(master), unix.TIOCSPTLCK, 0); failed != nil {
			return
		}
		var errno unix.Errno
		if fd, _, errno = unix.Syscall(unix.SYS_IOCTL, master, unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC); errno != 0 {
			failed = errno
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, nil, errors.Join(err, outer.Close())
	}
	return outer, os.NewFile(fd, "terminal"), nil
}

// followSize gives the terminal the size of ours, now and whenever it changes.
func followSize(outer *os.File) (stop func()) {
	set := func() {
		raw, err := outer.SyscallConn()
		if err != nil {
			return
		}
		if size, err := unix.IoctlGetWinsize(int(os.Stdin.Fd()), unix.TIOCGWINSZ); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) })
		}
	}
	set()
	changes, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changes, syscall.SIGWINCH)
	go func() {
		for {
			select {
			case <-changes:
				set()
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(changes); close(done) }
}

// goodbye is how long a shell's last words have to come through when something
// that it left behind keeps the terminal open.
const goodbye = 200 * time.Millisecond

func afterGoodbye() <-chan time.Time { return time.After(goodbye) }
