//go:build linux

package main

import (
	"encoding/json"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/control"
)

func newExec() *cobra.Command {
	return &cobra.Command{
		Use: "exec [LAB] NODE -- CMD [ARG...]", Short: "Run a program in a node", GroupID: "lab",
		Long: `Exec runs a program in the network of a node, with this machine's files, your
environment and directory, and your standard streams: a pipe stays a pipe, and
the exit code is the program's. A program that a signal ended is 128 and the
signal's number. What it leaves in the background ends with the lab.`,
		Example: `  sudo homeward exec overlapping_branches shop.1.till -- curl -s http://203.0.113.9/
  sudo homeward exec shop.1.till -- ping -c 3 203.0.113.9       # the only lab that is up
  sudo homeward exec merger web -- ss -tn | wc -l`,
		Args: func(cmd *cobra.Command, args []string) error {
			if n := cmd.ArgsLenAtDash(); n < 1 || n > 2 || n == len(args) {
				return usagef("want [LAB] NODE -- CMD [ARG...]\nhomeward exec --help says how it is used")
			}
			return nil
		},
		ValidArgsFunction: completeLabThen(1, nodeCompletions),
		RunE: func(cmd *cobra.Command, args []string) error {
			n := cmd.ArgsLenAtDash()
			lab, node, err := labAndNode(cmd, args[:n])
			if err != nil {
				return err
			}
			return inNode(cmd, lab, control.ExecArgs{Node: node, Args: args[n:]}, []*os.File{os.Stdin, os.Stdout, os.Stderr})
		},
	}
}

// forwarded are the signals that are the program's, not ours.
func forwarded() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH}
}

// inNode runs a program and ends with its exit code.
func inNode(cmd *cobra.Command, lab *control.Lab, args control.ExecArgs, files []*os.File) error {
	args.Env = os.Environ()
	dir, err := os.Getwd()
	if err != nil {
		return usage(err)
	}
	args.Dir = dir
	lend(cmd.Context())
	passing, stop := passSignals()
	defer stop()
	code := -1
	err = lab.Call(cmd.Context(), control.Ask{
		Do: control.DoExec, Args: args, Files: files, Tell: passing,
		Each: func(raw json.RawMessage) error {
			var r control.ExecReply
			if err := json.Unmarshal(raw, &r); err != nil {
				return err
			}
			if r.Exit != nil {
				code = *r.Exit
			}
			return nil
		},
	})
	if err != nil {
		return refusal(err)
	}
	if code != 0 {
		return &exit{code: code}
	}
	return nil
}

// passSignals hands the signals that come from now on to a call.
func passSignals() (lines <-chan any, stop func()) {
	got, told, done := make(chan os.Signal, 8), make(chan any), make(chan struct{})
	signal.Notify(got, forwarded()...)
	go func() {
		for {
			select {
			case s := <-got:
				n, ok := s.(syscall.Signal)
				if !ok {
					continue
				}
				select {
				case told <- control.Signal{Signal: int(n)}:
				case <-done:
					return
				}
			case <-done:
				return
			}
		}
	}()
	return told, func() { signal.Stop(got); close(done) }
}
