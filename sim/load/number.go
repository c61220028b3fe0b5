package load

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

func seconds(d time.Duration) float64 { return d.Seconds() }

func toUnit(d time.Duration) unit.Duration { return unit.Duration(d) }

// zipf is the share of each destination.
func zipf(p spec.Popularity) []float64 {
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
