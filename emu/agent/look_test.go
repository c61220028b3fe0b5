package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/branch"
	"github.com/homeward-lab/homeward/internal/need"
)

// A server that pauses does not answer in time and is left alone; what it
// answers later is not taken for the answer to a later question.
func TestLookAtOneThatPauses(t *testing.T) {
	need.Root(t)
	l := raise(t, "fake", nil, IOPlain, branch.IOPlain)
	a := l.agent
	if look, err := a.Look(t.Context()); err != nil || len(look.Sessions) != 2 {
		t.Fatalf("look: %+v, %v, want the fake's two sessions", look, err)
	}
	if err := unix.Kill(a.Pid(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := a.Look(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("look at one that pauses: %v", err)
		}
		cancel()
	}
	if err := unix.Kill(a.Pid(), unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if look, err := a.Look(t.Context()); err != nil || look.Question != 5 {
		t.Errorf("look: question %d, %v, want the fifth", look.Question, err)
	}
	if err := unix.Kill(a.Pid(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-a.Done()
	if _, err := a.Look(t.Context()); err == nil {
		t.Error("look at one that is gone: no error")
	}
}
