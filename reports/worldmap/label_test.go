package worldmap

import "testing"

// A label stands where it covers neither lines nor other marks: on the right if that is
// free, and never beyond the edge.
func TestLabelsKeepClear(t *testing.T) {
	at := func(x, y float64) drawn {
		return drawn{Mark: Mark{Label: "lhr, briton, london", Radius: 7}, X: x, Y: y}
	}
	from := func(x1, y1, x2, y2 float64) arc {
		return arc{X1: x1, Y1: y1, CX: (x1 + x2) / 2, CY: (y1 + y2) / 2, X2: x2, Y2: y2}
	}
	for name, tt := range map[string]struct {
		marks []drawn
		lines []arc
		want  string
	}{
		"alone":           {marks: []drawn{at(500, 200)}, want: "start"},
		"a line eastward": {marks: []drawn{at(500, 200)}, lines: []arc{from(500, 200, 800, 200)}, want: "end"},
		"lines both ways": {marks: []drawn{at(500, 200)}, lines: []arc{from(200, 200, 800, 200)}, want: "middle"},
		"a mark beside":   {marks: []drawn{at(500, 200), at(540, 200)}, want: "end"},
		"at the edge":     {marks: []drawn{at(Width-20, 200)}, want: "end"},
	} {
		if place(tt.marks, tt.lines); tt.marks[0].Anchor != tt.want {
			t.Errorf("%s: the label is at %q, want %q", name, tt.marks[0].Anchor, tt.want)
		}
	}
	two := []drawn{at(500, 200), at(500, 204)}
	if place(two, nil); two[0].LabelX == two[1].LabelX {
		t.Errorf("two marks at one place have labels at %v and %v, want apart", two[0].LabelX, two[1].LabelX)
	}
}
