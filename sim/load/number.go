package load

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

func seconds(d time.Duration) float64 { return d.Seconds() }

// times is a sampler of so many times as much, plus what is added.
func (s *sampler) times(x float64) *sampler { return s.linear(x, 0) }

func (s *sampler) plus(x float64) *sampler { return s.linear(1, x) }

func (s *sampler) linear(times, plus float64) *sampler {
	q := make([]float64, len(s.quantiles))
	for i, v := range s.quantiles {
		q[i] = v*times + plus
	}
	return sampled(q)
}

// sortedKeys are a map's keys in order: no outcome depends on a map's own.
func sortedKeys[K cmp.Ordered, V any](all map[K]V) []K { return slices.Sorted(maps.Keys(all)) }

// blend is a sampler of which a share is of b and the rest of a.
func blend(a, b *sampler, share float64) *sampler {
	switch share {
	case 0:
		return a
	case 1:
		return b
	}
	n := len(a.quantiles)
	some := int(math.Round(share * float64(n)))
	q := make([]float64, 0, n)
	for i := range some { // spread over all of b's, and then over all of a's
		q = append(q, b.quantiles[(2*i+1)*n/(2*some)])
	}
	for i := range n - some {
		q = append(q, a.quantiles[(2*i+1)*n/(2*(n-some))])
	}
	slices.Sort(q)
	return sampled(q)
}
