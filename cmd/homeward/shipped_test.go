package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies"
)

// shipped are the names of all scenarios.
func shipped(t *testing.T) (names []string) {
	t.Helper()
	all, err := topologies.List()
	if err != nil || len(all) == 0 {
		t.Fatalf("%d scenarios: %v", len(all), err)
	}
	for _, s := range all {
		names = append(names, s.Name)
	}
	return names
}

// readSummaries are the verdicts of a results directory.
func readSummaries(dir string) (all []record.Summary, err error) {
	data, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	return all, err
}

func summariesOf(t *testing.T, dir string) []record.Summary {
	t.Helper()
	all, err := readSummaries(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every scenario that is shipped, in every variant, holds on the simulator by its
// own checks.
func TestShippedOnSim(t *testing.T) {
	names, dir := shipped(t), filepath.Join(t.TempDir(), "out")
	var said bytes.Buffer
	if code := Main(append([]string{"run", "--on", "sim", "--out", dir}, names...), &said, &said); code != exitOK {
		t.Errorf("exit code %d\n%s", code, &said)
	}
	passed := map[string]bool{}
	for _, s := range summariesOf(t, dir) {
		passed[s.Scenario+"/"+s.Variant] = s.Verdict == record.Pass && len(s.Checks) > 0
	}
	for _, name := range names {
		doc, err := topologies.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range doc.Variants() {
			if !passed[name+"/"+v] {
				t.Errorf("%s/%s has not passed", name, v)
			}
		}
	}
}
