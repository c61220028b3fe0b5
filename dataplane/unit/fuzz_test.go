package unit_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/unit"
)

// FuzzParse: a quantity or an error, and a quantity is read again as what it is
// written.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "0", ".", "1.", ".5s", "64KiB", "1.5MiB", "9223372036854775807B", "9223372036854775808B", "9999999999TiB", "-1B", "1 MB",
		"1Gbit", "0.1bit", "100%", "0.1%", "1e3ms", "4ms", "0.000000001s", "1h2m", "٣ms", "1\x00s", "+1s", "00001s", "1.5.5s",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		again(t, s, unit.ParseBytes)
		again(t, s, unit.ParseBitRate)
		again(t, s, unit.ParseRatio)
		again(t, s, unit.ParseDuration)
	})
}

func again[Q interface {
	comparable
	fmt.Stringer
}](t *testing.T, s string, parse func(string) (Q, error)) {
	t.Helper()
	q, err := parse(s)
	if err != nil {
		var zero Q
		if q != zero || !errors.Is(err, unit.ErrSyntax) {
			t.Fatalf("%q is refused with %v, and is %v", s, err, q)
		}
		return
	}
	if r, err := parse(q.String()); err != nil || r != q {
		t.Fatalf("%q is %v, which is read as %v, %v", s, q, r, err)
	}
}
