//go:build linux

package main

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
)

// One signal ends a command that has nothing to lose, also where it waits for a
// file that never comes.
func TestSignalEndsWhatOnlyReads(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := homeward("validate", pipe)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // signalled: how it says so depends on how far it came
	}()
	time.Sleep(200 * time.Millisecond) // most often it waits for the pipe by now
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		t.Error("still there a minute after SIGTERM")
	}
}

// A signal that comes twice at once, as timeout(1) sends it, is one: the run
// still writes what it knows.
func TestSignalSentTwiceIsOne(t *testing.T) {
	need.Root(t)
	before := machine(t)
	dir := filepath.Join(t.TempDir(), "out")
	cmd := base(dir, "--set", "one.flows=400", "--set", "one.rate=50")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Its results' directory says that it has begun.
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "overlapping_branches")); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	for range 2 {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	if got := code(cmd.Wait()); got != exitInterrupted {
		t.Errorf("exit code %d, want %d", got, exitInterrupted)
	}
	if _, err := os.Stat(filepath.Join(dir, "summary.json")); err != nil {
		t.Error(err)
	}
	clean(t, before)
}

// A simulated run that is interrupted writes what it knows, and says that it is
// not all.
func TestSignalLeavesPartialResults(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	cmd := homeward("run", "testdata/endless.yaml", "--on", "sim", "-o", out)
	var stdout strings.Builder
	cmd.Stdout = &stdout
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// No terminal is told more than that traffic begins.
	const begun = "endless/base: 22 flows\n"
	line := make([]byte, len(begun))
	if _, err := io.ReadFull(said, line); err != nil || string(line) != begun {
		t.Errorf("it says %q (%v), want %q", line, err, begun)
	}
	time.Sleep(2 * time.Second) // the short flows take less than one of virtual time
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if more, err := io.ReadAll(said); err != nil || len(more) > 0 {
		t.Errorf("it says more: %q (%v)", more, err)
	}
	if got := code(cmd.Wait()); got != exitInterrupted {
		t.Errorf("exit code %d, want %d", got, exitInterrupted)
	}
	if want := "endless/base: interrupted by SIGINT; its results are partial"; !strings.Contains(stdout.String(), want) {
		t.Errorf("it says %q, want %q", stdout.String(), want)
	}
	r, err := record.ReadRun(filepath.Join(out, "endless", "base", "sim"))
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]int{}
	for _, f := range r.Flows {
		by[f.Traffic+" "+string(f.Result)]++
	}
	if want := map[string]int{"short ok": 20, "endless error": 2}; !r.Run.Partial || !maps.Equal(by, want) {
		t.Errorf("partial %v, flows %v; want %v", r.Run.Partial, by, want)
	}
}
