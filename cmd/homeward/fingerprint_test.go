package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/reports/record"
)

// The command's runs are those whose fingerprints are kept.
func TestKeptFingerprints(t *testing.T) {
	kept, err := os.ReadFile("../../sim/run/testdata/fingerprints.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"overlapping_branches", "virtual_networks", "branch_failover"} {
		out := filepath.Join(t.TempDir(), "out")
		if code := Main([]string{"run", name, "--on", "sim", "-o", out}, io.Discard, io.Discard); code != exitOK {
			t.Fatalf("%s: exit code %d", name, code)
		}
		results, err := record.Read(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results.Runs {
			if line := r.Run.Fingerprint + " " + name + "/" + r.Run.Variant; !strings.Contains(string(kept), line+"\n") {
				t.Errorf("%s is not what was kept", line)
			}
		}
	}
}
