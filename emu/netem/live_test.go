package netem_test

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/netem"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// The kernel delays and loses what it is told to, as the meter at the link's own
// ends sees it, and what is changed while packets flow is changed.
func TestLiveNetem(t *testing.T) {
	need.Root(t)
	if err := netem.Possible(); err != nil {
		if !errors.As(err, new(*wire.LackError)) {
			t.Fatal(err)
		}
		need.Proven(t, "netem", err)
	}
	end := func(node, at, other string, mac byte) plan.Endpoint {
		return plan.Endpoint{Node: node, Interface: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, mac}, Addresses: []netip.Prefix{netip.MustParsePrefix(at + "/24")}, Neighbors: []netip.Addr{netip.MustParseAddr(other)}}
	}
	delay := spec.Impairment{Delay: spec.Delay{Fixed: unit.Duration(20 * time.Millisecond)}}
	p := &plan.Plan{
		Scenario: "netem", Seed: 7, Nodes: []plan.Node{{ID: "left", Kind: plan.KindHost}, {ID: "right", Kind: plan.KindHost}},
		Links: []plan.Link{{ID: "left-right", MTU: 1500, A: end("left", "10.0.0.1", "10.0.0.2", 1), B: end("right", "10.0.0.2", "10.0.0.1", 2), AB: delay, BA: delay}},
	}
	lab, err := keeper.Up(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	w, err := netem.Start(lab.NS(wire.Middle), p, wire.Cuts(p))
	if err != nil {
		t.Fatal(err)
	}
	m, err := pump.StartMeter(lab.NS, p)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ping := func() string {
		var out strings.Builder
		cmd := exec.Command(need.Tool(t, "ping"), "-q", "-c", "200", "-i", "0.01", "10.0.0.2")
		cmd.Stdout = &out
		if err := lab.Spawn("left", cmd); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // what is lost is looked at
		return out.String()
	}
	if out := ping(); !strings.Contains(out, " 0% packet loss") {
		t.Errorf("delay alone: %s", out)
	}
	for _, seen := range m.Measured() {
		if seen.Times.P50 < 20*time.Millisecond || seen.Times.P50 > 22*time.Millisecond {
			t.Errorf("%s took %v, want 20 ms", seen.Direction, seen.Times.P50)
		}
	}
	if err := w.Set("left-right", impair.AB, impair.Config{Loss: 1}); err != nil {
		t.Fatal(err)
	}
	if out := ping(); !strings.Contains(out, "100% packet loss") {
		t.Errorf("all lost: %s", out)
	}
	if err := w.Set("left-right", impair.AB, impair.Config{}); err != nil {
		t.Fatal(err)
	}
	if out := ping(); !strings.Contains(out, " 0% packet loss") {
		t.Errorf("mended: %s", out)
	}
	counts, err := w.Counts()
	if err != nil || len(counts) != 2 || counts[0].Model.Lost < 200 || counts[0].Sent < 400 {
		t.Errorf("counts %+v, %v; want 200 lost of 600", counts, err)
	}
}

// A kernel without netem is told by the feature that it lacks; with it, by nothing.
func TestPossible(t *testing.T) {
	need.Root(t)
	err := netem.Possible()
	if lack, ok := errors.AsType[*wire.LackError](err); err != nil && (!ok || lack.Feature != netem.Feature) {
		t.Errorf("%v, want a lack of %s", err, netem.Feature)
	}
}
