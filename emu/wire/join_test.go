package wire_test

import (
	"net"
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// The halves of a cut link carry packets when the kernel joins them, and none
// before.
func TestLiveJoin(t *testing.T) {
	need.Root(t)
	end := func(node, at, other string, mac byte) plan.Endpoint {
		return plan.Endpoint{Node: node, Interface: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, mac}, Addresses: []netip.Prefix{netip.MustParsePrefix(at + "/24")}, Neighbors: []netip.Addr{netip.MustParseAddr(other)}}
	}
	p := &plan.Plan{
		Scenario: "join", Nodes: []plan.Node{{ID: "left", Kind: plan.KindHost}, {ID: "right", Kind: plan.KindHost}},
		Links: []plan.Link{{
			ID: "left-right", MTU: 1500, A: end("left", "10.0.0.1", "10.0.0.2", 1), B: end("right", "10.0.0.2", "10.0.0.1", 2),
			AB: spec.Impairment{Delay: spec.Delay{Fixed: unit.Duration(time.Millisecond)}},
		}},
	}
	lab, err := keeper.Up(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	answered := func() bool {
		cmd := exec.Command(need.Tool(t, "ping"), "-q", "-c", "2", "-i", "0.05", "-W", "1", "10.0.0.2")
		if err := lab.Spawn("left", cmd); err != nil {
			t.Fatal(err)
		}
		return cmd.Wait() == nil
	}
	if answered() {
		t.Error("halves that nobody joins carry packets")
	}
	c := wire.Cuts(p)[0]
	for _, ends := range [2][2]int{{c.A, c.B}, {c.B, c.A}} {
		if err := wire.Join(lab.NS(wire.Middle), ends[0], ends[1]); err != nil {
			t.Fatal(err)
		}
	}
	if !answered() {
		t.Error("joined halves carry nothing")
	}
}
