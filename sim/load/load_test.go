package load_test

import (
	"math"
	"reflect"
	"testing"

	"github.com/homeward-lab/homeward/sim/load"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const edge = `
version: 1
name: edge
datacenters:
  - {id: lhr, servers: 4, egress: [198.51.100.0/32]}
  - {id: cdg, servers: 4, egress: [198.51.100.1/32]}
  - {id: iad, servers: 4, egress: [198.51.100.2/32]}
  - {id: nrt, servers: 4, egress: [198.51.100.3/32]}
population: {users: 100000, ases: 2000}
workload:
  - {id: web, from: population, to: internet, rate: 0.01, mix: {tcp: 0.8, udp: 0.2}, holding: "exponential(mean=10s)", for: 5m}
`

func scenario(t testing.TB, text string) *spec.Scenario {
	t.Helper()
	return loadtest.Scenario(t, text)
}

func outcome(t testing.TB, text string, seed uint64) *load.Outcome {
	t.Helper()
	m, err := load.New(scenario(t, text), &load.Atlas{})
	if err != nil {
		t.Fatal(err)
	}
	o, err := m.Run(seed)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// value of a measure that has to be there.
func value(t testing.TB, o *load.Outcome, name string) float64 {
	t.Helper()
	v, ok := o.Value(name)
	if !ok {
		t.Fatalf("no measure %q", name)
	}
	return v
}

// TestRunIsPure: the same seed gives the same outcome, and everybody lands.
func TestRunIsPure(t *testing.T) {
	a, b := outcome(t, edge, 3), outcome(t, edge, 3)
	if !reflect.DeepEqual(a, b) {
		t.Error("two runs of one seed differ")
	}
	sum := value(t, a, "unreached")
	for _, id := range []string{"lhr", "cdg", "iad", "nrt"} {
		sum += value(t, a, "landing."+id)
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("%v of all users land", sum)
	}
	if got, want := value(t, a, "offered"), 1000.0; math.Abs(got-want) > 1 {
		t.Errorf("%v flows per second are offered, want %v", got, want)
	}
}
