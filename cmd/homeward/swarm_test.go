package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/reports/check"
	simrun "github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/sim/swarm"
	"github.com/homeward-lab/homeward/topologies/load"
)

// A failure says how to find it again, and writes the least that shows it.
func TestSwarmFailure(t *testing.T) {
	o := swarm.Options{Load: plainPlan, Hub: func(_ int, c hub.Config) (simrun.Hub, error) {
		c.Tenants = slices.Clone(c.Tenants)
		for i := range c.Tenants {
			c.Tenants[i].FlowKey = hub.FlowKeyTuple // the mistake
		}
		return hub.New(c)
	}}
	_, f := swarm.Many(t.Context(), 1, 100, o, nil)
	if f == nil {
		t.Fatal("nothing failed")
	}
	dir := t.TempDir()
	var out strings.Builder
	err := failed(t.Context(), &out, dir, f, o)
	var e *exit
	if !errors.As(err, &e) || e.code != check.ExitFail {
		t.Errorf("error %v, want exit code %d", err, check.ExitFail)
	}
	for _, want := range []string{"FAIL seed ", "\nreproduce: homeward swarm --seed ", " --runs 1\n", "\nshrunk to " + dir, "\nagain: homeward swarm --case " + dir} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	_, file, _ := strings.Cut(out.String(), "shrunk to ")
	file, _, _ = strings.Cut(file, ": ")
	if _, err := load.File(file); err != nil {
		t.Errorf("the scenario's file: %v", err)
	}
}
