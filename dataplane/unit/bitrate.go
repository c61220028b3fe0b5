package unit

import (
	"math"
	"math/bits"
	"time"
)

// BitRate is bits per second, decimal units: bit, kbit, Mbit, Gbit, Tbit. Zero
// means unlimited where a link is described.
type BitRate int64

const wantBitRate = "a rate such as 500Mbit or 2.5Gbit"

// Rates of the units.
const (
	Kbit BitRate = 1e3
	Mbit BitRate = 1e6
	Gbit BitRate = 1e9
)

var rateUnits = []scale{
	{"bit", 1},
	{"kbit", 1e3},
	{"Mbit", 1e6},
	{"Gbit", 1e9},
	{"Tbit", 1e12},
}

// ParseBitRate reads a rate in bits per second.
func ParseBitRate(s string) (BitRate, error) {
	v, err := scaled(s, wantBitRate, rateUnits)
	return BitRate(v), err
}

// TxTime is how long n bytes occupy a link of rate r. It is 0 for an unlimited
// link, and saturates at the longest duration.
func (r BitRate) TxTime(n Bytes) time.Duration {
	if r <= 0 || n <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(n), 8*uint64(time.Second))
	if hi >= uint64(r) {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, uint64(r))
	return time.Duration(min(q, math.MaxInt64))
}

// String prints the rate in the largest unit that gives a whole number.
func (r BitRate) String() string { return print(int64(r), rateUnits) }

// MarshalText is String.
func (r BitRate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseBitRate.
func (r *BitRate) UnmarshalText(text []byte) error {
	v, err := ParseBitRate(string(text))
	if err == nil {
		*r = v
	}
	return err
}
