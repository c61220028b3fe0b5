package run

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/internal/need"
)

func TestStarved(t *testing.T) {
	for _, tt := range []struct {
		waited, took time.Duration
		want         string
	}{
		{0, time.Second, ""},
		{time.Second, 2 * time.Second, ""},
		{1100 * time.Millisecond, 2 * time.Second, "waited 1.1s of 2s for a processor"},
	} {
		if got := starved(tt.waited, tt.took); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%v of %v: %q, want %q", tt.waited, tt.took, got, tt.want)
		}
	}
}

// A process that always wants to run, beside as many of its kind as it takes,
// waits; one that sleeps does not.
func TestWaited(t *testing.T) {
	if _, err := os.Stat("/proc/self/schedstat"); err != nil {
		need.Proven(t, "schedstat", err)
	}
	start := func(script string) int {
		cmd := exec.Command("sh", "-c", script)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // killed
		})
		return cmd.Process.Pid
	}
	idle := start("exec sleep 100")
	var busy []int
	for range 2*runtime.NumCPU() + 1 {
		busy = append(busy, start("while :; do :; done"))
	}
	const want = 100 * time.Millisecond
	most := func() (longest time.Duration) {
		for _, pid := range busy {
			longest = max(longest, waited(pid))
		}
		return longest
	}
	for limit := time.Now().Add(time.Minute); most() < want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("of %d busy processes none waited longer than %v", len(busy), most())
		}
	}
	if got := waited(idle); got >= want {
		t.Errorf("a process that sleeps waited %v", got)
	}
	if got := waited(0); got != 0 {
		t.Errorf("no process waited %v", got)
	}
}
