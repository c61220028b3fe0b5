package load

import (
	"testing"

	"gonum.org/v1/gonum/stat"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// TestControlVariate: with Erlang's formula as control an estimate strays less than
// without, and about the same mean.
func TestControlVariate(t *testing.T) {
	var plain, controlled []float64
	for seed := range uint64(60) {
		g := steady(64, 62, spec.Draw{Kind: spec.Exponential, A: 1}, 1, 60, seed+1)
		g.Retries, g.Backoff = 1, 0.05 // soon again: not much better than giving up
		a, b, err := g.Controlled()
		if err != nil {
			t.Fatal(err)
		}
		plain, controlled = append(plain, a), append(controlled, b)
	}
	meanA, devA := stat.MeanStdDev(plain, nil)
	meanB, devB := stat.MeanStdDev(controlled, nil)
	if devB > 0.8*devA || meanB < meanA-devA || meanB > meanA+devA {
		t.Errorf("%.4f ± %.4f without control, %.4f ± %.4f with it", meanA, devA, meanB, devB)
	}
	t.Logf("%.4f ± %.4f without control, %.4f ± %.4f with it", meanA, devA, meanB, devB)
}
