package run_test

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// TestLiveSU10: a Briton who leaves from Paris is sent to Paris by a content
// network whose name server a resolver there asks from Paris's own address, and
// to London, which is farther, if anybody asks it as a Briton. dig is told the
// same, and tshark reads what went over the wires.
func TestLiveSU10(t *testing.T) {
	dig := need.Tool(t, "dig")
	rtt := map[string]int64{}
	for variant, node := range map[string]string{"base": "node_paris", "as_the_user": "node_london", "at_home": "node_london", "client_subnet": "node_london"} {
		p := loadtest.Shipped(t, "cdn_misdirect", variant)
		file := filepath.Join(t.TempDir(), "lab.pcapng")
		var said bytes.Buffer
		r := live(t, p, run.Options{Capture: file, Keep: func(_ context.Context, doors []run.Door) {
			at := "203.0.113.53"
			if variant == "at_home" {
				at = "203.0.113.54"
			}
			cmd := exec.Command(dig, "@"+at, "+tries=2", "+time=3", "+short", "cdn", "A")
			cmd.Stdout = &said
			if err := roomsOf(doors)["briton.1"].Spawn(cmd); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait() // what it says is judged
		}})
		for _, f := range want(t, r, "pages", record.OK) {
			if f.Server != node || f.EgressDC != "cdg" || f.EgressCountry != "GB" {
				t.Errorf("%s: flow %d left from %s as %s and was sent to %s, want cdg, GB and %s", variant, f.N, f.EgressDC, f.EgressCountry, f.Server, node)
			}
			rtt[variant] = max(rtt[variant], f.RTTNs)
		}
		origin, _ := p.Node(node)
		if got := strings.TrimSpace(said.String()); got != origin.Address.String() {
			t.Errorf("%s: dig says %q, want %v", variant, got, origin.Address)
		}
		wantSound(t, file, "dns")
	}
	if rtt["base"] >= rtt["as_the_user"] {
		t.Errorf("%d ns to Paris, %d to London: want the second to be more", rtt["base"], rtt["as_the_user"])
	}
}
