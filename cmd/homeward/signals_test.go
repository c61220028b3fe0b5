//go:build linux

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/internal/need"
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
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		t.Error("still there 20 s after SIGTERM")
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
