// Command homeward runs networks whose replies must find their way home: one
// scenario file, for real in network namespaces or simulated, and a report.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/homeward-lab/homeward/reports/check"
)

// The main goroutine keeps the thread-group leader for itself: a thread that
// enters a network namespace must never be the leader, which cannot end and
// would pin the namespace.
func init() { runtime.LockOSThread() }

func main() { os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr)) }

// Exit codes, which scripts may rely on; those that follow from verdicts are check.ExitCode.
const (
	exitOK          = check.ExitPass
	exitUsage       = 2               // bad usage or bad file
	exitLack        = 3               // the machine or the engine lacks something
	exitError       = check.ExitError // a check could not be judged
	exitInterrupted = 130
)

// exit is an error that carries its exit code. An empty message prints nothing:
// everything has been said.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}
func (e *exit) Unwrap() error { return e.err }

func usage(err error) error             { return &exit{exitUsage, err} }
func usagef(f string, a ...any) error   { return &exit{exitUsage, fmt.Errorf(f, a...)} }
func lacking(err error) error           { return &exit{exitLack, err} }
func lackingf(f string, a ...any) error { return &exit{exitLack, fmt.Errorf(f, a...)} }
func judgeless(err error) error         { return &exit{exitError, err} }

// output remembers that it could not be written.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// Main runs one command line and returns its exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	askGrant()
	ctx, stop := watch(withArgs(context.Background(), args))
	defer stop()

	out := &output{w: stdout}
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var e *exit
	switch {
	case out.err != nil: // nobody can have read the answer, whatever it was
		e = &exit{exitError, out.err}
	case err == nil:
		return exitOK
	case !errors.As(err, &e): // cobra's own: unknown flag, wrong number of arguments
		e = &exit{exitUsage, fmt.Errorf("%w\n%s --help says how it is used", err, cmd.CommandPath())}
	}
	if ctx.Err() != nil && e.code != check.ExitFail { // a verdict stands
		e.code = exitInterrupted
	}
	if msg := e.Error(); msg != "" {
		fmt.Fprintln(stderr, msg)
	}
	return e.code
}
