package load

import (
	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// stretch is how much longer a path between two places is than fibre along the
// great circle. It is a pair's own, drawn once for all scenarios, and the same in
// both directions. Its quantiles are what is measured between the regions of a
// large cloud (p5 1.34, median 1.78, p95 3.21 of round trips over the great
// circle's), between which it is linear.
func stretch(a, b place.Place) float64 {
	if a.Code > b.Code {
		a, b = b, a
	}
	x, _ := newStream(0, a.Code+"-"+b.Code).words(forStretch, 0)
	return spec.Interpolate([]float64{0, 0.05, 0.5, 0.95, 1}, []float64{1.1, 1.34, 1.78, 3.21, 5}, unitOf(x))
}
