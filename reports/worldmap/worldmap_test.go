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

// A near view holds its marks inside the canvas, larger than the world's, and no
// land that is elsewhere; both directions of a way are arcs of their own.
func TestNearView(t *testing.T) {
	london, paris := Mark{Lat: 51.5, Lon: -0.4, Radius: 3}, Mark{Lat: 49, Lon: 2.5, Radius: 3}
	m := Map{Title: "near", Near: true, Marks: []Mark{london, paris}, Lines: []Line{
		{FromLat: 51.5, FromLon: -0.4, ToLat: 49, ToLon: 2.5, Width: 2},
		{FromLat: 49, FromLon: 2.5, ToLat: 51.5, ToLon: -0.4, Width: 2, Dashed: true},
	}}
	v := m.around()
	for _, k := range m.Marks {
		if x, y := v.at(k.Lat, k.Lon); x < 0 || y < 0 || x > Width || y > Height || v.Scale < 2 {
			t.Errorf("%+v is at %v, %v in %+v", k, x, y, v)
		}
	}
	there, back := v.arc(m.Lines[0]), v.arc(m.Lines[1])
	if there.CX == back.CX && there.CY == back.CY {
		t.Error("two directions are one line")
	}
	var near, world strings.Builder
	if err := m.Write(&near); err != nil {
		t.Fatal(err)
	}
	m.Near = false
	if err := m.Write(&world); err != nil {
		t.Fatal(err)
	}
	if near.Len() > world.Len()/2 || strings.Count(near.String(), "stroke-dasharray") != 1 {
		t.Errorf("%d bytes near, %d of the world", near.Len(), world.Len())
	}
}
