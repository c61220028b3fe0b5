//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/spec"
)

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

// agreeInBrief are the scenarios whose base TestSoakAgreement's short form runs on
// every engine.
func agreeInBrief() []string {
	return []string{"branch_failover", "coffee_shops", "dedicated_egress", "geofence", "interconnect", "ipv6_branches", "merger", "overlapping_branches", "path_mtu", "port_exhaustion", "private_datacenter", "soft_unicast"}
}

// Simulator and labs agree on every scenario and variant that is shipped, each
// time: 20 times over all of them, in short once over some files as they are. What
// could not be judged, because the machine had no time for a lab, is asked again, and
// is no agreement if it never can be.
func TestSoakAgreement(t *testing.T) {
	need.Root(t)
	before := machine(t)
	args, names := []string{"--variant", spec.Base}, agreeInBrief()
	if soak() {
		args, names = nil, soaked(t)
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
