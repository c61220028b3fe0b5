package labbench_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/labbench"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/internal/need"
)

const pumpWord, starWord = "serve-as-pump", "bring-up-a-star"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == starWord {
		if err := labbench.StarMain(os.Stdin, os.Stdout, os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == pumpWord {
		if err := pump.Main(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A short bench has all rows, right results and nothing left; how fast this
// machine is at the moment is no matter of a test.
func TestLiveRows(t *testing.T) {
	need.Root(t)
	before, err := keeper.TakeSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	b := labbench.Bench{Pump: pump.Options{Exe: "/proc/self/exe", Args: []string{pumpWord}}, Star: []string{starWord}, Rounds: 1, Length: 200 * time.Millisecond, Short: true}
	rows, err := b.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{
		"lab.delay_p50_us", "lab.delay_p99_us", "lab.wire_packet_ns", "lab.wire_mpps", "lab.wiring_vs_move",
		"lab.up100_vs_mininet", "lab.up100_process_vs_mininet", "lab.down100_vs_mininet", "lab.killed100_ms", "lab.killed100_settled_ms", "lab.down1_ms",
	} {
		if i >= len(rows) || rows[i].ID != id || rows[i].Value <= 0 || rows[i].Equal != nil && !*rows[i].Equal {
			t.Fatalf("rows %+v, want %s at %d, with a value and right results", rows, id, i)
		}
		// Where the baseline cannot run there is no goal, but a name of what is missing.
		if r := rows[i]; r.Goal == nil && !slices.Contains([]string{"lab.killed100_settled_ms", "lab.down1_ms"}, id) && (!strings.HasPrefix(r.Baseline, "mininet: ") || r.BaselineValue != 0) {
			t.Errorf("%s has neither a goal nor a reason: %+v", id, r)
		}
	}
	if left, err := keeper.Leftovers(before); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
