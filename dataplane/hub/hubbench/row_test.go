package hubbench

import "testing"

// TestRowFigures: a goal says which way it bounds, and a small ratio can be read.
func TestRowFigures(t *testing.T) {
	yes, no := true, false
	goal := func(v float64) *float64 { return &v }
	for _, c := range []struct {
		row                    Row
		figure, ratio, verdict string
	}{
		{Row{Value: 65.41, Unit: "ns", Ratio: 1 / 74.2, Goal: goal(48.5), Met: &no, Equal: &yes}, "65.4 ns", "1/74", "missed ≤ 48.5 ns"},
		{Row{Value: 6.9, Unit: "Mpps", Ratio: 0.72, Goal: goal(5), Met: &yes}, "6.9 Mpps", "0.72x", "met ≥ 5 Mpps"},
		{Row{Value: 0.3, Unit: "Mpps", Goal: goal(2), Met: &no}, "0.3 Mpps", "-", "missed ≥ 2 Mpps"},
		{Row{Value: 0.0123, Unit: "s", Goal: goal(0.025), Met: &yes, Equal: &no}, "0.012 s", "-", "met ≤ 0.025 s WRONG RESULTS"},
		{Row{Unit: "allocs"}, "0 allocs", "-", "-"},
	} {
		if c.row.Figure() != c.figure || c.row.RatioFigure() != c.ratio || c.row.Verdict() != c.verdict {
			t.Errorf("%+v: %q %q %q, want %q %q %q", c.row, c.row.Figure(), c.row.RatioFigure(), c.row.Verdict(), c.figure, c.ratio, c.verdict)
		}
	}
}
