package asgraph

// Preference is how ASes choose among routes that are equally good: of the same
// relation and length. Real routers go by the age of a route and by costs inside
// their AS, which nobody outside knows; each Preference is one guess.
//
// Zero prefers the neighbour with the lowest number. Any other value is a seed:
// each AS has an order of its neighbours of its own, drawn from both numbers, so
// that an AS that is added changes nobody else's.
type Preference uint64

// rank is how much the AS at likes the neighbour from; the least is liked best.
// Of two neighbours it is never the same.
func (p Preference) rank(at, from ASN) uint64 {
	if p == 0 {
		return uint64(from)
	}
	// The finalizer of SplitMix64 (Steele, Lea, Flood 2014) over both.
	x := uint64(p) ^ (uint64(at)<<32 | uint64(from))
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return x&^0xffffffff | uint64(from)
}
