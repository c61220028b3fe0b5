//go:build linux

package main

import (
	"bytes"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// everyVariant are scenarios of which all variants run, in the short form too: what
// they are about is the dataplane.
var everyVariant = []string{"overlapping_branches", "server_maintenance"}

// Every shipped scenario that a lab can be of holds on the eBPF dataplane by its own
// checks. The short form leaves most variants to soak, and to TestSoakAgreement the
// scenarios that it runs on this dataplane too.
func TestShippedOnEBPF(t *testing.T) {
	need.BPF(t)
	var some, all []string
	for _, name := range shipped(t) {
		v, _, err := oneVariant(name, spec.Base, nil)
		switch {
		case err != nil:
			t.Fatal(err)
		case len(ebpfEngine().refused(v.plan)) > 0: // of the flow level alone
		case soak() || slices.Contains(everyVariant, name):
			all = append(all, name)
		case slices.Contains(agreeInBrief(), name):
		default:
			some = append(some, name)
		}
	}
	var runs []record.Summary
	if len(some) > 0 {
		runs = onEBPF(t, 2, append(some, "--variant", spec.Base))
	}
	runs = append(runs, onEBPF(t, 2, all)...)
	for _, s := range runs {
		if s.Verdict == record.Error { // too many at once for this machine, by its own measure: once more, alone
			t.Logf("%s/%s: %s", s.Scenario, s.Variant, s.Reason)
			s = onEBPF(t, 1, []string{s.Scenario, "--variant", s.Variant})[0]
		}
		if s.Engine != "emu-ebpf" || s.Verdict != record.Pass || len(s.Checks) == 0 {
			t.Errorf("%s/%s on %s: %s %s", s.Scenario, s.Variant, s.Engine, s.Verdict, s.Reason)
			for _, c := range s.Checks {
				if c.Verdict != record.Pass {
					t.Errorf("   %s: %s, %s", c.ID, c.Verdict, c.Detail)
				}
			}
		}
	}
	if len(runs) < len(some)+len(all) {
		t.Errorf("%d runs of %d scenarios", len(runs), len(some)+len(all))
	}
}

// onEBPF runs scenarios on the eBPF dataplane.
func onEBPF(t *testing.T, jobs int, args []string) []record.Summary {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	var said bytes.Buffer
	Main(append([]string{"run", "--on", "emu-ebpf", "--jobs", strconv.Itoa(jobs), "--out", dir}, args...), &said, &said)
	all, err := readSummaries(dir)
	if err != nil || len(all) == 0 {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, &said)
	}
	return all
}

// The file says what servers are, and --on emu does that; an engine that is asked
// for by name wins.
func TestDataplaneOfTheFile(t *testing.T) {
	need.BPF(t)
	for _, c := range []struct{ on, dataplane, want string }{
		{"emu", "hub", "emu-hub"}, {"emu", "ebpf", "emu-ebpf"}, {"emu-ebpf", "hub", "emu-ebpf"}, {"emu-hub", "ebpf", "emu-hub"},
	} {
		dir := filepath.Join(t.TempDir(), "out")
		var said bytes.Buffer
		Main([]string{"run", "overlapping_branches", "--variant", spec.Base, "--on", c.on, "--set", "dataplane=" + c.dataplane, "--out", dir}, &said, &said)
		all, err := readSummaries(dir)
		if err != nil || len(all) != 1 || all[0].Engine != c.want || all[0].Verdict != record.Pass {
			t.Errorf("dataplane: %s with --on %s: %+v, %v, want it to pass on %s\n%s", c.dataplane, c.on, all, err, c.want, &said)
		}
		if _, err := record.Read(dir); err != nil {
			t.Error(err)
		}
	}
}
