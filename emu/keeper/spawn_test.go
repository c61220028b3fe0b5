package keeper_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
)

// roleEnv makes the test binary play a part instead of running tests.
const roleEnv = "HOMEWARD_KEEPER_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleEnv); role {
	case "":
		os.Exit(m.Run())
	case "child", "stubborn":
		playChild(role == "stubborn")
	case "keeper":
		playKeeper()
	case "limited":
		playLimited()
	case "unprivileged":
		_, err := keeper.Up(context.Background(), star(2), nil)
		fmt.Println(errors.Is(err, os.ErrPermission), err)
	}
}

// play is a command that runs the test binary in a role.
func play(role string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

// playChild says where it is, and stays until its keeper goes. A stubborn one
// refuses SIGTERM.
func playChild(stubborn bool) {
	gone := keeper.Lifeline()
	if stubborn {
		signal.Ignore(syscall.SIGTERM)
	}
	where, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		where = err.Error()
	}
	fmt.Println(where)
	<-gone
}

// playKeeper brings up a lab with children, has its namespaces numbered in the
// namespace that it was started in, and waits to be killed.
func playKeeper() {
	check := func(err error) {
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	lab, err := keeper.Up(context.Background(), star(20), nil)
	check(err)
	check(lab.Watch())
	var pids []string
	for _, node := range []string{"router", "host.1", "host.2"} {
		cmd := exec.Command("sleep", "600")
		if node == "host.1" {
			cmd = play("stubborn")
		}
		check(lab.Spawn(node, cmd))
		pids = append(pids, strconv.Itoa(cmd.Process.Pid))
	}
	fmt.Println(strings.Join(pids, " "))
	select {}
}

// spawn starts a command with its output piped, and reads its first line.
func spawn(t *testing.T, lab *keeper.Lab, node string, cmd *exec.Cmd) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	if err := lab.Spawn(node, cmd); err != nil {
		t.Fatal(err)
	}
	w.Close()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func running(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestSpawnIsInsideAndOutlivesThreads(t *testing.T) {
	need.Root(t)
	labtest.Clean(t)
	lab := labtest.Up(t, star(3))
	cmd := play("child")
	ino, err := keeper.Inode(lab.NS("host.1"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := spawn(t, lab, "host.1", cmd), fmt.Sprintf("net:[%d]", ino); got != want {
		t.Errorf("child is in %s, want %s", got, want)
	}
	// Threads come and go; only the keeper's end may end the child.
	for range 50 {
		done := make(chan struct{})
		go func() {
			runtime.LockOSThread() // not unlocked: the thread ends
			close(done)
		}()
		<-done
	}
	time.Sleep(50 * time.Millisecond)
	if !running(cmd.Process.Pid) {
		t.Error("child has ended before its keeper")
	}
	if err := lab.Close(); err != nil {
		t.Fatal(err)
	}
	if running(cmd.Process.Pid) {
		t.Error("child survives Close")
	}
	if err := lab.Spawn("host.1", play("child")); !errors.Is(err, keeper.ErrClosed) {
		t.Errorf("Spawn after Close: got %v, want ErrClosed", err)
	}
}

func TestWaitIsTheCallers(t *testing.T) {
	need.Root(t)
	labtest.Clean(t)
	lab := labtest.Up(t, star(2))
	cmd := exec.Command("sh", "-c", "exit 7")
	if err := lab.Spawn("router", cmd); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("Wait: got %v, want exit status 7", err)
	}
	if err := lab.Spawn("nowhere", exec.Command("true")); err == nil {
		t.Error("Spawn in a node that is not there: no error")
	}
	if err := lab.Spawn("router", exec.Command("/does/not/exist")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Spawn of nothing: got %v, want ErrNotExist", err)
	}
}

// One child refuses SIGTERM, another leaves a process of its own behind.
func TestCloseEndsTheUnwilling(t *testing.T) {
	need.Root(t)
	labtest.Clean(t)
	lab := labtest.Up(t, star(3))
	stubborn := play("stubborn")
	spawn(t, lab, "host.0", stubborn)
	orphan, err := strconv.Atoi(spawn(t, lab, "host.1", exec.Command("sh", "-c", "setsid sleep 600 >/dev/null & echo $!")))
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{stubborn.Process.Pid, orphan} {
		if running(pid) {
			t.Errorf("process %d survives Close", pid)
		}
	}
}

// SIGKILL of the keeper: the kernel alone clears up.
func TestKilledKeeperLeavesNothing(t *testing.T) {
	need.Root(t)
	labtest.Clean(t)
	witness, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { witness.Close() })
	cmd := play("keeper")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := witness.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error") {
		t.Fatalf("keeper: %q, %v", line, err)
	}
	if alive, err := keeper.AliveIn(witness); err != nil || alive != 20 {
		t.Fatalf("before: %d namespaces alive (%v), want 20", alive, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	start := time.Now()
	var left []string
	for time.Since(start) < 10*time.Second {
		left = left[:0]
		alive, err := keeper.AliveIn(witness)
		if err != nil {
			t.Fatal(err)
		}
		if alive > 0 {
			left = append(left, fmt.Sprintf("%d namespaces", alive))
		}
		for _, f := range strings.Fields(line) {
			if pid, err := strconv.Atoi(f); err != nil || running(pid) {
				left = append(left, "process "+f)
			}
		}
		if len(left) == 0 {
			t.Logf("nothing left after %v", time.Since(start))
			if err := errors.Join(keeper.Gone(witness, time.Second), keeper.Settled(witness)); err != nil {
				t.Error(err)
			}
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("10 s after SIGKILL: %s", strings.Join(left, ", "))
}

// A socket that somebody forgot in a namespace keeps it; Close says so.
func TestCloseNamesWhatIsLeft(t *testing.T) {
	need.Root(t)
	lab, err := keeper.Up(t.Context(), star(3), nil)
	if err != nil {
		t.Fatal(err)
	}
	keeper.SetPatience(lab, 300*time.Millisecond)
	forgotten := echo(t, lab, "host.1")
	defer forgotten.Close()
	err = lab.Close()
	var left *keeper.LeftoverError
	if !errors.As(err, &left) {
		t.Fatalf("got %v, want a LeftoverError", err)
	}
	if len(left.Nodes) != 1 || left.Nodes[0] != "host.1" || len(left.Holders) != 1 || !strings.HasPrefix(left.Holders[0], "socket") {
		t.Errorf("got %+v, want host.1 held by a socket", left)
	}
	if again := lab.Close(); again != err {
		t.Errorf("second Close: %v, want the same", again)
	}
}

// playLimited tries a lab that is too large for its limit of open files.
func playLimited() {
	lim := syscall.Rlimit{Cur: 50, Max: 90}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		fmt.Println(err)
		return
	}
	_, err := keeper.Up(context.Background(), star(30), nil)
	var limit *keeper.LimitError
	if errors.As(err, &limit) && limit.Hard == 90 && limit.Need > 90 {
		fmt.Println("named")
		return
	}
	fmt.Println(err)
}

func TestTooFewFilesIsNamed(t *testing.T) {
	out, err := play("limited").Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != "named" {
		t.Errorf("got %q, %v; want a LimitError", got, err)
	}
}

// Without privilege the error says what to do.
func TestUnprivilegedIsNamed(t *testing.T) {
	need.Root(t) // to become somebody else
	cmd := play("unprivileged")
	// The build directory is closed to others: hand the program over open.
	f, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Path, cmd.ExtraFiles = "/proc/self/fd/3", []*os.File{f}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	if got := strings.TrimSpace(string(out)); err != nil || !strings.Contains(got, "true") || !strings.Contains(got, "sudo") {
		t.Errorf("got %q, %v; want os.ErrPermission and what to do", got, err)
	}
}
