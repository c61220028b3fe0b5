package simbench_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/sim/simbench"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// judge is ns-3, where it is.
func judge(t *testing.T) *simbench.Judge { return built(t, simbench.BuildNS3) }

func built(t *testing.T, build func(context.Context) (*simbench.Judge, error)) *simbench.Judge {
	t.Helper()
	n, err := build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n.Absent != "" {
		need.Proven(t, "tools", errors.New(n.Name+": "+n.Absent))
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// A short bench has all rows, the chain's arrivals are ns-3's to the
// nanosecond, and shared links' flows end with SimGrid's. How fast this machine is at the moment is no matter of a test.
func TestRowsEqualNS3(t *testing.T) {
	judge(t)
	built(t, simbench.BuildSimGrid)
	rows, err := simbench.Bench{Load: loadtest.Base, Rounds: 1, Share: 0.02}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{
		"sim.hold1e5_vs_ns3", "sim.hold1e5_bytes", "sim.chain_vs_ns3", "sim.chain5000_vs_ns3", "sim.maxmin_vs_simgrid",
		"sim.hub_packets_per_s", "sim.flow_bytes", "sim.flows_open", "sim.flows_events", "sim.flows_s", "sim.peak_mib",
		"sim.asroutes_ms", "sim.asroutes_batched_ms", "sim.failures300_ms", "sim.bgp_announce_s", "sim.bgp_failover_s", "sim.slice_flows_per_s",
	} {
		if i >= len(rows) || rows[i].ID != id {
			t.Fatalf("%d rows, want %s at %d: %+v", len(rows), id, i, rows)
		}
		r := rows[i]
		if strings.Contains(id, "_vs_") && (r.Equal == nil || !*r.Equal || r.Ratio <= 0 || r.Goal == nil) {
			t.Errorf("%s: %+v, want results equal to the baseline's, a ratio and a goal", id, r)
		}
		if r.Equal != nil && !*r.Equal {
			t.Errorf("%s: wrong results", id)
		}
		if r.Value <= 0 && id != "sim.hold1e5_bytes" {
			t.Errorf("%s: %v", id, r.Value)
		}
	}
}

// Where the baselines are not, rows say so, and nothing is guessed.
func TestRowsWithoutNS3(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	rows, err := simbench.Bench{Load: loadtest.Base, Rounds: 1, Share: 0.02}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if strings.Contains(r.ID, "_vs_") && (!strings.Contains(r.Baseline, "apt-get install") || r.BaselineValue != 0 || r.Goal != nil || r.Equal != nil || r.Value <= 0) {
			t.Errorf("%+v, want what is missing, and no verdict", r)
		}
	}
}

// An end in the middle leaves the rows that there are.
func TestRowsOfAnInterruptedBench(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // the baselines take their time
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := errors.New("enough")
	bench := simbench.Bench{Rounds: 1, Share: 0.02, Load: func(name string, text []byte) (*plan.Plan, error) {
		cancel(ended)
		return loadtest.Base(name, text)
	}}
	rows, err := bench.Run(ctx)
	if !errors.Is(err, ended) || len(rows) == 0 || rows[len(rows)-1].ID != "sim.maxmin_vs_simgrid" {
		t.Errorf("%v after %+v, want what comes before whole networks", err, rows)
	}
}

// Very many flows are open at once, and each is answered.
func TestCrowd(t *testing.T) {
	rows, err := simbench.Bench{Load: loadtest.Base, Flows: 5000}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		switch {
		case r.Equal != nil && !*r.Equal:
			t.Errorf("%s: flows were not open, or not answered", r.ID)
		case r.ID == "sim.flows_open" && r.Value < 5000:
			t.Errorf("%v flows, want 5000", r.Value)
		case r.ID == "sim.flow_bytes" && (r.Value < 500 || r.Value > 8000):
			t.Errorf("%v bytes for a flow, want both ends, a hub's state, and little more", r.Value)
		}
	}
}
