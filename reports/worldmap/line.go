package worldmap

import (
	"math"
	"strconv"
	"strings"
)

// Line is a way from one place to another, drawn as an arc, so that those of two
// directions stand apart.
type Line struct {
	FromLat, FromLon float64
	ToLat, ToLon     float64
	// Width on the canvas.
	Width float64
	Hue   int
	// Dashed marks what is not there by itself; it keeps clear of a plain line between
	// the same places.
	Dashed bool
	// Title is what a reader sees who points at it.
	Title string
}

// arc is a Line on the canvas: where it begins, bends to and ends.
type arc struct {
	Line
	X1, Y1, CX, CY, X2, Y2 float64
}

// Colour is the class of the line's colour.
func (a arc) Colour() int { return (a.Hue%Hues + Hues) % Hues }

// pair reads "339.0 430.5".
func pair(s string) (x, y float64) {
	a, b, _ := strings.Cut(s, " ")
	x, _ = strconv.ParseFloat(a, 64) // our own file, which a test reads
	y, _ = strconv.ParseFloat(b, 64)
	return x, y
}

// How far an arc leaves the straight line, in shares of its length.
const (
	plainBend  = 0.09
	dashedBend = 0.2
)

func (v view) arc(l Line) arc {
	x1, y1 := v.at(l.FromLat, l.FromLon)
	x2, y2 := v.at(l.ToLat, l.ToLon)
	bend := plainBend
	if l.Dashed {
		bend = dashedBend
	}
	return arc{
		Line: l, X1: x1, Y1: y1, X2: x2, Y2: y2,
		CX: (x1+x2)/2 - bend*2*(y2-y1), CY: (y1+y2)/2 + bend*2*(x2-x1),
	}
}

// point is where the share t of an arc is.
func (a arc) point(t float64) (x, y float64) {
	u := 1 - t
	return u*u*a.X1 + 2*u*t*a.CX + t*t*a.X2, u*u*a.Y1 + 2*u*t*a.CY + t*t*a.Y2
}

// view is the part of the world that is drawn, as a scale and what is at the
// canvas's corner. Meridian is in the middle of the world. The zero value is none: use
// whole or around.
type view struct{ Scale, X, Y, Meridian float64 }

var whole = view{Scale: 1}

// around is the view that holds all of a map's marks and lines, and something
// beside them.
func (m *Map) around() view {
	const margin, least = 0.18, 90 // of the view; canvas units, for places next to each other
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	meridian := m.middle()
	hold := func(lat, lon float64) {
		x, y := Project(lat, wrap(lon-meridian))
		x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
	}
	for _, k := range m.Marks {
		hold(k.Lat, k.Lon)
	}
	if x0 > x1 {
		return whole
	}
	wide := max((x1-x0)*(1+2*margin), (y1-y0)*(1+2*margin)*Width/Height, least)
	if wide >= Width {
		return view{Scale: 1, Meridian: meridian}
	}
	high := wide * Height / Width
	return view{Width / wide, min(max((x0+x1-wide)/2, 0), Width-wide), min(max((y0+y1-high)/2, 0), Height-high), meridian}
}

// Left and Up move land so that the corner of the view is that of the canvas.
func (v view) Left() float64 { return -v.X }
func (v view) Up() float64   { return -v.Y }

// at is where a place is on the canvas.
func (v view) at(lat, lon float64) (x, y float64) {
	x, y = Project(lat, wrap(lon-v.Meridian))
	return (x - v.X) * v.Scale, (y - v.Y) * v.Scale
}

// shore is the outlines of which some of the bounding box is in the view.
func (v view) shore() string {
	if v == whole {
		return land
	}
	var kept strings.Builder
	for outline := range strings.SplitAfterSeq(turn(land, v.Meridian), "Z") {
		if v.shows(outline) {
			kept.WriteString(outline)
		}
	}
	return kept.String()
}

func (v view) shows(outline string) bool {
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, point := range points(outline) {
		x, y := pair(point)
		x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
	}
	return x1 >= v.X && x0 <= v.X+Width/v.Scale && y1 >= v.Y && y0 <= v.Y+Height/v.Scale
}
