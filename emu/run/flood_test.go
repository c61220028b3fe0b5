package run_test

import (
	"testing"

	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/fixture"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// TestLiveFlood: a flood from many sites spreads over datacenters by catchment, as BGP
// has it in the routers' kernels, and is too much for one.
func TestLiveFlood(t *testing.T) {
	for dataplane, everywhere := range map[run.Dataplane]bool{run.Hub: true, run.EBPF: false} {
		announced := "lhr"
		if everywhere {
			announced = "lhr, cdg, fra"
		}
		t.Run(string(dataplane)+", "+announced, func(t *testing.T) {
			if dataplane == run.EBPF {
				need.BPF(t)
			}
			fixture.Flooded(t, live(t, loadtest.Flood(t, announced), run.Options{Dataplane: dataplane, SpeakerArgs: []string{speakerWord}}), everywhere)
		})
	}
}
