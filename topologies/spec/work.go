package spec

import (
	"cmp"
	"math"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
)

// What a workload means that does not say so.
const (
	defaultWorkSize  = 64 * unit.KiB
	defaultWorkSpeed = unit.BitRate(20_000_000)
	defaultWorkFor   = unit.Duration(10 * time.Minute)
	defaultBackoff   = unit.Duration(time.Second)
	defaultPeak      = 20
)

// Filled is the workload with a default for every word of its flows that it leaves
// out. Holding stays as it is, none is what the size takes at Speed.
func (w Workload) Filled() Workload {
	if !w.Size.Given() {
		w.Size.Draw = Draw{Kind: Constant, A: float64(defaultWorkSize)}
	}
	if len(w.Mix) == 0 {
		w.Mix = map[string]float64{"tcp": 1}
	}
	w.Speed, w.For = cmp.Or(w.Speed, defaultWorkSpeed), cmp.Or(w.For, defaultWorkFor)
	w.Backoff, w.Peak, w.Close = cmp.Or(w.Backoff, defaultBackoff), cmp.Or(w.Peak, defaultPeak), cmp.Or(w.Close, "client")
	return w
}

// Expected is how many flows one host or user opens on average; w is Filled.
func (w Workload) Expected() float64 {
	n := w.Rate * w.For.D().Seconds()
	for _, c := range w.Crowds {
		n += w.Rate * (c.Times - 1) * max(min(c.At+c.For, w.For)-c.At, 0).D().Seconds()
	}
	return n
}

// Popular is the share of each destination, the most wanted first: as many as
// Number says, and where nothing is given n of them by the exponent 1.
func (p Popularity) Popular(n int) []float64 {
	if p.Number == 0 {
		p = Popularity{Exponent: 1, Number: n}
	}
	all, sum := make([]float64, p.Number), 0.0
	for k := range all {
		all[k] = math.Pow(float64(k+1), -p.Exponent)
		sum += all[k]
	}
	for k := range all {
		all[k] /= sum
	}
	return all
}
