package first_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/first"
	"github.com/homeward-lab/homeward/internal/need"
)

const asFirst = "run-as-first"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asFirst {
		code, err := first.Main(os.Args[2:])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 99
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func start(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	need.Root(t)
	cmd := exec.Command("/proc/self/exe", asFirst, "/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: first.Cloneflags}
	return cmd
}

// The exit code is the program's; it sees its own processes alone; orphans are
// waited for and do not end it; signals reach it.
func TestMainIsTheProgram(t *testing.T) {
	for _, c := range []struct {
		script, want string
		code         int
	}{
		{"exit 7", "", 7},
		{"kill -9 $$", "", 137},
		{"set -- /proc/[0-9]*; echo $#", "2", 0}, // it and the shell
		{"(sleep 0.05 &) ; (true &) ; sleep 0.2; echo here", "here", 0},
	} {
		cmd := start(t, c.script)
		out, err := cmd.Output()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(out)); got != c.want || cmd.ProcessState.ExitCode() != c.code {
			t.Errorf("%s: %q and exit code %d, want %q and %d", c.script, got, cmd.ProcessState.ExitCode(), c.want, c.code)
		}
	}
	cmd := start(t, "trap 'exit 5' TERM; echo on; while :; do sleep 0.02; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its state says it all
	if got := cmd.ProcessState.ExitCode(); got != 5 {
		t.Errorf("after SIGTERM: exit code %d, want 5", got)
	}
}

// SIGKILL of the first process ends what has left the program's session too.
func TestKilledTakesAll(t *testing.T) {
	cmd := start(t, "setsid sleep 54322 & setsid sh -c 'sleep 54322 & wait' & sleep 0.1; echo on; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if n := sleeping(t); n != 2 {
		t.Errorf("%d sleep, want two", n)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	for limit := time.Now().Add(5 * time.Second); sleeping(t) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("a process outlives the first of its namespace")
		}
	}
}

func sleeping(t *testing.T) int {
	t.Helper()
	out, _ := exec.Command("pgrep", "-fx", "sleep 54322").Output() // 1 if none
	return len(strings.Fields(string(out)))
}
