package spec

import "math"

// Quantile is the value below which a share u of the distribution is, u from 0 to
// less than 1, its tail cut at Most. The zero value has 0 everywhere.
func (d Draw) Quantile(u float64) float64 {
	x := 0.0
	switch d.Kind {
	case Constant:
		x = d.A
	case Exponential:
		x = -d.A * math.Log1p(-u)
	case LogNormal:
		x = d.A * math.Exp(d.B*math.Sqrt2*math.Erfinv(2*u-1))
	case Pareto:
		x = d.A * math.Pow(1-u, -1/d.B)
	case Weibull:
		x = d.A * math.Pow(-math.Log1p(-u), 1/d.B)
	case Empirical:
		x = Interpolate(d.Shares, d.Values, u)
	}
	if d.Most > 0 {
		x = min(x, d.Most)
	}
	return x
}

// Interpolate is y at x, linear between points and constant beyond them; xs rise.
func Interpolate(xs, ys []float64, x float64) float64 {
	i := 0
	for i < len(xs) && xs[i] < x {
		i++
	}
	switch {
	case i == len(xs):
		return ys[i-1]
	case i == 0 || xs[i] == xs[i-1]:
		return ys[i]
	}
	return ys[i-1] + (ys[i]-ys[i-1])*(x-xs[i-1])/(xs[i]-xs[i-1])
}
