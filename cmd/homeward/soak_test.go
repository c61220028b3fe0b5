//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// impaired is a scenario with every kind of process: a server, and the pump of
// links that are no plain wires.
const impaired = `version: 1
name: impaired
datacenters: [{id: lhr, servers: 2, egress: [198.51.100.0/30]}]
sites:
  - {id: shop, count: 2, near: {lhr: 1}, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [http, echo]}]
links: {access: {delay: 2ms}}
traffic:
  - {id: same, from: shop.*.till, to: web, tcp: 443, flows: 10, rate: 10, connect: 3s, timeout: 10s}
checks:
  - {id: home, expect: "same.ok == same.total and same.misdelivered == 0"}
`

// Victims of SIGKILL: the run itself, or one of the processes that it starts.
const (
	victimRun   = "run"
	victimAgent = agentCommand
	victimPump  = pumpCommand
)

// SIGKILL of each kind of process at random moments: a run whose child is gone
// says so, with exit code 5 at the latest when it ends; all of it goes; and the
// next run works.
func TestSoakKillLeavesNothing(t *testing.T) {
	need.Root(t)
	before := machine(t)
	file := filepath.Join(t.TempDir(), "impaired.yaml")
	if err := os.WriteFile(file, []byte(impaired), 0o600); err != nil {
		t.Fatal(err)
	}
	victims := []string{victimRun, victimAgent, victimPump}
	for i := range times(len(victims), 200) {
		victim, moment := victims[i%len(victims)], rand.N(2*time.Second)
		var said bytes.Buffer
		cmd := homeward("run", file, "--out", filepath.Join(t.TempDir(), "out"))
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(moment)
		hit := kill(t, cmd, victim)
		err := cmd.Wait()
		if victim != victimRun && hit && code(err) != exitError {
			t.Errorf("exit code %d, want %d", code(err), exitError)
		}
		clean(t, before)
		out, err := homeward("run", file, "--out", filepath.Join(t.TempDir(), "out")).CombinedOutput()
		if err != nil {
			t.Errorf("the next run: %v\n%s", err, out)
		}
		if t.Failed() {
			t.Fatalf("%s killed after %s; the run said:\n%s", victim, moment, &said)
		}
	}
	clean(t, before)
}

// kill kills a run, or the first of its children that is called so, and says
// whether there was one.
func kill(t *testing.T, run *exec.Cmd, victim string) bool {
	t.Helper()
	if victim == victimRun {
		if err := run.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		return true
	}
	for _, pid := range below(t, run.Process.Pid) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && bytes.HasSuffix(line, []byte("\x00"+victim+"\x00")) {
			return unix.Kill(pid, unix.SIGKILL) == nil
		}
	}
	return false
}

// verdicts runs everything and returns scenario/variant/check verdicts as text.
func verdicts(dir string) (string, error) {
	var out bytes.Buffer
	cmd := homeward("run", "overlapping_branches", "--out", dir)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, &out)
	}
	all, err := readSummaries(dir)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, s := range all {
		fmt.Fprintln(&text, s.Variant, s.Verdict, s.Fingerprint)
		for _, c := range s.Checks {
			fmt.Fprintln(&text, " ", c.ID, c.Verdict)
		}
	}
	return text.String(), nil
}

// Two runs at once and many in a row give the same verdicts, and leave nothing.
func TestSoakSameVerdicts(t *testing.T) {
	need.Root(t)
	before := machine(t)
	dir := t.TempDir()
	want, err := verdicts(filepath.Join(dir, "first"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			got, err := verdicts(filepath.Join(dir, fmt.Sprintf("pair%d", i)))
			if err != nil || got != want {
				t.Errorf("at once with another: %v\n%s\nwant\n%s", err, got, want)
			}
		})
	}
	wg.Wait()
	for i := range times(1, 20) {
		got, err := verdicts(filepath.Join(dir, fmt.Sprintf("row%d", i)))
		if err != nil || got != want {
			t.Fatalf("run %d in a row: %v\n%s\nwant\n%s", i, err, got, want)
		}
	}
	clean(t, before)
}

// Every scenario that is shipped keeps its promises however often it is run: a
// check that falls short once in two hundred is a mistake of somebody's.
func TestSoakNoFalseFailure(t *testing.T) {
	need.Root(t)
	before := machine(t)
	all, err := topologies.List()
	if err != nil {
		t.Fatal(err)
	}
	for i := range times(1, 200) {
		name := all[i%len(all)].Name
		dir := filepath.Join(t.TempDir(), "out")
		if out, err := homeward("run", name, "--out", dir).CombinedOutput(); err != nil {
			t.Errorf("run %d, of %s: %v\n%s", i, name, err, out)
		}
		if err := os.RemoveAll(dir); err != nil { // two hundred captures are a lot
			t.Fatal(err)
		}
	}
	clean(t, before)
}

// Simulator and labs agree on every scenario and variant that is shipped, each
// time: 20 times over all of them, in short once over some files as they are. What
// could not be judged, because the machine had no time for a lab, is asked again, and
// is no agreement if it never can be.
func TestSoakAgreement(t *testing.T) {
	need.Root(t)
	before := machine(t)
	args, names := []string{"--variant", spec.Base}, []string{"branch_failover", "coffee_shops", "dedicated_egress", "geofence", "interconnect", "ipv6_branches", "merger", "overlapping_branches", "path_mtu", "port_exhaustion", "private_datacenter", "soft_unicast"}
	if os.Getenv("HOMEWARD_SOAK") != "" {
		args, names = nil, shipped(t)
	}
	for i := range times(1, 20) {
		left := names
		for try := 1; len(left) > 0; try++ {
			dir := filepath.Join(t.TempDir(), "out")
			out, err := homeward(append(append([]string{"run", "--on", "both", "--out", dir}, args...), left...)...).CombinedOutput()
			asked := left
			left = nil
			for _, s := range summariesOf(t, dir) {
				switch {
				case s.Verdict == record.Error && try < 4:
					if !slices.Contains(left, s.Scenario) {
						left = append(left, s.Scenario)
					}
				case s.Verdict != record.Pass:
					t.Errorf("run %d, try %d: %s/%s on %s: %s", i, try, s.Scenario, s.Variant, s.Engine, s.Verdict)
				}
			}
			if err != nil && len(left) == 0 {
				t.Errorf("run %d, try %d, of %v: %v\n%s", i, try, asked, err, out)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	clean(t, before)
}
