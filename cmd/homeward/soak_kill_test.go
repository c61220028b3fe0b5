//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/internal/need"
)

// impaired is a scenario with every kind of process but a router's: servers, the
// pump of links that are no plain wires, and a program of the user's.
const impaired = `version: 1
name: impaired
datacenters: [{id: lhr, servers: 2, egress: [198.51.100.0/30]}]
sites:
  - {id: shop, count: 2, near: {lhr: 1}, lan: 10.0.1.0/24, hosts: {till: {address: 10.0.1.5, run: [sleep, "54321"]}}, onramps: [{id: wan, type: gre, arr: true}]}
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [http, echo]}]
links: {access: {delay: 2ms}}
traffic:
  - {id: same, from: shop.*.till, to: web, tcp: 443, flows: 20, rate: 10, connect: 1s, timeout: 2s}
checks:
  - {id: home, expect: "same.ok == same.total and same.misdelivered == 0"}
`

// routed is a scenario with routers that speak BGP.
const routed = `version: 1
name: routed
datacenters: [{id: lhr, servers: 2, egress: [198.51.100.0/30]}]
transit:
  - {id: isp, near: lhr, providers: [carrier], customers: [lhr]}
  - {id: carrier, near: ams}
announce: [{prefix: tunnel, from: [lhr]}]
sites:
  - {id: shop, near: isp, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
internet: [{id: web, address: 203.0.113.9, near: carrier, serve: [http]}]
traffic:
  - {id: same, from: shop.*.till, to: web, tcp: 443, flows: 20, rate: 10, connect: 1s, timeout: 2s}
checks:
  - {id: home, expect: "same.ok == same.total and same.misdelivered == 0"}
`

// victim is a kind of process to kill while a scenario runs.
type victim struct {
	name, scenario string
	// command is its subcommand, below the run; none is the run itself.
	command string
	// within is how long after it has begun the kill comes at the latest.
	within time.Duration
	// ends are the exit codes of a run that lost it.
	ends []int
}

// SIGKILL of each kind of process at random moments: a run whose child is gone
// says so, with exit code 5 at the latest when it ends; all of it goes; and the
// next run works.
func TestSoakKillLeavesNothing(t *testing.T) {
	need.Root(t)
	before := machine(t)
	for _, v := range []victim{
		{name: "run", scenario: impaired, within: 3 * time.Second, ends: []int{-1, exitOK}},
		{name: "server", scenario: impaired, command: agentCommand, within: 2 * time.Second, ends: []int{exitError}},
		{name: "pump", scenario: impaired, command: pumpCommand, within: 2 * time.Second, ends: []int{exitError}},
		{name: "router", scenario: routed, command: speakerCommand, within: 3 * time.Second, ends: []int{exitError}},
		{name: "program", scenario: impaired, command: firstCommand, within: 2 * time.Second, ends: []int{exitOK, exitError}},
	} {
		t.Run(v.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "scenario.yaml")
			if err := os.WriteFile(file, []byte(v.scenario), 0o600); err != nil {
				t.Fatal(err)
			}
			repeat(t, killEnv, 1, 200, func(i int, moment *rand.Rand) string {
				return killed(t, v, file, time.Duration(moment.Int64N(int64(v.within))), before)
			})
		})
	}
	clean(t, before)
}

// killed is one repetition, and what happened in it.
func killed(t *testing.T, v victim, file string, moment time.Duration, before map[string]bool) string {
	t.Helper()
	dir := t.TempDir()
	defer os.RemoveAll(dir)
	var said bytes.Buffer
	cmd := homeward("run", file, "--out", filepath.Join(dir, "killed"))
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if v.command != "" {
		if pid = begun(t, cmd.Process.Pid, v.command); pid == 0 {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatalf("there was no %s in the run, which said:\n%s", v.command, &said)
		}
	}
	time.Sleep(moment)
	hit := unix.Kill(pid, unix.SIGKILL) == nil
	err := cmd.Wait()
	if hit && !slices.Contains(v.ends, code(err)) {
		t.Errorf("exit code %d, want one of %d", code(err), v.ends)
	}
	clean(t, before)
	nextRun(t, file, filepath.Join(dir, "next"))
	if t.Failed() {
		t.Fatalf("%s killed %v after it began; the run said:\n%s", v.name, moment, &said)
	}
	if !hit {
		return fmt.Sprintf("gone before %v", moment)
	}
	return fmt.Sprintf("killed at %v", moment)
}

