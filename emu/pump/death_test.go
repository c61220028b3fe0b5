package pump_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/internal/need"
)

// labWord has the test binary hold a lab with a pump until it is killed.
const labWord = "hold-a-lab"

func hold() error {
	p := twoHosts(fixed(20 * ms))
	l, err := keeper.Up(context.Background(), p, nil)
	if err != nil {
		return err
	}
	w, err := pump.Start(l.Spawn, p, pump.Options{Exe: "/proc/self/exe", Args: []string{pumpWord}})
	if err != nil {
		return err
	}
	fmt.Println(w.Pid())
	select {}
}

// SIGKILL of the process that holds a lab takes the pump with it, and all of the
// lab: nothing below this process stays.
func TestLiveParentKilled(t *testing.T) {
	need.Root(t)
	before, err := keeper.TakeSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", labWord)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var pid int
	if _, scan := fmt.Sscan(line, &pid); err != nil || scan != nil {
		t.Fatalf("%q, %v", line, errors.Join(err, scan))
	}
	if err := unix.Kill(pid, 0); err != nil {
		t.Fatalf("the pump does not run: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for deadline := time.Now().Add(time.Minute); alive(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the pump %d lives on", pid)
		}
	}
	if left, err := keeper.Leftovers(before); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// alive says whether a process runs; one that nobody has waited for does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// "pid (name) state …"; a name may hold anything but the last parenthesis.
	state := b[bytes.LastIndexByte(b, ')')+2]
	return state != 'Z' && state != 'X'
}

// A pump that is killed is an error that says so, and the lab still closes.
func TestLivePumpKilled(t *testing.T) {
	need.Root(t)
	p := twoHosts(fixed(ms))
	l, err := keeper.Up(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pump.Start(l.Spawn, p, pump.Options{Exe: "/proc/self/exe", Args: []string{pumpWord}})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(w.Pid(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Counts(); err == nil {
		t.Error("counters of a pump that is dead")
	}
	if err := w.Set(linkID, impair.AB, impair.Config{}); err == nil {
		t.Error("a pump that is dead was changed")
	}
	if err := w.Stop(); err == nil {
		t.Error("a pump that is dead was stopped without an error")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// A child that cannot serve says why.
func TestLiveStartFails(t *testing.T) {
	need.Root(t)
	p := twoHosts(fixed(ms))
	l, err := keeper.Up(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, o := range map[string]pump.Options{
		"no such program": {Exe: "/nonexistent"},
		"not a pump":      {Exe: "/bin/false"},
	} {
		if _, err := pump.Start(l.Spawn, p, o); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			t.Log(err)
		}
	}
}
