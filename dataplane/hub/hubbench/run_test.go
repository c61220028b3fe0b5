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
	rows = append(rows, six...)
	ids := []string{
		"hub.hit_ns", "hub.hit_allocs", "hub.return_ns", "hub.miss_ns", "hub.drop_ns",
		"hub.hit_v6_ns_1m", "hub.hit_v6_allocs_1m", "hub.return_v6_ns_1m",
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
		if r.Unit == "allocs" && r.Value != 0 {
			t.Errorf("%v allocations per hit, want 0", r.Value)
		}
	}
}
