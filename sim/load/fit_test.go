package load

import (
	"errors"
	"math"
	"testing"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// TestFitFindsWhatItWasDrawnFrom: of values that were drawn from a distribution, that
// one is the nearest, with its numbers.
func TestFitFindsWhatItWasDrawnFrom(t *testing.T) {
	for _, want := range []spec.Draw{
		{Kind: spec.Exponential, A: 20}, {Kind: spec.LogNormal, A: 5, B: 1.5}, {Kind: spec.Pareto, A: 2, B: 1.8}, {Kind: spec.Weibull, A: 3, B: 0.6},
	} {
		s := newStream(1, want.Kind)
		values := make([]float64, 4000)
		for i := range values {
			x, _ := s.words(forFlow, uint64(i))
			values[i] = want.Quantile(unitOf(x))
		}
		fits, err := Fit(values)
		if err != nil {
			t.Fatal(err)
		}
		got := fits[0].Draw
		if got.Kind != want.Kind || math.Abs(got.A/want.A-1) > 0.1 || want.B != 0 && math.Abs(got.B/want.B-1) > 0.1 || fits[0].Distance > 0.03 {
			t.Errorf("%+v, distance %.3f, want %+v", got, fits[0].Distance, want)
		}
	}
	if _, err := Fit([]float64{1, 2}); !errors.Is(err, ErrFewValues) {
		t.Errorf("two values: %v, want ErrFewValues", err)
	}
	if f, err := Fit(make([]float64, 30)); err == nil {
		t.Errorf("zeros: %v, want an error", f)
	}
}
