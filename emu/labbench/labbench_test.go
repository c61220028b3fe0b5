package labbench_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/labbench"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/internal/need"
)

const pumpWord = "serve-as-pump"

func TestMain(m *testing.M) {
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
	b := labbench.Bench{Pump: pump.Options{Exe: "/proc/self/exe", Args: []string{pumpWord}}, Rounds: 1, Length: 200 * time.Millisecond}
	rows, err := b.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{"lab.delay_p50_us", "lab.delay_p99_us", "lab.wire_packet_ns", "lab.wiring_vs_move"} {
		if i >= len(rows) || rows[i].ID != id || rows[i].Value <= 0 || rows[i].Goal == nil || rows[i].Equal != nil && !*rows[i].Equal {
			t.Fatalf("rows %+v, want %s at %d, with a value, a goal and right results", rows, id, i)
		}
	}
	if left, err := keeper.Leftovers(before); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
