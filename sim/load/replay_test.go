package load_test

import (
	"context"
	"errors"
	"testing"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/load"
	"github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// TestFlowLevelIsThePacketLevel: on scenarios that both play, the flow level has each
// flow's home, server and address as the hub's packets have it, and as many are
// refused, but for one in a hundred: which of those that come at the bound is the one
// too many depends on packets' order.
func TestFlowLevelIsThePacketLevel(t *testing.T) {
	for _, tt := range []struct {
		name, variant string
		refused       int
	}{
		{"port_exhaustion", "base", 152}, {"port_exhaustion", "another_address", 0}, {"port_exhaustion", "another_server", 0},
		{"overlapping_branches", "base", 0}, {"coffee_shops", "base", 0}, {"merger", "base", 0}, {"rush_hour", "base", 0},
	} {
		p := loadtest.Shipped(t, tt.name, tt.variant)
		var m record.Memory
		if err := run.Run(context.Background(), p, &m, run.Options{}); err != nil {
			t.Fatal(err)
		}
		placed, err := load.Replay(p)
		if err != nil {
			t.Errorf("%s/%s: %v", tt.name, tt.variant, err)
			continue
		}
		type id struct {
			traffic string
			n       int
		}
		at := map[id]load.Placed{}
		refused := 0
		for i, f := range p.Flows {
			at[id{f.Traffic, f.N}] = placed[i]
			if placed[i].Server == "" {
				refused++
			}
		}
		wrong, other, flows := 0, 0, 0
		for _, f := range m.Records().Flows {
			got := at[id{f.Traffic, f.N}]
			flows++
			switch {
			case f.EgressIP == "" || got.Server == "":
				if (f.EgressIP == "") != (got.Server == "") {
					wrong++
				}
			case got.Home != f.HomeServer || got.Server != f.EgressServer || got.Egress.String() != f.EgressIP:
				if other++; other == 1 {
					t.Logf("%s/%s: %s#%d is %+v, with packets %s, %s, %s", tt.name, tt.variant, f.Traffic, f.N, got, f.HomeServer, f.EgressServer, f.EgressIP)
				}
			}
		}
		if refused != tt.refused || wrong*100 > flows || other*100 > flows || flows == 0 {
			t.Errorf("%s/%s: %d of %d flows refused, want %d; %d are not the ones that packets' hub refuses, %d leave elsewhere", tt.name, tt.variant, refused, flows, tt.refused, wrong, other)
		}
	}
}

// TestReplayRefuses: what it does not know it says.
func TestReplayRefuses(t *testing.T) {
	var unsupported *load.Unsupported
	if _, err := load.Replay(loadtest.Shipped(t, "dedicated_egress", "base")); !errors.As(err, &unsupported) {
		t.Errorf("%v, want an *Unsupported", err)
	}
}
