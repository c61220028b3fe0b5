package simbench

import "testing"

// TestSweeps: every task is answered once and right, at home and over NATS.
func TestSweeps(t *testing.T) {
	b := &Bench{Rounds: 1, Share: 0.05}
	rows, err := b.sweeps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		t.Logf("%s %s beside %s", r.ID, r.Figure(), r.BaselineFigure())
		if r.Equal == nil || !*r.Equal || r.Value <= 0 {
			t.Errorf("%+v, want equal results and a figure", r)
		}
	}
}
