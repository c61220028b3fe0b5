package impair

import (
	"math"
	"time"
)

// Where the tails of jitter are cut, in units of Jitter.
const (
	normalCut = 4
	paretoCut = 10
)

// Pareto of shape 3 and least value 1: mean 3/2, variance 3/4.
const (
	paretoShape = 3
	paretoMean  = 1.5
	paretoSigma = 0.8660254037844386 // √3/2
)

// Quantile is the jitter, in units of Jitter, below which a share u of packets
// is; 0 < u < 1.
func (d Distribution) Quantile(u float64) float64 {
	switch d {
	case Normal:
		return min(max(math.Sqrt2*math.Erfinv(2*u-1), -normalCut), normalCut)
	case Pareto:
		return min((math.Pow(1-u, -1.0/paretoShape)-paretoMean)/paretoSigma, paretoCut)
	}
	return 2*u - 1
}

// jitter is how much the delay of the n-th packet differs. It is asked once for
// every packet, in order.
//
// Correlation goes through a normal variable (a Gaussian copula): mixing the
// jitters themselves, as netem does, would change their distribution.
func (l *Line) jitter(n uint64) time.Duration {
	a, _ := l.stream.draw(forJitter, n)
	// The middle of the step: never 0 and never 1.
	u := unitOf(a) + 1.0/(1<<54)
	if rho := l.config.Correlation; rho > 0 {
		z := math.Sqrt2 * math.Erfinv(2*u-1)
		if l.correlated {
			z = float64(rho*l.last) + float64(math.Sqrt(1-float64(rho*rho))*z) // each rounded, on any processor
		}
		l.last, l.correlated = z, true
		u = min(max(0.5*math.Erfc(-z/math.Sqrt2), 1.0/(1<<54)), 1-1.0/(1<<53))
	}
	return time.Duration(math.Round(l.config.Distribution.Quantile(u) * float64(l.config.Jitter)))
}

// lost says whether the n-th packet is lost on the line. It is asked once for
// every packet, in order.
//
// Bursts are a Markov chain of two states (Gilbert 1960, with nothing lost in
// the good state and all in the bad one): a burst ends with probability
// 1/burst, and begins so often that the share in the bad state is Loss. The
// first packet finds the chain in its stationary state.
func (l *Line) lost(n uint64) bool {
	c := &l.config
	if c.LossBurst == 0 || c.Loss >= 1 {
		return l.stream.share(forLoss, n, c.Loss)
	}
	if c.Loss == 0 {
		l.bad = false
		return false
	}
	bad := c.Loss
	if l.chained {
		bad = c.Loss / (1 - c.Loss) / c.LossBurst
		if l.bad {
			bad = 1 - 1/c.LossBurst
		}
	}
	l.bad, l.chained = l.stream.share(forLoss, n, bad), true
	return l.bad
}
