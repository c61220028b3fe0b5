package impair

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// Stream is the chance of one direction of a link: a key for draws that are
// numbered, not taken in turn. The n-th draw for a purpose is the same however
// many draws were made before it.
type Stream [2]uint32

// Direction of a link.
type Direction uint8

// Directions, from end A of the plan's link to B and back.
const (
	AB Direction = iota
	BA
)

// String is "ab" or "ba".
func (d Direction) String() string { return [...]string{"ab", "ba"}[d&1] }

// NewStream is the stream of a scenario's seed, the id of a link and a direction.
func NewStream(seed uint64, link string, d Direction) Stream {
	b := binary.BigEndian.AppendUint64(nil, seed)
	b = append(append(b, byte(d)), link...)
	sum := sha256.Sum256(b)
	return Stream{binary.BigEndian.Uint32(sum[:]), binary.BigEndian.Uint32(sum[4:])}
}

// purpose keeps what is drawn for one word apart from all others.
type purpose uint32

const (
	forLoss purpose = iota + 1
	forJitter
	forReorder
	forDuplicate
	forCorrupt
)

// draw is the n-th draw for a purpose: two numbers of 64 bits.
func (s Stream) draw(p purpose, n uint64) (a, b uint64) {
	x := philox([4]uint32{uint32(n), uint32(n >> 32), uint32(p), 0}, s)
	return uint64(x[1])<<32 | uint64(x[0]), uint64(x[3])<<32 | uint64(x[2])
}

// unitOf maps 64 bits onto [0, 1) in steps of 2⁻⁵³.
func unitOf(x uint64) float64 { return float64(x>>11) * (1.0 / (1 << 53)) }

// share reports whether the n-th packet is among those that a purpose takes.
func (s Stream) share(p purpose, n uint64, of float64) bool {
	if of <= 0 {
		return false
	}
	a, _ := s.draw(p, n)
	return unitOf(a) < of
}

// philox is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers:
// As Easy as 1, 2, 3; SC 2011): counter and key in, four random words out.
func philox(c [4]uint32, k [2]uint32) [4]uint32 {
	const (
		m0, m1 = 0xd2511f53, 0xcd9e8d57
		w0, w1 = 0x9e3779b9, 0xbb67ae85
		rounds = 10
	)
	for range rounds {
		hi0, lo0 := bits.Mul32(m0, c[0])
		hi1, lo1 := bits.Mul32(m1, c[2])
		c = [4]uint32{hi1 ^ c[1] ^ k[0], lo1, hi0 ^ c[3] ^ k[1], lo0}
		k[0] += w0
		k[1] += w1
	}
	return c
}

// Philox is philox for others that number their draws.
func Philox(counter [4]uint32, key [2]uint32) [4]uint32 { return philox(counter, key) }
