//go:build linux

package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/homeward-lab/homeward/internal/need"
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
