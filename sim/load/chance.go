package load

import (
	"hash/fnv"
	"math"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// stream is the chance of one entity: draws that are numbered and not taken in
// turn, so that what one entity draws is the same whoever else there is. Variants
// of a scenario share all that they have in common.
type stream [2]uint32

// newStream is the stream of a seed and an entity.
func newStream(seed uint64, entity string) stream {
	h := fnv.New64a()
	h.Write([]byte(entity))
	w := impair.Philox([4]uint32{uint32(seed), uint32(seed >> 32), 0, 0}, [2]uint32{uint32(h.Sum64()), uint32(h.Sum64() >> 32)})
	return stream{w[0], w[1]}
}

// purpose keeps what is drawn for one thing apart from all others.
type purpose uint32

const (
	forArrival purpose = iota + 1
	forFlow
	forHolding
	forRetry
	forOrigin
	forStretch
	forSite
)

// words are two numbers of 64 bits: the n-th draw for a purpose.
func (s stream) words(p purpose, n uint64) (a, b uint64) {
	w := impair.Philox([4]uint32{uint32(n), uint32(n >> 32), uint32(p), 1}, s)
	return uint64(w[1])<<32 | uint64(w[0]), uint64(w[3])<<32 | uint64(w[2])
}

// unit maps 64 bits onto (0, 1).
func unitOf(x uint64) float64 { return (float64(x>>11) + 0.5) * (1.0 / (1 << 53)) }

// exponential is of mean 1, of the upper 44 bits.
func exponential(x uint64) float64 { return -math.Log((float64(x>>20) + 0.5) * (1.0 / (1 << 44))) }

// sampler draws from a distribution by a table of its quantiles, between which it
// is linear: a draw costs the same for any of them. The mean is the table's own.
type sampler struct {
	quantiles []float64 // at (i + ½) / len
	upTo      []float64 // their sums
	mean      float64
}

const quantileCount = 1 << 14

// newSampler makes the table of a distribution.
func newSampler(d spec.Draw) *sampler {
	q := make([]float64, quantileCount)
	for i := range q {
		q[i] = d.Quantile((float64(i) + 0.5) / quantileCount)
	}
	return sampled(q)
}

// sampled is a sampler of quantiles, rising.
func sampled(q []float64) *sampler {
	s := &sampler{quantiles: q, upTo: make([]float64, len(q))}
	sum := 0.0
	for i, x := range q {
		sum += x
		s.upTo[i] = sum
	}
	s.mean = sum / float64(len(q))
	return s
}

// constantly is a sampler of one value.
func constantly(x float64) *sampler { return newSampler(spec.Draw{Kind: spec.Constant, A: x}) }

// draw takes 64 bits.
func (s *sampler) draw(x uint64) float64 { return s.quantiles[x>>(64-14)] }

// residual is what is left of a time that goes on at a moment that says nothing of
// it: of one drawn in proportion to its length, any part.
func (s *sampler) residual(a, b uint64) float64 {
	i := searchUp(s.upTo, unitOf(a)*s.upTo[len(s.upTo)-1])
	return s.quantiles[i] * unitOf(b)
}

// searchUp is the first index whose sum is not below x.
func searchUp(sums []float64, x float64) int {
	lo, hi := 0, len(sums)-1
	for lo < hi {
		if mid := (lo + hi) / 2; sums[mid] < x {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}
