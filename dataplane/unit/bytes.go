package unit

// Bytes is a size. Written with binary units (KiB, MiB, GiB, TiB) or decimal
// ones (kB, MB, GB, TB), or B.
type Bytes int64

const wantBytes = "a size such as 64KiB, 1500B or 1MB"

// Sizes of the units.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
)

var byteUnits = []scale{
	{"B", 1},
	{"kB", 1e3},
	{"KiB", 1 << 10},
	{"MB", 1e6},
	{"MiB", 1 << 20},
	{"GB", 1e9},
	{"GiB", 1 << 30},
	{"TB", 1e12},
	{"TiB", 1 << 40},
}

// ParseBytes reads a size; "KB" is refused because people mean two things by it.
func ParseBytes(s string) (Bytes, error) {
	v, err := scaled(s, wantBytes, byteUnits)
	return Bytes(v), err
}

// String prints the size in the largest unit that gives a whole number.
func (b Bytes) String() string { return print(int64(b), byteUnits) }

// MarshalText is String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is ParseBytes.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := ParseBytes(string(text))
	if err == nil {
		*b = v
	}
	return err
}
