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
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/control"
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
  - {id: same, from: shop.*.till, to: web, tcp: 443, flows: 8, rate: 20, connect: 500ms, timeout: 1s}
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
  - {id: same, from: shop.*.till, to: web, tcp: 443, flows: 8, rate: 20, connect: 500ms, timeout: 1s}
checks:
  - {id: home, expect: "same.ok == same.total and same.misdelivered == 0"}
`

// victim is a kind of process to kill while a scenario runs.
type victim struct {
	name, scenario string
	// command is its subcommand, below the run; none is the run itself.
	command string
	// life is how long it lives on a quiet machine: the kill comes at any moment of
	// that.
	life time.Duration
	// ends are the exit codes of a run that lost it.
	ends []int
}

// victims are the kinds of process that a run consists of.
func victims() []victim {
	return []victim{
		{name: "run", scenario: impaired, life: 2200 * time.Millisecond, ends: []int{-1}},
		{name: "server", scenario: impaired, command: agentCommand, life: 1500 * time.Millisecond, ends: []int{exitError}},
		{name: "pump", scenario: impaired, command: pumpCommand, life: 1700 * time.Millisecond, ends: []int{exitError}},
		{name: "router", scenario: routed, command: speakerCommand, life: 2900 * time.Millisecond, ends: []int{exitError}},
		{name: "program", scenario: impaired, command: firstCommand, life: 1300 * time.Millisecond, ends: []int{exitOK, exitError}},
	}
}

// SIGKILL of each kind of process at random moments, one of each kind at the same
// time: a run whose child is gone says so, with exit code 5 at the latest when it
// ends; all of it goes; and the next run of each scenario, and the next lab by hand,
// work.
func TestSoakKillLeavesNothing(t *testing.T) {
	byHand(t)
	files := map[string]string{}
	for name, text := range map[string]string{"impaired": impaired, "routed": routed} {
		files[text] = filepath.Join(t.TempDir(), name+".yaml")
		if err := os.WriteFile(files[text], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := machine(t)
	repeat(t, killEnv, 1, 200, func(_ int, random *rand.Rand) string {
		var told []string
		var all sync.WaitGroup
		var mu sync.Mutex
		for _, v := range victims() {
			own := rand.New(rand.NewPCG(random.Uint64(), 0))
			all.Go(func() {
				what := killed(t, v, files[v.scenario], own)
				mu.Lock()
				defer mu.Unlock()
				told = append(told, v.name+" "+what)
			})
		}
		moment := keeperKilled(t, files[impaired], random)
		all.Wait()
		clean(t, before)
		for _, file := range files {
			all.Go(func() { nextRun(t, file) })
		}
		all.Go(func() { nextLab(t, files[impaired]) })
		all.Wait()
		clean(t, before)
		slices.Sort(told)
		what := strings.Join(append(told, "keeper "+moment), ", ")
		if t.Failed() {
			t.Fatal(what)
		}
		return what
	})
}

// killed kills one process of a kind, and tells when: where a run was over before
// that, in another one.
func killed(t *testing.T, v victim, file string, random *rand.Rand) string {
	for missed := 0; missed < 10; missed++ {
		moment := time.Duration(random.Int64N(int64(v.life)))
		hit, err := killOne(v, file, moment)
		if err != nil {
			t.Errorf("%s to be killed at %v: %v", v.name, moment, err)
		}
		if hit || err != nil {
			return moment.Round(time.Millisecond).String()
		}
	}
	t.Errorf("no %s lived until it was to be killed", v.name)
	return "never"
}

// killOne is one such run, and whether its process still was there when its moment
// came.
func killOne(v victim, file string, moment time.Duration) (hit bool, err error) {
	dir, err := os.MkdirTemp("", "homeward-soak-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	var said bytes.Buffer
	cmd := homeward("run", file, "--out", filepath.Join(dir, "killed"))
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return false, err
	}
	pid := cmd.Process.Pid
	if v.command != "" {
		if pid = begun(pid, v.command); pid == 0 {
			_ = cmd.Process.Kill()
			return false, fmt.Errorf("there was no %s in the run, %w, which said:\n%s", v.command, cmd.Wait(), &said)
		}
	}
	time.Sleep(moment)
	hit = running(pid) && unix.Kill(pid, unix.SIGKILL) == nil
	ended := cmd.Wait()
	if hit && !slices.Contains(v.ends, code(ended)) {
		return hit, fmt.Errorf("exit code %d, want one of %d; the run said:\n%s", code(ended), v.ends, &said)
	}
	return hit, nil
}

// nextRun wants a run to work.
func nextRun(t *testing.T, file string) {
	var out []byte
	for range 5 {
		dir, err := os.MkdirTemp("", "homeward-soak-")
		if err != nil {
			t.Error(err)
			return
		}
		defer os.RemoveAll(dir)
		out, err = homeward("run", file, "--set", "same.flows=1", "--out", filepath.Join(dir, "next")).CombinedOutput()
		if err == nil {
			return
		}
		if code(err) != exitError || !bytes.Contains(out, []byte(saturated)) {
			break
		}
		t.Logf("the next run was not judged, so once more:\n%s", out)
	}
	t.Errorf("the next run failed:\n%s", out)
}

// nextLab wants a lab by hand to work.
func nextLab(t *testing.T, file string) {
	out, err := homewardShell(`"$0" up "$1" --name next && "$0" exec next web -- true && "$0" down next`, file).CombinedOutput()
	if err != nil {
		t.Errorf("the next lab by hand: %v\n%s", err, out)
	}
}

// begun waits for a process below another, and returns it, or 0 for none.
func begun(parent int, command string) int {
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit) && running(parent); time.Sleep(10 * time.Millisecond) {
		for _, pid := range below(parent) {
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if args := bytes.Split(line, []byte{0}); err == nil && len(args) > 1 && string(args[1]) == command {
				return pid
			}
		}
	}
	return 0
}

// keeperKilled kills a keeper, and the commands that it works for, at a random
// moment of coming up, traffic and going down, and tells when.
func keeperKilled(t *testing.T, file string, random *rand.Rand) string {
	moment := time.Duration(random.Int64N(int64(2400 * time.Millisecond)))
	cmd := homewardShell(`"$0" up "$1" && "$0" traffic && "$0" down`, file)
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
	return moment.Round(time.Millisecond).String()
}

// killAll kills the commands of a script, with keepers that have not left them,
// and the keeper that has.
func killAll(t *testing.T, script *exec.Cmd) {
	t.Helper()
	for _, pid := range below(script.Process.Pid) {
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
