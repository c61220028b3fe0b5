package swarm_test

import (
	"os"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// Shipped scenarios have the fingerprints that are kept, under the race detector too:
// CI has it watch this package, and not the one that keeps them.
func TestKeptFingerprintsUnderRace(t *testing.T) {
	kept, err := os.ReadFile("../run/testdata/fingerprints.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"overlapping_branches", "marked_path", "branch_failover", "dedicated_egress"} {
		var m record.Memory
		if err := run.Run(t.Context(), loadtest.Shipped(t, name, "base"), &m, run.Options{}); err != nil {
			t.Fatal(err)
		}
		if line := m.Records().Run.Fingerprint + " " + name + "/base"; !strings.Contains(string(kept), line+"\n") {
			t.Errorf("%s is not what was kept", line)
		}
	}
}
