// Package stat says how sure a simulation is of a number.
//
// Its law: an interval is right as often as it claims, or there is none. Values of
// one run hang together, so that a mean over them looks surer than it is; where
// batches of them still correlate, the interval is refused.
package stat

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Errors of intervals. They are wrapped with figures.
var (
	// ErrCorrelated: batches are too short for the memory of what was measured. More
	// of the same does not help, longer runs do.
	ErrCorrelated = errors.New("batches correlate")
	// ErrFew: there is too little to say anything.
	ErrFew = errors.New("too few values")
)

// Estimate is a mean and how far from it the truth may be.
type Estimate struct {
	Mean float64
	// Half is half the interval's width; NaN if there is none.
	Half float64
	// Level is the share of such intervals that hold the truth: 0.95.
	Level float64
	// N is the independent values that it rests on: replicas or batches.
	N int
}

// Low is the interval's lower end.
func (e Estimate) Low() float64 { return e.Mean - e.Half }

// High is the interval's upper end.
func (e Estimate) High() float64 { return e.Mean + e.Half }

// Holds says whether x is in the interval.
func (e Estimate) Holds(x float64) bool { return math.Abs(x-e.Mean) <= e.Half }

// String is the mean and half the width.
func (e Estimate) String() string { return fmt.Sprintf("%.4g ± %.2g", e.Mean, e.Half) }

// Mean is the interval of the mean of independent values, such as one of each
// replica, by Student's t. The error wraps ErrFew below two.
func Mean(values []float64, level float64) (Estimate, error) {
	n := len(values)
	if n < 2 {
		return Estimate{Half: math.NaN(), Level: level, N: n}, fmt.Errorf("%w: %d, want at least 2", ErrFew, n)
	}
	mean, variance := stat.MeanVariance(values, nil)
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(n - 1)}.Quantile((1 + level) / 2)
	return Estimate{mean, t * math.Sqrt(variance/float64(n)), level, n}, nil
}

// Controlled is the interval of the mean of independent values by a control variate
// (Lavenberg, Moeller and Welch 1982): chance moved control with them, and its
// expectation is known, so that what it explains goes out. The error wraps ErrFew
// below four.
func Controlled(values, control []float64, expected, level float64) (Estimate, error) {
	n := len(values)
	if n != len(control) {
		return Estimate{Half: math.NaN(), Level: level}, fmt.Errorf("%d values and %d controls", n, len(control))
	}
	if n < 4 {
		return Estimate{Half: math.NaN(), Level: level, N: n}, fmt.Errorf("%w: %d, want at least 4", ErrFew, n)
	}
	mean := stat.Mean(values, nil)
	middle, spread := stat.MeanVariance(control, nil)
	if spread == 0 {
		return Mean(values, level)
	}
	slope := stat.Covariance(values, control, nil) / spread
	rest := 0.0
	for i := range values {
		e := values[i] - mean - slope*(control[i]-middle)
		rest += e * e
	}
	// The variance of a regression's value at expected, not at the controls' middle.
	off := middle - expected
	variance := rest / float64(n-2) * (1/float64(n) + off*off/(float64(n-1)*spread))
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(n - 2)}.Quantile((1 + level) / 2)
	return Estimate{mean - slope*off, t * math.Sqrt(variance), level, n}, nil
}

// The batches of a run. Twenty to thirty are enough for the interval, and more
// would be shorter (Schmeiser 1982); the test for correlation has a power that
// grows with their number.
const (
	batches = 32
	// Least values of a batch.
	least = 4
	// How likely a run without correlation is refused, by chance.
	falseAlarm = 0.01
)

// Batches is the interval of the mean of one run's values in their order, after its
// beginning was cut off (see Warmup), by the means of batches. The error wraps
// ErrFew, or ErrCorrelated if the batches' means are still not independent by von
// Neumann's ratio (Fishman 1978); the mean is then right all the same, and Half is
// NaN.
func Batches(values []float64, level float64) (Estimate, error) {
	size := len(values) / batches
	if size < least {
		return Estimate{Half: math.NaN(), Level: level}, fmt.Errorf("%w: %d in a run, want at least %d", ErrFew, len(values), least*batches)
	}
	means := make([]float64, batches)
	rest := values[len(values)-size*batches:]
	for i := range means {
		means[i] = stat.Mean(rest[i*size:(i+1)*size], nil)
	}
	e, err := Mean(means, level)
	if err != nil {
		return e, err
	}
	if z := vonNeumann(means); z > distuv.UnitNormal.Quantile(1-falseAlarm) {
		e.Half = math.NaN()
		return e, fmt.Errorf("%w: %d batches of %d values, %.1f standard deviations from independent", ErrCorrelated, batches, size, z)
	}
	return e, nil
}

// vonNeumann is how far the values are from independent toward following each
// other, in standard deviations: the ratio of mean squared successive differences
// to the variance, which is 2 on average and less the more they correlate.
func vonNeumann(values []float64) float64 {
	n := float64(len(values))
	mean := stat.Mean(values, nil)
	steps, squares := 0.0, 0.0
	for i, v := range values {
		squares += (v - mean) * (v - mean)
		if i > 0 {
			steps += (v - values[i-1]) * (v - values[i-1])
		}
	}
	if squares == 0 {
		return 0 // all the same: nothing follows anything
	}
	return (1 - steps/(2*squares)) / math.Sqrt((n-2)/(n*n-1))
}

// Warmup is how many values at a run's beginning are better left out, by MSER-5
// (White 1997): of all cuts, the one after which the mean's standard error is least,
// over means of five. A cut in the second half says that the run is too short to
// tell; the error then wraps ErrFew.
func Warmup(values []float64) (int, error) {
	const group = 5
	n := len(values) / group
	if n < 2*group {
		return 0, fmt.Errorf("%w: %d, want at least %d", ErrFew, len(values), 2*group*group)
	}
	best, cut := math.Inf(1), 0
	sum, squares := 0.0, 0.0
	for i := n - 1; i >= 0; i-- { // from behind, so that sums grow by one
		m := stat.Mean(values[i*group:(i+1)*group], nil)
		sum += m
		squares += m * m
		k := float64(n - i)
		if k < group {
			continue // a few values agree by chance
		}
		if e := (squares - sum*sum/k) / (k * k); e <= best {
			best, cut = e, i
		}
	}
	if cut > n/2 {
		return 0, fmt.Errorf("%w: a run of %d has its beginning still in its second half", ErrFew, len(values))
	}
	return cut * group, nil
}

// ErlangB is the share of calls that find all places taken, when calls come by
// chance, load of them in the mean time of one, and leave if refused. It does not
// depend on how long calls are but in the mean (Erlang 1917, Sevastyanov 1957).
func ErlangB(places int, load float64) float64 {
	// 1/B = Σ places!/(places-k)!/load^k. The terms fall as soon as fewer places are left
	// than the load, and what no longer counts is left out.
	term, inverse := 1.0, 1.0
	for k := float64(places); k >= 1; k-- {
		term *= k / load
		inverse += term
		if k < load && term < inverse*1e-17 {
			break
		}
	}
	return 1 / inverse
}
