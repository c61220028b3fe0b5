package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/branch"
	"github.com/homeward-lab/homeward/internal/need"
)

// parent is a process whose only child is an agent in its own namespace. It
// says the child's pid and waits to be killed.
func parent() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	spawn := func(_ string, cmd *exec.Cmd) error {
		cmd.Env = append(os.Environ(), childEnv+"=fake")
		return cmd.Start()
	}
	a, err := Start(spawn, onePath(nil).Servers[0], Options{Exe: exe, IO: IOPlain, UplinkMAC: mac(0x32), GatewayMAC: mac(0x31)})
	if err != nil {
		return err
	}
	fmt.Println(a.Pid())
	<-a.Done()
	return a.Err()
}

// ends waits for a process that is not our child.
func ends(t *testing.T, pidfd int) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	if err := afpacket.Wait(fds, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if fds[0].Revents == 0 {
		t.Error("the agent still runs 10 s after its parent was killed")
	}
}

// An agent whose parent is killed ends by itself, without the parent-death
// signal that the keeper adds.
func TestAgentEndsWithItsParent(t *testing.T) {
	need.Root(t)
	l := raise(t, "fake", nil, IOPlain, branch.IOPlain)
	if _, err := l.agent.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.spawn("parent")("server", cmd); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the parent said nothing: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ends(t, pidfd)
	if err := cmd.Wait(); err == nil {
		t.Error("the parent ended in order, want killed")
	}
}

// A closed stdin ends the child with an error that Done and Err report.
func TestClosedStdinEndsTheChild(t *testing.T) {
	need.Root(t)
	l := raise(t, "fake", nil, IOPlain, branch.IOPlain)
	if err := l.agent.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	<-l.agent.Done()
	if err := l.agent.Err(); err == nil || !strings.Contains(err.Error(), ErrParentGone.Error()) {
		t.Errorf("Err() = %v, want it to quote %q", err, ErrParentGone)
	}
	if _, err := l.agent.Stop(t.Context()); err == nil {
		t.Error("Stop after an unexpected exit = nil, want its reason")
	}
}

// A killed child is an unexpected exit with its reason.
func TestKilledChildIsReported(t *testing.T) {
	need.Root(t)
	l := raise(t, "fake", nil, IOPlain, branch.IOPlain)
	if err := l.agent.Err(); err != nil {
		t.Errorf("Err() of a running agent = %v, want nil", err)
	}
	if err := unix.Kill(l.agent.Pid(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-l.agent.Done()
	if err := l.agent.Err(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Err() = %v, want it to say killed", err)
	}
}

// What a child says on stderr is in Start's error, and a child that says
// nothing useful does not hold Start up for ever.
func TestStartSaysWhyItFailed(t *testing.T) {
	need.Root(t)
	l := raise(t, "fake", nil, IOPlain, branch.IOPlain)
	bad := l.plan.Servers[0]
	bad.Config.OnRamps = nil
	_, err := Start(l.spawn("fake"), bad, l.options(t, IOPlain))
	if err == nil || !strings.Contains(err.Error(), errFake.Error()) {
		t.Errorf("Start with a bad configuration = %v, want %q in it", err, errFake)
	}
	bad = l.plan.Servers[0]
	bad.Interface = "nowhere"
	_, err = Start(l.spawn("fake"), bad, l.options(t, IOPlain))
	if err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
		t.Errorf("Start with a bad interface = %v, want its name in it", err)
	}
	o := l.options(t, IOPlain)
	o.Hello = 200 * time.Millisecond
	_, err = Start(l.spawn("silent"), l.plan.Servers[0], o)
	if err == nil || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("Start of a silent child = %v, want not ready", err)
	}
}

// Reconfigure reaches the core, its refusal comes back, and Stop is
// idempotent.
func TestReconfigureAndStop(t *testing.T) {
	need.Root(t)
	l := raise(t, "fake", nil, IOPlain, branch.IOPlain)
	next := l.plan.Servers[0].Config
	next.Epoch = 5
	if err := l.agent.Reconfigure(t.Context(), next); err != nil {
		t.Errorf("Reconfigure = %v, want nil", err)
	}
	next.Epoch = 4
	if err := l.agent.Reconfigure(t.Context(), next); err == nil || !strings.Contains(err.Error(), "epoch is 4") {
		t.Errorf("Reconfigure to an older epoch = %v, want the core's refusal", err)
	}
	first, err := l.agent.Stop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := l.agent.Stop(t.Context())
	if err != nil || again.MaxRSS != first.MaxRSS || first.MaxRSS <= 0 {
		t.Errorf("second Stop = %+v, %v, want the first's %+v", again, err, first)
	}
	if err := l.agent.Reconfigure(t.Context(), hub.Config{}); err == nil {
		t.Error("Reconfigure after Stop = nil, want an error")
	}
}

// A stop that may not take any time kills the child.
func TestStopIsBounded(t *testing.T) {
	need.Root(t)
	l := raise(t, "fake", nil, IOPlain, branch.IOPlain)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.agent.Stop(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Stop = %v, want context.Canceled or an orderly end", err)
	}
	select {
	case <-l.agent.Done():
	default:
		t.Error("the child runs on after Stop")
	}
}
