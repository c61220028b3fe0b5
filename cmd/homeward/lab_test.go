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

	"github.com/vishvananda/netlink"

	"github.com/homeward-lab/homeward/internal/need"
)

// soak says whether long repetitions are wanted (make soak).
func soak() bool { return os.Getenv("HOMEWARD_SOAK") != "" }

// times is how often something is repeated: a short form for every run of the
// tests, the long one for soak, or as often as HOMEWARD_SOAK_ROUNDS says.
func times(short, long int) int {
	if !soak() {
		return short
	}
	if n, err := strconv.Atoi(os.Getenv("HOMEWARD_SOAK_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return long
}

// soaked are the scenarios that soak is about: all that are shipped, or those that
// HOMEWARD_SOAK_SCENARIOS names.
func soaked(t *testing.T) []string {
	t.Helper()
	all := shipped(t)
	names := strings.Fields(os.Getenv("HOMEWARD_SOAK_SCENARIOS"))
	for _, name := range names {
		if !slices.Contains(all, name) {
			t.Fatalf("HOMEWARD_SOAK_SCENARIOS: no scenario %q is shipped", name)
		}
	}
	if len(names) == 0 {
		return all
	}
	return names
}

// machine is what a lab could leave behind: links of the host and its network's
// parameters, processes of this program other than this one, and the network
// namespaces that they and this one hold. (Other programs' labs may come and go meanwhile. That a
// killed keeper's namespaces are gone from the kernel too is emu/keeper's test.)
func machine(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		found["link "+l.Attrs().Name] = true
	}
	for _, file := range parameters(t) {
		if value, err := os.ReadFile(file); err == nil { // some can only be written
			found["parameter "+file+" = "+strings.TrimSpace(string(value))] = true
		}
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range procs { // processes come and go: what cannot be read is not there
		if exe, err := os.Readlink(dir + "/exe"); err != nil || exe != self {
			continue
		}
		if dir != fmt.Sprintf("/proc/%d", os.Getpid()) {
			found["process "+dir] = true
		}
		held, _ := filepath.Glob(dir + "/fd/*")
		for _, fd := range append(held, dir+"/ns/net") {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "net:") {
				found["namespace "+to] = true
			}
		}
	}
	return found
}

// parameters are the files of the host's network parameters that do not count
// what happens.
func parameters(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"core/*", "ipv4/*", "ipv4/conf/*/*", "ipv6/*", "ipv6/conf/*/*"} {
		found, err := filepath.Glob("/proc/sys/net/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

// clean waits until nothing is there that was not before: the kernel takes
// namespaces down in the background.
func clean(t *testing.T, before map[string]bool) {
	t.Helper()
	var left []string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		left = left[:0]
		for thing := range machine(t) {
			if !before[thing] {
				left = append(left, thing)
			}
		}
		if len(left) == 0 {
			return
		}
	}
	slices.Sort(left)
	t.Errorf("left behind: %s", strings.Join(left, ", "))
}

// homeward is this test binary as the program.
func homeward(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), "HOMEWARD_TEST_MAIN=1")
	return cmd
}

func code(err error) int {
	var exited *exec.ExitError
	if errors.As(err, &exited) {
		return exited.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// base runs one variant, short of the rest.
func base(dir string, more ...string) *exec.Cmd {
	return homeward(append([]string{"run", "overlapping_branches", "--variant", "base", "--out", dir}, more...)...)
}

// Ctrl-C in the middle: exit 130, results so far, nothing left.
func TestInterruptLeavesNothing(t *testing.T) {
	need.Root(t)
	before := machine(t)
	for _, c := range []struct {
		traffic bool // after it began, or else since the start
		after   time.Duration
		more    []string
	}{
		{false, 20 * time.Millisecond, nil},
		{false, 400 * time.Millisecond, nil},
		{true, 200 * time.Millisecond, nil},
		{true, 500 * time.Millisecond, []string{"--keep"}}, // nothing was kept yet
	} {
		after := c.after
		got, said := interrupted(t, c.traffic, after, c.more)
		// It had not come so far as to hear of it, which one of the first moments may be too
		// early for, and no later one.
		for got == -1 && !c.traffic && after > 100*time.Millisecond && after < 10*time.Second {
			after *= 2
			got, said = interrupted(t, c.traffic, after, c.more)
		}
		if got != exitInterrupted && (got != -1 || after > 100*time.Millisecond) {
			t.Errorf("interrupted %s after traffic began (%v) or the start: exit code %d, want %d\n%s", after, c.traffic, got, exitInterrupted, said)
		}
		if c.traffic && !strings.Contains(said, "interrupted by") {
			t.Errorf("interrupted %s after traffic began, which the verdict does not say:\n%s", after, said)
		}
	}
	clean(t, before)
}

// interrupted sends a run SIGINT so long after its start, or after its traffic began,
// and returns its exit code, and what it said.
func interrupted(t *testing.T, traffic bool, after time.Duration, more []string) (exit int, said string) {
	t.Helper()
	cmd := base(filepath.Join(t.TempDir(), "out"), append(more, "--set", "one.flows=400", "--set", "one.rate=50")...)
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stderr)
	for begun := !traffic; !begun; {
		line, err := lines.ReadString('\n')
		if said += line; err != nil {
			t.Fatalf("no traffic: %v\n%s", err, said)
		}
		begun = strings.HasPrefix(line, "overlapping_branches/base: ") && strings.HasSuffix(line, " flows\n")
	}
	time.Sleep(after)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Error(err)
	}
	exit = code(cmd.Wait())
	return exit, said + string(rest) + out.String()
}

// --keep leaves the lab up for curl on a branch host, as a user would try it;
// Ctrl-C takes it down and the verdict stands.
func TestKeepForCurl(t *testing.T) {
	need.Root(t)
	curl := need.Tool(t, "curl")
	before := machine(t)
	cmd := base(filepath.Join(t.TempDir(), "out"), "--keep")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	door := findDoor(t, stderr, "shop.2.till")
	out, err := exec.Command("nsenter", "--net="+door, curl, "-sS", "--max-time", "30", "http://203.0.113.9/").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "198.51.100.") {
		t.Errorf("curl on shop.2.till: %v\n%s\nwant a page that names the egress address it saw", err, out)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if got := code(cmd.Wait()); got != 0 {
		t.Errorf("exit code %d, want 0: the verdict stands", got)
	}
	clean(t, before)
}

// findDoor reads what --keep prints until it names the node.
func findDoor(t *testing.T, r io.Reader, node string) string {
	t.Helper()
	var said bytes.Buffer
	buf := make([]byte, 4096)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		n, err := r.Read(buf)
		said.Write(buf[:n])
		if strings.Contains(said.String(), "Ctrl-C takes it down") {
			break
		}
		if err != nil {
			t.Fatalf("homeward ended: %v\n%s", err, &said)
		}
	}
	for line := range strings.Lines(said.String()) {
		if strings.HasSuffix(strings.TrimSpace(line), "# "+node) {
			path, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "nsenter --net="), " ")
			return path
		}
	}
	t.Fatalf("no door to %s in:\n%s", node, &said)
	return ""
}
