//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/internal/need"
)

// byHand gives the test labs of its own: none of the machine's is seen.
func byHand(t *testing.T) {
	t.Helper()
	need.Root(t)
	dir := filepath.Join(t.TempDir(), "rt")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(control.RuntimeEnv, dir)
	t.Cleanup(func() {
		if out, err := homeward("down", "--all").CombinedOutput(); err != nil {
			t.Errorf("down --all: %v\n%s", err, out)
		}
		if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// must runs the program and returns what it said.
func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := homeward(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("homeward %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// keeperOf is the process that keeps a lab.
func keeperOf(t *testing.T, name string) *os.Process {
	t.Helper()
	labs, _, err := control.Labs()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range labs {
		if l.Name == name {
			p, err := l.Keeper()
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
	}
	t.Fatalf("no lab %s", name)
	return nil
}

// below are the processes below one.
func below(parent int) []int {
	children := map[int][]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if _, of, ok := status(pid); ok {
			children[of] = append(children[of], pid)
		}
	}
	all := slices.Clone(children[parent])
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// status is the state of a process and its parent (proc_pid_stat(5)), if there is one.
func status(pid int) (state string, parent int, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, false // it has ended
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 2 {
		return "", 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return fields[0], parent, err == nil
}

// running says whether a process has not ended.
func running(pid int) bool {
	state, _, ok := status(pid)
	return ok && state != "Z"
}

// end waits until none of the processes runs any more.
func end(t *testing.T, pids []int) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var left []string
		for _, pid := range pids {
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
				left = append(left, fmt.Sprintf("%d (%s)", pid, exe))
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("still running: %s", strings.Join(left, ", "))
		}
	}
}

// SIGKILL of the keeper, with programs of the user's in the lab, one of them far
// removed, and a link that was impaired meanwhile: all of it goes, the next command says so, and the name is free.
func TestKeeperKilled(t *testing.T) {
	byHand(t)
	before := machine(t)
	must(t, "up", "overlapping_branches")
	must(t, "impair", "web", "delay=1ms")
	must(t, "exec", "web", "--", "sh", "-c", "setsid sh -c 'sleep 1000 & sleep 1000' >/dev/null 2>&1 </dev/null &")
	capture := homeward("capture", "-w", filepath.Join(t.TempDir(), "c.pcapng"))
	said, err := capture.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := capture.Start(); err != nil {
		t.Fatal(err)
	}
	// A capture that has not begun finds no lab, which is another error.
	if line, err := bufio.NewReader(said).ReadString('\n'); !strings.HasPrefix(line, "recording") {
		t.Fatalf("capture said %q, %v", line, err)
	}
	k := keeperOf(t, "overlapping_branches")
	var inside []int
	for limit := time.Now().Add(time.Minute); len(inside) < 1+4+1+3; { // itself, four servers, the pump, a shell and two sleeps
		if time.Now().After(limit) {
			t.Fatalf("%d processes in the lab, want nine", len(inside))
		}
		inside = append(below(k.Pid), k.Pid)
	}
	if err := k.Kill(); err != nil {
		t.Fatal(err)
	}
	end(t, inside)
	if err := capture.Wait(); code(err) != exitError {
		t.Errorf("capture of a killed lab: %v, want exit code %d", err, exitError)
	}
	clean(t, before)
	out, err := homeward("ps").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "lab overlapping_branches is gone: its keeper died") {
		t.Errorf("ps after the keeper was killed: %v\n%s", err, out)
	}
	must(t, "up", "overlapping_branches")
}

// homewardShell runs a script in which "$0" is the program, and "$1" the first of args.
func homewardShell(script string, args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		exe = "/proc/self/exe" // a script that cannot run fails its test
	}
	cmd := exec.Command("sh", append([]string{"-c", script, exe}, args...)...)
	cmd.Env = append(os.Environ(), "HOMEWARD_TEST_MAIN=1")
	return cmd
}

// SIGKILL of the command that brings the lab up, at parts of the time that it takes:
// there is no lab.
func TestUpKilled(t *testing.T) {
	byHand(t)
	before := machine(t)
	began := time.Now()
	must(t, "up", "merger")
	took := time.Since(began)
	must(t, "down", "merger")
	for _, part := range []float64{0.01, 0.2, 0.5, 0.7} {
		after := time.Duration(part * float64(took))
		for !killedUp(t, after) { // it was faster this time
			must(t, "down", "merger")
			after /= 2
		}
		clean(t, before)
		if out := must(t, "ps", "--json"); !strings.Contains(out, "[]") {
			t.Errorf("up was killed after %s, and a lab is there:\n%s", after, out)
		}
	}
}

// killedUp kills the command that brings a lab up, if it has not ended before.
func killedUp(t *testing.T, after time.Duration) bool {
	t.Helper()
	cmd := homeward("up", "merger")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	_ = cmd.Process.Kill() // fails only if it has ended and somebody has waited for it
	return cmd.Wait() != nil
}

// SIGKILL of the command whose program runs in a node ends the program.
func TestExecKilled(t *testing.T) {
	byHand(t)
	must(t, "up", "overlapping_branches")
	k := keeperOf(t, "overlapping_branches")
	before := below(k.Pid)
	cmd := homeward("exec", "web", "--", "sh", "-c", "trap '' HUP; echo on; while :; do sleep 1; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	var own []int
	for _, pid := range below(k.Pid) {
		if !slices.Contains(before, pid) {
			own = append(own, pid)
		}
	}
	if len(own) == 0 {
		t.Fatal("the program is not below the keeper")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	end(t, own[:1])
	if got := must(t, "ps"); !strings.Contains(got, "ready") {
		t.Errorf("after its command was killed the lab is\n%s", got)
	}
}

// SIGKILL of an edge server: the lab says so, what is left serves, and down
// leaves nothing.
func TestServerKilledInALab(t *testing.T) {
	byHand(t)
	before := machine(t)
	must(t, "up", "overlapping_branches")
	servers := below(keeperOf(t, "overlapping_branches").Pid)
	if len(servers) != 4 {
		t.Fatalf("%d processes, want four servers", len(servers))
	}
	if err := unix.Kill(servers[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	end(t, servers[:1])
	got := ""
	for limit := time.Now().Add(time.Minute); !strings.Contains(got, "degraded: "); got = must(t, "ps") {
		if time.Now().After(limit) {
			t.Fatalf("with a server killed, ps says\n%s", got)
		}
	}
	if got := must(t, "inspect"); !strings.Contains(got, "signal: killed") {
		t.Errorf("with a server killed, inspect says\n%s", got)
	}
	out, err := homeward("down").CombinedOutput()
	if code(err) != exitError || !strings.Contains(string(out), "signal: killed") {
		t.Errorf("down: %v\n%s\nwant exit code %d and the server's end", err, out, exitError)
	}
	clean(t, before)
}

// A keeper that is asked in order by SIGTERM takes its lab down.
func TestKeeperTerminated(t *testing.T) {
	byHand(t)
	before := machine(t)
	must(t, "up", "overlapping_branches")
	if err := keeperOf(t, "overlapping_branches").Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	clean(t, before)
	if labs, gone, err := control.Labs(); len(labs)+len(gone) > 0 || err != nil {
		t.Errorf("after SIGTERM: %v, %v, %v, want nothing", labs, gone, err)
	}
}

// Ctrl-C while a lab comes up: exit 130, no lab.
func TestUpInterrupted(t *testing.T) {
	byHand(t)
	before := machine(t)
	cmd := homeward("up", "merger")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if begun(cmd.Process.Pid, keeperCommand) == 0 {
		t.Error("there is no keeper")
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if got := code(cmd.Wait()); got != exitInterrupted {
		t.Errorf("exit code %d, want %d", got, exitInterrupted)
	}
	clean(t, before)
	if labs, gone, err := control.Labs(); len(labs)+len(gone) > 0 || err != nil {
		t.Errorf("after Ctrl-C: %v, %v, %v, want nothing", labs, gone, err)
	}
}

// SIGKILL of the other commands, while each is at work, leaves the lab as it was.
func TestCommandsKilled(t *testing.T) {
	byHand(t)
	must(t, "up", "overlapping_branches")
	k := keeperOf(t, "overlapping_branches")
	files := len(openFiles(t, k.Pid))
	for _, args := range [][]string{
		{"traffic"}, {"events", "--follow"}, {"inspect"}, {"check"},
		{"capture", "-w", filepath.Join(t.TempDir(), "c.pcapng")},
	} {
		cmd := homeward(args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(150 * time.Millisecond)
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	}
	var left []string
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); time.Sleep(50 * time.Millisecond) {
		if left = openFiles(t, k.Pid); len(left) <= files {
			break
		}
	}
	if len(left) > files {
		t.Errorf("the keeper has %d open files, had %d: %v", len(left), files, left)
	}
	if got := must(t, "traffic", "same"); !strings.Contains(got, "same     3   3") {
		t.Errorf("traffic afterwards:\n%s", got)
	}
}

// openFiles are what a process has open, but for namespaces and the runtime's own.
func openFiles(t *testing.T, pid int) []string {
	t.Helper()
	var all []string
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if err != nil {
			continue // closed meanwhile
		}
		all = append(all, to)
	}
	return all
}

// shellIn opens a shell in a node on a terminal of this test's.
func shellIn(t *testing.T, node string) (keyboard *os.File, cmd *exec.Cmd) {
	t.Helper()
	outer, inner, err := pseudoTerminal()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(inner.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 41, Col: 123}); err != nil {
		t.Fatal(err)
	}
	cmd = homeward("shell", node)
	cmd.Env = append(cmd.Env, "SHELL=/bin/bash", "PS1=>", "TERM=dumb")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inner, inner, inner
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	inner.Close()
	t.Cleanup(func() { outer.Close() })
	return outer, cmd
}

// expect reads until text is there.
func expect(t *testing.T, from *os.File, text string) {
	t.Helper()
	var said bytes.Buffer
	buf := make([]byte, 4096)
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); {
		if err := from.SetReadDeadline(limit); err != nil && !errors.Is(err, os.ErrNoDeadline) {
			t.Fatal(err)
		}
		n, err := from.Read(buf)
		said.Write(buf[:n])
		if strings.Contains(said.String(), text) {
			return
		}
		if err != nil {
			break
		}
	}
	t.Fatalf("no %q in:\n%s", text, &said)
}

// A shell has a terminal of its own: the window's size, job control, Ctrl-C, and
// the exit code.
func TestShell(t *testing.T) {
	need.Tool(t, "bash")
	byHand(t)
	must(t, "up", "overlapping_branches")
	keyboard, cmd := shellIn(t, "shop.2.till")
	type_ := func(line string) {
		t.Helper()
		if _, err := keyboard.WriteString(line); err != nil {
			t.Fatal(err)
		}
	}
	type_("echo at=$HOMEWARD_NODE\n")
	expect(t, keyboard, "at=overlapping_branches/shop.2.till")
	type_("stty size\n")
	expect(t, keyboard, "41 123")
	type_("ip -brief address show eth0\n")
	expect(t, keyboard, "10.0.1.5/24")
	type_("sleep 1000; echo ended=$?\n")
	time.Sleep(300 * time.Millisecond)
	type_("\x03") // Ctrl-C
	type_("echo after=$?\n")
	expect(t, keyboard, "after=130")
	if err := unix.IoctlSetWinsize(int(keyboard.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 77}); err != nil {
		t.Fatal(err)
	}
	type_("until stty size | grep '^30 7[7]$'; do sleep 0.1; done\n")
	expect(t, keyboard, "30 77")
	type_("set -o | grep monitor\n")
	expect(t, keyboard, "on")
	type_("exit 9\n")
	go io.Copy(io.Discard, keyboard)
	if got := code(cmd.Wait()); got != 9 {
		t.Errorf("exit code %d, want the shell's 9", got)
	}
}

// Closing the terminal's window ends the shell in the lab.
func TestShellHangsUp(t *testing.T) {
	need.Tool(t, "bash")
	byHand(t)
	must(t, "up", "overlapping_branches")
	k := keeperOf(t, "overlapping_branches")
	before := below(k.Pid)
	keyboard, cmd := shellIn(t, "web")
	if _, err := keyboard.WriteString("echo on=$((1+1))\n"); err != nil {
		t.Fatal(err)
	}
	expect(t, keyboard, "on=2")
	var own []int
	for _, pid := range below(k.Pid) {
		if !slices.Contains(before, pid) {
			own = append(own, pid)
		}
	}
	keyboard.Close()
	end(t, own)
	_ = cmd.Wait() // hung up
}
