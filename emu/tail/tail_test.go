package tail

import (
	"fmt"
	"testing"
)

func TestTailKeepsTheEnd(t *testing.T) {
	tail := New(10)
	for _, c := range []struct{ write, want string }{
		{"", ""}, {"abc", "abc"}, {"defghij", "abcdefghij"}, {"k", "bcdefghijk"}, {"0123456789ABCDEF", "6789ABCDEF"},
	} {
		if n, err := fmt.Fprint(tail, c.write); n != len(c.write) || err != nil {
			t.Errorf("write %q: %d, %v", c.write, n, err)
		}
		if got := tail.String(); got != c.want {
			t.Errorf("after %q: %q, want %q", c.write, got, c.want)
		}
	}
}
