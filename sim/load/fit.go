package load

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// Fitted is a distribution that was fitted to values, and how far it is from them:
// the greatest distance of cumulative shares (Kolmogorov, Smirnov), 0 to 1.
type Fitted struct {
	Draw     spec.Draw `json:"draw"`
	Distance float64   `json:"distance"`
}

// ErrFewValues is wrapped where there is too little to fit.
var ErrFewValues = errors.New("too few values")

// leastValues to fit.
const leastValues = 20

// Fit fits the distributions that a workload can have to values above 0, by greatest
// likelihood, and returns them nearest first.
func Fit(values []float64) ([]Fitted, error) {
	if len(values) < leastValues {
		return nil, fmt.Errorf("%w: %d, want at least %d", ErrFewValues, len(values), leastValues)
	}
	sorted := slices.Sorted(slices.Values(values))
	n := float64(len(sorted))
	sum, logs, squares := 0.0, 0.0, 0.0
	for _, x := range sorted {
		if !(x > 0) {
			return nil, fmt.Errorf("a value of %v, want more than 0", x)
		}
		sum += x
		logs += math.Log(x)
	}
	mean, median := sum/n, math.Exp(logs/n)
	for _, x := range sorted {
		d := math.Log(x / median)
		squares += d * d
	}
	least := sorted[0]
	draws := []spec.Draw{{Kind: spec.Exponential, A: mean}}
	if sigma := math.Sqrt(squares / n); sigma > 0 {
		draws = append(draws, spec.Draw{Kind: spec.LogNormal, A: median, B: sigma})
		// A Pareto without mean is cut at the greatest value, as scenarios want it.
		draws = append(draws, spec.Draw{Kind: spec.Pareto, A: least, B: n / (logs - n*math.Log(least)), Most: sorted[len(sorted)-1]})
		draws = append(draws, weibull(sorted, logs/n))
	} else {
		draws = []spec.Draw{{Kind: spec.Constant, A: mean}}
	}
	var all []Fitted
	for _, d := range draws {
		all = append(all, Fitted{d, distance(sorted, d)})
	}
	slices.SortStableFunc(all, func(a, b Fitted) int { return cmp.Compare(a.rank(n), b.rank(n)) })
	return all, nil
}

// rank is the distance, and as much more for a second number as it gains by chance: a
// Weibull distribution of the shape 1 is an exponential one.
func (f Fitted) rank(n float64) float64 {
	if f.Draw.B == 0 {
		return f.Distance
	}
	return f.Distance + 0.5/math.Sqrt(n)
}

// weibull finds the shape whose likelihood is greatest by halving, and its scale.
func weibull(values []float64, meanLog float64) spec.Draw {
	// The derivative of the likelihood by the shape falls from above to below zero.
	slope := func(k float64) float64 {
		a, b := 0.0, 0.0
		for _, x := range values {
			p := math.Pow(x/values[len(values)-1], k)
			a += p * math.Log(x)
			b += p
		}
		return 1/k + meanLog - a/b
	}
	low, high := 0.01, 100.0
	for range 60 {
		if mid := math.Sqrt(low * high); slope(mid) > 0 {
			low = mid
		} else {
			high = mid
		}
	}
	sum := 0.0
	for _, x := range values {
		sum += math.Pow(x, low)
	}
	return spec.Draw{Kind: spec.Weibull, A: math.Pow(sum/float64(len(values)), 1/low), B: low}
}

// distance is that of Fitted: at each value from both sides of its step.
func distance(sorted []float64, d spec.Draw) (most float64) {
	n := float64(len(sorted))
	for i, x := range sorted {
		f := cumulative(d, x)
		most = max(most, math.Abs(f-float64(i)/n), math.Abs(f-float64(i+1)/n))
	}
	return most
}

// cumulative is the share below x of a distribution with a formula.
func cumulative(d spec.Draw, x float64) float64 {
	switch {
	case d.Most > 0 && x >= d.Most:
		return 1
	case d.Kind == spec.Exponential:
		return -math.Expm1(-x / d.A)
	case d.Kind == spec.LogNormal:
		return 0.5 * (1 + math.Erf(math.Log(x/d.A)/(d.B*math.Sqrt2)))
	case d.Kind == spec.Pareto:
		return 1 - math.Pow(d.A/max(x, d.A), d.B)
	case d.Kind == spec.Weibull:
		return -math.Expm1(-math.Pow(x/d.A, d.B))
	case x < d.A:
		return 0
	}
	return 1
}

// Seconds prints a distribution of times as a scenario has it, Bytes one of sizes.
func Seconds(d spec.Draw) string {
	return written(d, func(x float64) string {
		return time.Duration(x * float64(time.Second)).Round(time.Microsecond).String()
	})
}

// Bytes is Seconds for sizes.
func Bytes(d spec.Draw) string {
	return written(d, func(x float64) string { return fmt.Sprintf("%.0fB", max(x, 1)) })
}

func written(d spec.Draw, amount func(float64) string) string {
	tail := ""
	if d.Most > 0 {
		tail = ", most=" + amount(d.Most)
	}
	switch d.Kind {
	case spec.Constant:
		return amount(d.A)
	case spec.Exponential:
		return fmt.Sprintf("exponential(mean=%s%s)", amount(d.A), tail)
	case spec.LogNormal:
		return fmt.Sprintf("lognormal(median=%s, sigma=%.4g%s)", amount(d.A), d.B, tail)
	case spec.Pareto:
		return fmt.Sprintf("pareto(least=%s, shape=%.4g%s)", amount(d.A), d.B, tail)
	case spec.Weibull:
		return fmt.Sprintf("weibull(scale=%s, shape=%.4g%s)", amount(d.A), d.B, tail)
	}
	return fmt.Sprintf("file(%s)", d.File)
}
