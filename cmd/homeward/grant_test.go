//go:build linux

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/internal/need"
)

// Who is not root has the eBPF dataplane while root grants it, and nobody else has.
func TestGrant(t *testing.T) {
	need.BPF(t)
	exe, out := program(t)
	socket := filepath.Join(filepath.Dir(exe), "grant.sock")
	command := func(user uint32, args ...string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.Command(exe, args...)
		cmd.Dir, cmd.Env = out, append(os.Environ(), "HOMEWARD_TEST_MAIN=1", grantEnv+"="+socket)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}, Pdeathsig: syscall.SIGKILL}
		said := new(bytes.Buffer)
		cmd.Stdout, cmd.Stderr = said, said
		return cmd, said
	}
	call := func(user uint32, args ...string) string {
		cmd, said := command(user, args...)
		_ = cmd.Run() // what it said tells
		return said.String()
	}
	if said := call(nobody, "grant"); !strings.Contains(said, "sudo homeward grant") {
		t.Errorf("grant without root: %s", said)
	}
	server, _ := command(0, "grant", "--user", strconv.Itoa(nobody))
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		}
	}
	works := regexp.MustCompile(`(?m)^ok +emu-ebpf `)
	switch said := call(nobody, "doctor"); {
	case strings.Contains(said, "denied to all but root"):
		need.Proven(t, "userns", exec.ErrNotFound)
	case strings.Contains(said, "wants Linux 6.9"):
		need.Proven(t, "bpf", exec.ErrNotFound)
	case !works.MatchString(said):
		t.Fatalf("doctor with a grant:\n%s", said)
	}
	if said := call(nobody, "run", "overlapping_branches", "--variant", "base", "--on", "emu-ebpf", "--out", filepath.Join(out, "granted")); !strings.Contains(said, "pass  overlapping_branches/base") {
		t.Errorf("run with a grant:\n%s", said)
	}
	if said := call(nobody-1, "doctor"); works.MatchString(said) || !strings.Contains(said, "has no grant here") {
		t.Errorf("another user's doctor:\n%s", said)
	}
	if err := server.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait()
	if said := call(nobody, "doctor"); works.MatchString(said) || !strings.Contains(said, "not for this user") {
		t.Errorf("doctor when the grant is over:\n%s", said)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket is still there")
	}
}
