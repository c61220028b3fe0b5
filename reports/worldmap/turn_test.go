package worldmap

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestUnproject(t *testing.T) {
	for _, p := range [][2]float64{{0, 0}, {51.5, -0.1}, {-33.9, 151.2}, {35.7, 139.7}, {70, -150}} {
		lat, lon := unproject(Project(p[0], p[1]))
		if math.Abs(lat-p[0]) > 1e-4 || math.Abs(lon-p[1]) > 1e-3 {
			t.Errorf("%v comes back as %v, %v", p, lat, lon)
		}
	}
}

// What lies on both sides of the Pacific is drawn across it; what does not, as ever.
func TestMiddle(t *testing.T) {
	tokyo, angeles, london, washington := Mark{Lat: 35.7, Lon: 140}, Mark{Lat: 34, Lon: -118}, Mark{Lat: 51.5}, Mark{Lat: 39, Lon: -77}
	for name, tt := range map[string]struct {
		marks []Mark
		want  float64
	}{
		"none":        {nil, 0},
		"one":         {[]Mark{tokyo}, 0},
		"Atlantic":    {[]Mark{london, washington}, 0},
		"Pacific":     {[]Mark{tokyo, angeles}, -169},
		"half around": {[]Mark{tokyo, london, washington}, 0},
	} {
		m := Map{Marks: tt.marks, Near: true}
		if got := m.middle(); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s: the middle is at %v, want %v", name, got, tt.want)
		}
		v := m.around()
		for _, k := range tt.marks {
			if x, y := v.at(k.Lat, k.Lon); x < 0 || x > Width || y < 0 || y > Height {
				t.Errorf("%s: %v, %v is at %v, %v, beyond the canvas", name, k.Lat, k.Lon, x, y)
			}
		}
	}
	m := Map{Marks: []Mark{tokyo, angeles}, Near: true}
	v := m.around()
	x1, _ := v.at(tokyo.Lat, tokyo.Lon)
	if x2, _ := v.at(angeles.Lat, angeles.Lon); x2 < x1 {
		t.Errorf("Los Angeles is at %v, Tokyo at %v: want it in the east", x2, x1)
	}
}

// Land is turned as places are: Australia's outline, which no edge cuts, is where its
// places are.
func TestTurnedLand(t *testing.T) {
	if turn(land, 0) != land {
		t.Error("land is another with nothing turned")
	}
	const meridian = 170
	x, y := Project(-25, 134)
	square := ""
	for i, d := range [][2]float64{{-3, -3}, {3, -3}, {3, 3}, {-3, 3}} {
		square += string("ML"[min(i, 1)]) + fmt.Sprintf("%.1f %.1f", x+d[0], y+d[1])
	}
	got := turn(square+"Z", meridian)
	cx, cy := 0.0, 0.0
	for _, p := range points(got) {
		px, py := pair(p)
		cx, cy = cx+px/4, cy+py/4
	}
	wx, wy := Project(-25, wrap(134-meridian))
	if strings.Count(got, "Z") != 1 || math.Abs(cx-wx) > 0.5 || math.Abs(cy-wy) > 0.5 {
		t.Errorf("the square is at %.1f, %.1f in %s, want once at %.1f, %.1f", cx, cy, got, wx, wy)
	}
	if whole, turned := strings.Count(land, "Z"), strings.Count(turn(land, meridian), "Z"); turned < whole || turned > whole+12 {
		t.Errorf("%d outlines become %d, want those that the edge cuts twice", whole, turned)
	}
}
