package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// together is how close two signals are that somebody sent once: timeout(1) and
// CI runners signal a process and then its group.
const together = 100 * time.Millisecond

// lifeline decides what a signal does. Where there is nothing to lose it ends
// the process. Once a run has begun, the first one ends the context, so that
// the run writes what it knows; the second ends the process at once, and the
// kernel takes the lab down.
type lifeline struct {
	begun atomic.Bool
	lent  atomic.Bool // signals are for a program that runs elsewhere
}

type lifelineKey struct{}

// watch starts listening. The context ends with a cause that names the signal.
func watch(parent context.Context) (ctx context.Context, stop func()) {
	l := &lifeline{}
	ctx, cancel := context.WithCancelCause(context.WithValue(parent, lifelineKey{}, l))
	got := make(chan os.Signal, 8)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if s != syscall.SIGHUP || !signal.Ignored(s) { // nohup(1)
			signal.Notify(got, s)
		}
	}
	go l.listen(got, cancel)
	return ctx, func() { signal.Stop(got) }
}

func (l *lifeline) listen(got <-chan os.Signal, cancel context.CancelCauseFunc) {
	var first time.Time
	for s := range got {
		switch {
		case l.lent.Load(): // somebody else's
		case !l.begun.Load():
			os.Exit(exitInterrupted)
		case first.IsZero():
			first = time.Now()
			cancel(interruption(s))
		case time.Since(first) > together:
			os.Exit(exitInterrupted)
		}
	}
}

func interruption(s os.Signal) error {
	name := s.String()
	if n, ok := s.(syscall.Signal); ok {
		name = signalName(n)
	}
	return errors.New("interrupted by " + name)
}

// begin says that from here on there is something to lose.
func begin(ctx context.Context) {
	if l, ok := ctx.Value(lifelineKey{}).(*lifeline); ok {
		l.begun.Store(true)
	}
}

// lend leaves signals to somebody else from here on.
func lend(ctx context.Context) {
	if l, ok := ctx.Value(lifelineKey{}).(*lifeline); ok {
		l.lent.Store(true)
	}
}
