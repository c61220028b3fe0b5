package hubbench

import (
	"testing"
)

// TestMeasure: the bench runs, its packets are decided as they should be, and a
// hit allocates nothing. Times are not judged.
func TestMeasure(t *testing.T) {
	rows, err := measure(t.Context(), 100, "", false)
	if err != nil {
		t.Fatal(err)
	}
	six, err := measure(t.Context(), 100, "_1m", true)
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLoad(5000, true)
	if err != nil {
		t.Fatal(err)
	}
	rows = append(append(rows, six...), l.memory(true))
	ids := []string{
		"hub.hit_ns", "hub.hit_allocs", "hub.return_ns", "hub.miss_ns", "hub.drop_ns",
		"hub.hit6_1m_ns", "hub.hit6_1m_allocs", "hub.return6_1m_ns", "hub.flow6_bytes",
	}
	if len(rows) != len(ids) {
		t.Fatalf("%d rows, want %d", len(rows), len(ids))
	}
	for i, r := range rows {
		if r.ID != ids[i] {
			t.Errorf("row %d is %s, want %s", i, r.ID, ids[i])
		}
		if r.Equal != nil && !*r.Equal {
			t.Errorf("%s: packets were not decided as they should be", r.ID)
		}
		if r.Unit == "ns" && (r.Value <= 0 || r.BaselineValue <= 0 || r.RatioFigure() == "-") {
			t.Errorf("%s: %+v", r.ID, r)
		}
		if r.Unit == "bytes" && (r.Value < 128 || r.Value > 1024 || r.BaselineValue < 72) {
			t.Errorf("%s: %+v, want a flow and a little more", r.ID, r)
		}
		if r.Unit == "allocs" && r.Value != 0 {
			t.Errorf("%v allocations per hit, want 0", r.Value)
		}
	}
}
