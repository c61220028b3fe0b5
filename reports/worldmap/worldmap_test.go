package worldmap

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

// TestProjectKnownPoints holds against the published proportions of the projection.
func TestProjectKnownPoints(t *testing.T) {
	x0, y0 := Project(0, 0)
	east, _ := Project(0, 180)
	if x0 != Width/2 || math.Abs(east-Width) > 1e-9 {
		t.Errorf("the equator goes from %v to %v, want %v to %v", x0, east, Width/2, Width)
	}
	_, north := Project(90, 0)
	// Height over width of the whole map is 0.5200.
	if ratio := 2 * (y0 - north) / Width; math.Abs(ratio-0.5200) > 5e-4 {
		t.Errorf("height over width is %.4f, want 0.5200", ratio)
	}
	lx, ly := Project(51.5, -0.1)
	_, sy := Project(-33.9, 151.2)
	if math.Abs(lx-x0) > 1 || ly >= y0 || sy <= y0 {
		t.Errorf("London at %v,%v and Sydney at height %v are not where they belong", lx, ly, sy)
	}
}

func TestMapIsWellFormedAndSafe(t *testing.T) {
	var b strings.Builder
	m := Map{Title: `a<b>"c`, Note: "note & more", Marks: []Mark{
		{Lat: 51.5, Lon: 0, Radius: 5, Hue: -1, Label: "<script>alert(1)</script>", Title: "x"},
		{Lat: -33, Lon: 151, Radius: 3, Hue: 13, Ring: true},
	}}
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<script") {
		t.Error("a label reaches the picture unescaped")
	}
	circles := 0
	for d := xml.NewDecoder(strings.NewReader(b.String())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if s, ok := token.(xml.StartElement); ok && s.Name.Local == "circle" {
			circles++
		}
	}
	if circles != 2 {
		t.Errorf("%d circles, want 2", circles)
	}
	for _, class := range []string{`class="h11"`, `class="h1"`, `class="ring"`} {
		if !strings.Contains(b.String(), class) {
			t.Errorf("no %s", class)
		}
	}
}
