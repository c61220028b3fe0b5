package main

import "testing"

func TestFit(t *testing.T) {
	const line = "overlapping_branches/base: flows 7/79"
	for _, c := range []struct {
		columns int
		want    string
	}{{0, line}, {1, line}, {80, line}, {len(line) + 1, line}, {len(line), line[1:]}, {11, "flows 7/79"}} {
		if got := fit(line, c.columns); got != c.want {
			t.Errorf("fit(%d): got %q, want %q", c.columns, got, c.want)
		}
	}
}
