//go:build linux

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/homeward-lab/homeward/emu/userns"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/compare"
	"github.com/homeward-lab/homeward/reports/record"
)

// nobody is who runs without any right.
const nobody = 65534

// program copies this test binary to where anybody may run it, beside a directory
// that the user nobody may write to.
func program(t *testing.T) (exe, out string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "homeward")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	exe, out = filepath.Join(dir, "homeward"), filepath.Join(dir, "out")
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(exe, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(to.Close(), os.Chmod(dir, 0o755), os.Mkdir(out, 0o755), os.Chown(out, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	return exe, out
}

// TestRootless: who is not root runs labs in a user namespace, with the same
// verdicts and the same fate of every flow as root.
func TestRootless(t *testing.T) {
	need.Root(t)
	exe, out := program(t)
	call := func(user uint32, args ...string) (string, int) {
		cmd := exec.Command(exe, args...)
		cmd.Dir, cmd.Env = out, append(os.Environ(), "HOMEWARD_TEST_MAIN=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		err := cmd.Run()
		if err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return said.String(), cmd.ProcessState.ExitCode()
	}
	doctor, code := call(nobody, "doctor")
	if code == exitLack && strings.Contains(doctor, userns.ErrDenied.Error()) {
		need.Proven(t, "userns", userns.ErrDenied)
	}
	if code != 0 || !strings.Contains(doctor, "ok       userns") && !strings.Contains(doctor, "ok      userns") {
		t.Fatalf("doctor: exit code %d\n%s", code, doctor)
	}
	var results [2]*record.Results
	for i, user := range []uint32{nobody, 0} {
		dir := filepath.Join(out, []string{"rootless", "root"}[i])
		said, code := call(user, "run", "overlapping_branches", "--variant", "base", "--variant", "routes_only", "--io", "plain", "--out", dir)
		if code != 0 {
			t.Fatalf("user %d: exit code %d\n%s", user, code, said)
		}
		r, err := record.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		results[i] = r
	}
	all, err := compare.Results(results[0], results[1], compare.Runs)
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %d pairs", err, len(all))
	}
	for _, r := range all {
		for i := range r.Differences {
			t.Errorf("without root and with it: %s", &r.Differences[i])
		}
	}
	if said, code := call(nobody, "run", "overlapping_branches", "--variant", "base", "--set", "shop.count=0"); code != exitUsage {
		t.Errorf("a mistake: exit code %d\n%s", code, said)
	}
}
