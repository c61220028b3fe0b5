package agent

import (
	"context"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/branch"
	"github.com/homeward-lab/homeward/internal/need"
)

// A server that stands still while a frame waits for it says so: for how long, and
// when it came to it.
func TestLateIsTold(t *testing.T) {
	need.Root(t)
	l := raise(t, "hub", nil, IOPlain, branch.IOPlain)
	if _, err := l.agent.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := l.options(t, IOPlain)
	o.Realtime = true
	a, err := Start(l.spawn("hub"), l.plan.Servers[0], o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Stop(context.WithoutCancel(t.Context())) })
	client, server := l.connect(t, "host", hostAddr, "origin", originAddr)
	if err := unix.Kill(a.Pid(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	const still = 30 * time.Millisecond
	time.Sleep(still)
	from := monotonic(t) - o.Base
	if err := unix.Kill(a.Pid(), unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	final, err := a.Stop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	to := monotonic(t) - o.Base // a server notes it when it has sent, which the other end may see before
	for _, m := range final.Late.Moments {
		// The frame came a little after the client wrote: half of the time is plenty.
		if m.For >= int64(still/2) && m.At >= from && m.At <= to {
			return
		}
	}
	t.Errorf("told %+v, want a moment between %d and %d that lasted %v or more", final.Late, from, to, still/2)
}

// A server whose times do not count is not told when frames come, and says that it
// knows nothing.
func TestLateUnknown(t *testing.T) {
	need.Root(t)
	l := raise(t, "hub", nil, IOPlain, branch.IOPlain)
	final, err := l.agent.Stop(t.Context())
	if err != nil || final.Late.Least != 0 || final.Late.Moments != nil {
		t.Errorf("told %+v, %v, want nothing", final.Late, err)
	}
}
