package golden

import "testing"

func TestDiff(t *testing.T) {
	for _, tc := range []struct{ got, want, diff string }{
		{"a\nb\n", "a\nb\n", ""},
		{"a\nc\n", "a\nb\n", "line 2\n got: c\nwant: b"},
		{"a\n", "a\nb\n", "line 2\n got: \nwant: b"},
		{"a", "a\nb", "got 1 lines, want 2"},
	} {
		if got := diff([]byte(tc.got), []byte(tc.want)); got != tc.diff {
			t.Errorf("diff(%q, %q) = %q, want %q", tc.got, tc.want, got, tc.diff)
		}
	}
}