// nextRun wants a run to work, as one at least of some in a row: an error is not
// what was left behind, where the machine has no time for a lab, and a check that
// falls short is.
func nextRun(t *testing.T, file, dir string) {
	t.Helper()
	var out []byte
	for range 4 {
		var err error
		if out, err = homeward("run", file, "--set", "same.flows=2", "--out", dir).CombinedOutput(); err == nil {
			return
		}
		if code(err) != exitError {
			break
		}
		t.Logf("the next run: %v\n%s", err, out)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("the next run failed:\n%s", out)
}

// begun waits for a process below another, and returns it, or 0 for none.
func begun(t *testing.T, parent int, command string) int {
	t.Helper()
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		for _, pid := range below(t, parent) {
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if args := bytes.Split(line, []byte{0}); err == nil && len(args) > 1 && string(args[1]) == command {
				return pid
			}
		}
	}
	return 0
}

// SIGKILL of a keeper, and of the commands that it works for, at random moments of
// coming up, traffic and going down.
func TestSoakKeeperKilled(t *testing.T) {
	byHand(t)
	before := machine(t)
	repeat(t, killEnv, 3, 200, func(i int, random *rand.Rand) string {
		moment := time.Duration(random.Int64N(int64(2 * time.Second)))
		cmd := homewardShell(`"$0" up overlapping_branches && "$0" traffic many && "$0" down`)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(moment)
		killAll(t, cmd)
		_ = cmd.Wait() // killed, most of the time
		if out, err := homeward("down", "--all").CombinedOutput(); err != nil {
			t.Errorf("down --all: %v\n%s\n%s", err, out, &said)
		}
		clean(t, before)
		if t.Failed() {
			t.Fatalf("killed after %v", moment)
		}
		return fmt.Sprintf("killed at %v", moment)
	})
}

// killAll kills the commands of a script, with keepers that have not left them,
// and the keeper that has.
func killAll(t *testing.T, script *exec.Cmd) {
	t.Helper()
	for _, pid := range below(t, script.Process.Pid) {
		_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
	}
	labs, _, err := control.Labs()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range labs {
		if k, err := l.Keeper(); err == nil {
			_ = k.Kill()
		}
	}
}

// Which repetitions are made: how many, or "FROM-TO" with FROM counted from 0, so that what was
// interrupted goes on, and what takes long is split over several processes (of which
// each wants a copy of the test binary: what is left behind is looked for by that).
const (
	killEnv = "HOMEWARD_SOAK_KILL"
	runsEnv = "HOMEWARD_SOAK_RUNS"
)

// repeat calls f for each repetition that the environment asks for: the first few
// in every run of the tests, all in soak. A number draws the same moments each
// time. What f says is printed with what is left to do.
func repeat(t *testing.T, env string, short, long int, f func(i int, random *rand.Rand) string) {
	t.Helper()
	inRow(t, env, times(short, long), f)
}

// inRow is repeat that by default makes n.
func inRow(t *testing.T, env string, n int, f func(i int, random *rand.Rand) string) {
	t.Helper()
	from, to := 0, n
	if span := os.Getenv(env); span != "" {
		if n, err := strconv.Atoi(span); err == nil && n > 0 {
			from, to = 0, n
		} else if n, err := fmt.Sscanf(span, "%d-%d", &from, &to); n != 2 || err != nil || from < 0 || to <= from {
			t.Fatalf("%s=%s: want how many, or FROM-TO as in 20-200", env, span)
		}
	}
	var took []time.Duration
	for i := from; i < to; i++ {
		start := time.Now()
		what := f(i, rand.New(rand.NewPCG(uint64(i), uint64(len(t.Name())))))
		took = append(took, time.Since(start))
		if soak() {
			t.Logf("%s %d: %s; took %.1f s; to go on here: %s=%d-%d", t.Name(), i, what, took[len(took)-1].Seconds(), env, i+1, to)
		}
	}
	slices.Sort(took)
	t.Logf("%d repetitions, from %.1f to %.1f s, median %.1f s", len(took), took[0].Seconds(), took[len(took)-1].Seconds(), took[len(took)/2].Seconds())
}
