package load_test

import (
	"math"
	"strings"
	"testing"
)

// TestMoreServersThanSlices: two addresses have thirty slices of 4,096 ports; of
// thirty-one servers one has none, and it alone refuses, unless another takes over.
// Slices of 2,048 ports are enough for all.
func TestMoreServersThanSlices(t *testing.T) {
	const text = `
version: 1
name: one
bounds: {slice: SLICE}
datacenters: [{id: lhr, servers: 31, egress: [198.51.100.0/31]}]
account: {on_exhaustion: POLICY}
population: {users: 1000, ases: 500}
workload: [{id: web, from: population, to: internet, rate: 0.01, holding: 1s, for: 1m}]
`
	for _, tt := range []struct {
		slice, policy string
		blocked       float64
	}{{"4096", "another_address", 1. / 31}, {"4096", "another_server", 0}, {"2048", "another_address", 0}} {
		o := outcome(t, strings.NewReplacer("SLICE", tt.slice, "POLICY", tt.policy).Replace(text), 1)
		if got := value(t, o, "blocked"); math.Abs(got-tt.blocked) > 1e-9 {
			t.Errorf("slices of %s, %s: %v blocked, want %v", tt.slice, tt.policy, got, tt.blocked)
		}
		if got := value(t, o, "refusals"); math.Abs(got-tt.blocked) > 1e-9 {
			t.Errorf("slices of %s, %s: %v of tries refused, want %v", tt.slice, tt.policy, got, tt.blocked)
		}
	}
}
