package run

import (
	"testing"

	"github.com/homeward-lab/homeward/reports/fixture"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// TestFlood: a flood from many sites spreads over datacenters by catchment, and is too
// much for one.
func TestFlood(t *testing.T) {
	fixture.Flooded(t, run(t, loadtest.Flood(t, "lhr, cdg, fra"), Options{}), true)
	fixture.Flooded(t, run(t, loadtest.Flood(t, "lhr"), Options{}), false)
}
