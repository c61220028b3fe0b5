//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// demonstrate starts a demo, and returns it with the address of its page.
func demonstrate(t *testing.T, args ...string) (stop func(syscall.Signal) error, page string) {
	t.Helper()
	cmd := homeward(append([]string{"demo"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop = func(s syscall.Signal) error {
		if ended {
			return nil
		}
		ended = true
		_ = cmd.Process.Signal(s)
		return cmd.Wait()
	}
	t.Cleanup(func() { _ = stop(syscall.SIGINT) })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if at, ok := strings.CutPrefix(lines.Text(), "open "); ok {
			return stop, at
		}
	}
	t.Fatalf("demo %v ended without a page: %v", args, stop(syscall.SIGINT))
	return nil, ""
}

// seen is what the page was last told of all traffic.
type seen struct {
	Variant string
	Round   int
	Tallies []struct{ Home, Elsewhere, Unanswered int }
	Broken  []struct{ ID string }
}

// look reads the page's news until the scene is as it should be.
func look(t *testing.T, page, what string, want func(*seen) bool) {
	t.Helper()
	resp, err := http.Get(page + "news")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var s seen
	in := bufio.NewReader(resp.Body)
	for rounds := 0; rounds < 5; {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: the news ended: %v", what, err)
		}
		data, ok := strings.CutPrefix(line, "data: {\"name\"")
		if !ok {
			continue
		}
		before := s.Round
		if err := json.Unmarshal([]byte("{\"name\""+data), &s); err != nil {
			t.Fatal(err)
		}
		if want(&s) {
			return
		}
		if s.Round > before {
			rounds++
		}
	}
	t.Fatalf("%s: not so after five rounds: %+v", what, s)
}

func deed(t *testing.T, page, body string) {
	t.Helper()
	resp, err := http.Post(page+"do", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("%s: %s", body, resp.Status)
	}
}

// A demo shows every reply come home, two of three go astray with routes alone, in
// every round, and a server that is killed and mended; Ctrl-C takes the lab along.
func TestLiveDemo(t *testing.T) {
	byHand(t)
	before := machine(t)
	stop, page := demonstrate(t, "overlapping_branches")
	home := func(s *seen) bool { return s.Round > 0 && s.Tallies[0].Home == 79 }
	look(t, page, "base", home)
	deed(t, page, `{"break":{"do":"kill","on":"lhr.1"}}`)
	look(t, page, "a server is dead", func(s *seen) bool { return len(s.Broken) == 1 })
	deed(t, page, `{"mend":"kill-1"}`)
	look(t, page, "mended", func(s *seen) bool { return len(s.Broken) == 0 && home(s) })
	deed(t, page, `{"vary":"routes_only"}`)
	for range 2 { // what a round leaves behind is not the next one's
		astray := 0
		look(t, page, "routes alone", func(s *seen) bool {
			if astray == 0 {
				astray = s.Round
			}
			return s.Variant == "routes_only" && s.Round > astray && s.Tallies[0].Elsewhere > 0 && s.Tallies[0].Unanswered == 0
		})
	}
	if err := stop(syscall.SIGINT); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	if out := must(t, "ps"); !strings.Contains(out, "no lab") {
		t.Errorf("ps after the demo: %s", out)
	}
	clean(t, before)
}

// The same without a lab: a round is a run, and what is broken stays so.
func TestDemoSimulated(t *testing.T) {
	stop, page := demonstrate(t, "overlapping_branches", "--on", "sim")
	look(t, page, "base", func(s *seen) bool { return s.Round > 0 && s.Tallies[0].Home == 79 })
	deed(t, page, `{"vary":"routes_only"}`)
	look(t, page, "routes alone", func(s *seen) bool { return s.Variant == "routes_only" && s.Tallies[0].Elsewhere == 59 })
	deed(t, page, `{"vary":"base"}`)
	deed(t, page, `{"break":{"do":"cut","on":"shop.1.wan"}}`)
	look(t, page, "a shop is cut off", func(s *seen) bool { return len(s.Broken) == 1 && s.Tallies[0].Unanswered > 0 && s.Tallies[0].Home < 79 })
	deed(t, page, `{"mend":"cut-1"}`)
	look(t, page, "mended", func(s *seen) bool { return len(s.Broken) == 0 && s.Tallies[0].Home == 79 })
	if err := stop(syscall.SIGINT); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

// A demo that is killed takes its lab along.
func TestLiveDemoKilled(t *testing.T) {
	byHand(t)
	before := machine(t)
	stop, page := demonstrate(t, "overlapping_branches", "--name", "stage")
	look(t, page, "base", func(s *seen) bool { return s.Round > 0 })
	keeper := keeperOf(t, "stage")
	_ = stop(syscall.SIGKILL)
	end(t, []int{keeper.Pid})
	clean(t, before)
}

// What is wrong is said before anything is built.
func TestDemoRefuses(t *testing.T) {
	byHand(t)
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"demo", "nowhere"}, exitUsage, "no such file"},
		{[]string{"demo", "overlapping_branches", "--variant", "none"}, exitUsage, "none"},
		{[]string{"demo", "overlapping_branches", "--port", "70000"}, exitUsage, "70000"},
		{[]string{"demo", "global_edge"}, exitLack, "global_edge"},
		{[]string{"demo", "overlapping_branches", "--on", "both"}, exitUsage, "--on both: want emu"},
		{[]string{"demo", "overlapping_branches", "--on", "sim", "--set", "shop.count=x"}, exitUsage, "shop.count"},
	} {
		out, err := homeward(tt.args...).CombinedOutput()
		if code(err) != tt.code || !strings.Contains(string(out), tt.says) {
			t.Errorf("%v: exit %d, want %d with %q:\n%s", tt.args, code(err), tt.code, tt.says, out)
		}
	}
}
