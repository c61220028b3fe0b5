package wire_test

import (
	"encoding/json"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// A plain rate is the kernel's: what TCP gets of it is what headers leave, within
// 3 %, and the kernel's count of packets is the link's.
func TestLiveShape(t *testing.T) {
	need.Root(t)
	const rate = 500 * unit.Mbit
	end := func(node, at, other string, mac byte) plan.Endpoint {
		return plan.Endpoint{Node: node, Interface: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, mac}, Addresses: []netip.Prefix{netip.MustParsePrefix(at + "/24")}, Neighbors: []netip.Addr{netip.MustParseAddr(other)}}
	}
	p := &plan.Plan{
		Scenario: "shape", Nodes: []plan.Node{{ID: "left", Kind: plan.KindHost}, {ID: "right", Kind: plan.KindHost}},
		Links: []plan.Link{{
			ID: "left-right", MTU: 1500, A: end("left", "10.0.0.1", "10.0.0.2", 1), B: end("right", "10.0.0.2", "10.0.0.1", 2),
			AB: spec.Impairment{Rate: rate, Queue: 512 << 10}, BA: spec.Impairment{Rate: 2 * rate},
		}},
	}
	if l := &p.Links[0]; !l.Shaped() || l.Impaired() || len(wire.Cuts(p)) != 0 {
		t.Fatal("the link is not the kernel's")
	}
	lab, err := keeper.Up(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	server := exec.Command(need.Tool(t, "iperf3"), "-s", "-1", "-B", "10.0.0.2")
	if err := lab.Spawn("right", server); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	time.Sleep(300 * time.Millisecond)
	var out strings.Builder
	client := exec.Command(need.Tool(t, "iperf3"), "-c", "10.0.0.2", "-t", "3", "-O", "1", "-J", "--connect-timeout", "3000")
	client.Stdout = &out
	if err := lab.Spawn("left", client); err != nil {
		t.Fatal(err)
	}
	if err := client.Wait(); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	var got struct {
		End struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	want := float64(rate) * 1448 / 1500
	if share := got.End.Received.Rate / want; share < 0.97 || share > 1.01 {
		t.Errorf("TCP gets %.1f Mbit/s, want %.1f within 3 %%", got.End.Received.Rate/1e6, want/1e6)
	}
	routes, err := wire.OpenRoutes(lab.NS("left"))
	if err != nil {
		t.Fatal(err)
	}
	defer routes.Close()
	sent, overflowed, err := routes.Shaped("eth0")
	if err != nil || sent < uint64(got.End.Received.Rate*3/8/1500) {
		t.Errorf("%d packets sent, %v; want as many as came", sent, err)
	}
	t.Logf("%.1f of %.1f Mbit/s, %d packets, %d overflowed", got.End.Received.Rate/1e6, want/1e6, sent, overflowed)
}
