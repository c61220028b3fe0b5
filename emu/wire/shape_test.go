package wire_test

import (
	"bufio"
	"encoding/json"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const (
	shapedRate = 500 * unit.Mbit
	// fullRate is that in packets of 1500 bytes a second.
	fullRate = float64(shapedRate) / 8 / 1500
	// saved is what a bucket saves up while its sender pauses, packets.
	saved = fullRate * 0.004
)

// shapedLab is two hosts with a link between them that has a rate and no more.
func shapedLab(t *testing.T) *keeper.Lab {
	t.Helper()
	end := func(node, at, other string, mac byte) plan.Endpoint {
		return plan.Endpoint{Node: node, Interface: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, mac}, Addresses: []netip.Prefix{netip.MustParsePrefix(at + "/24")}, Neighbors: []netip.Addr{netip.MustParseAddr(other)}}
	}
	p := &plan.Plan{
		Scenario: "shape", Nodes: []plan.Node{{ID: "left", Kind: plan.KindHost}, {ID: "right", Kind: plan.KindHost}},
		Links: []plan.Link{{
			ID: "left-right", MTU: 1500, A: end("left", "10.0.0.1", "10.0.0.2", 1), B: end("right", "10.0.0.2", "10.0.0.1", 2),
			AB: spec.Impairment{Rate: shapedRate, Queue: 512 << 10}, BA: spec.Impairment{Rate: 2 * shapedRate},
		}},
	}
	if l := &p.Links[0]; !l.Shaped() || l.Impaired() || len(wire.Cuts(p)) != 0 {
		t.Fatal("the link is not the kernel's")
	}
	return labtest.Up(t, p)
}

// A plain rate is the kernel's: while TCP fills the link, its packets leave at the
// rate within 3 %, and what TCP gets of them is what headers leave. The rate is told
// by the link's own count between two readings of it: a busy machine makes a sender
// pause, and no link faster. A sender that never got to fill the link sends again.
func TestLiveShape(t *testing.T) {
	need.Root(t)
	lab := shapedLab(t)
	routes, err := wire.OpenRoutes(lab.NS("left"))
	if err != nil {
		t.Fatal(err)
	}
	defer routes.Close()
	fastest, received := 0.0, 0.0
	for range 5 {
		got, readings := transferred(t, lab, routes)
		received += got
		fastest = max(fastest, fastestOf(t, readings))
		if fastest >= fullRate*0.97 {
			break
		}
		t.Logf("at most %.0f packets a second: the link was not full, so once more", fastest)
	}
	if fastest < fullRate*0.97 {
		t.Errorf("at most %.0f packets a second, want %.0f within 3 %%", fastest, fullRate)
	}
	sent, overflowed, err := routes.Shaped("eth0")
	if share := received / 1448 / float64(sent); err != nil || share < 0.97 || share > 1 {
		t.Errorf("TCP got %.0f bytes of %d packets, %v; want 1448 of each within 3 %%", received, sent, err)
	}
	t.Logf("up to %.0f of %.0f packets a second, %d in all, %d overflowed", fastest, fullRate, sent, overflowed)
}

// transferred has iperf3 send for three seconds, and is how many bytes arrived and
// what the link counted meanwhile.
func transferred(t *testing.T, lab *keeper.Lab, routes *wire.Routes) (received float64, readings []reading) {
	t.Helper()
	server := exec.Command(need.Tool(t, "iperf3"), "-s", "-1", "-B", "10.0.0.2", "--forceflush")
	said, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Spawn("right", server); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	for lines := bufio.NewScanner(said); lines.Scan() && !strings.Contains(lines.Text(), "listening"); {
	}
	var out strings.Builder
	client := exec.Command(need.Tool(t, "iperf3"), "-c", "10.0.0.2", "-t", "3", "-J", "--connect-timeout", "10000")
	client.Stdout = &out
	if err := lab.Spawn("left", client); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- client.Wait() }()
	readings = readUntil(t, routes, ended)
	var got struct {
		End struct {
			Received struct {
				Bytes float64 `json:"bytes"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	return got.End.Received.Bytes, readings
}

// fastestOf is how many packets a second the link carried at most over a fifth of a
// second, which is never more than the rate.
func fastestOf(t *testing.T, readings []reading) (fastest float64) {
	t.Helper()
	for i, from := range readings {
		for _, to := range readings[i+1:] {
			took := to.after.Sub(from.before).Seconds()
			if took < 0.2 {
				continue
			}
			sent := float64(to.sent - from.sent)
			if sent > fullRate*took*1.01+saved {
				t.Errorf("%.0f packets in at most %.3f s, want %.0f a second", sent, took, fullRate)
			}
			fastest = max(fastest, sent/took)
			break
		}
	}
	return fastest
}

// reading is how many packets a link had sent at some time from before to after.
type reading struct {
	before, after time.Time
	sent          uint64
}

// readUntil reads the link's count again and again until its sender has ended.
func readUntil(t *testing.T, routes *wire.Routes, ended <-chan error) (all []reading) {
	t.Helper()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			return all
		case <-time.After(20 * time.Millisecond):
		}
		r := reading{before: time.Now()}
		var err error
		if r.sent, _, err = routes.Shaped("eth0"); err != nil {
			t.Fatal(err)
		}
		r.after = time.Now()
		all = append(all, r)
	}
}
