// Package worldmap draws places on a map of the world, as one SVG that needs
// nothing else and follows the reader's choice of light or dark.
//
// It knows nothing of what it draws: a mark has a size, a colour and a title. Its
// law: the same marks give the same bytes, and nothing of a mark reaches the picture
// unescaped.
package worldmap

import (
	"bytes"
	_ "embed"
	"html/template"
	"io"
	"math"
	"slices"
)

//go:generate go run ./gen package/land-110m.json land.path

// land is the outlines of land, as the data of an SVG path on the canvas.
//
//go:embed land.path
var land string

//go:embed map.svg.tmpl
var source string

// Width and Height of the canvas. The far south, where nobody is, is cut off.
const (
	Width  = 1000
	Height = 470
)

// Project is where a place is on the canvas, in the projection Natural Earth
// (Šavrič, Jenny, Patterson, Petrovič, Hurni: A Polynomial Equation for the Natural
// Earth Projection, 2011). Latitude and longitude are degrees, north and east
// positive.
func Project(lat, lon float64) (x, y float64) {
	φ, λ := lat*math.Pi/180, lon*math.Pi/180
	p2 := φ * φ
	p4 := p2 * p2
	px := λ * (0.8707 + p2*(-0.131979+p2*(-0.013791+p4*(0.003971*p2-0.001529*p4))))
	py := φ * (1.007226 + p2*(0.015085+p4*(-0.044475+0.028874*p2-0.005916*p4)))
	scale := Width / (2 * 0.8707 * math.Pi)
	return Width/2 + scale*px, 258 - scale*py
}

// Mark is something at a place.
type Mark struct {
	Lat, Lon float64
	// Radius on the canvas.
	Radius float64
	// Hue is one of twelve colours, from 0; others repeat.
	Hue int
	// Ring draws the outline alone.
	Ring bool
	// Label stands beside the mark, if it is not empty.
	Label string
	// Title is what a reader sees who points at it.
	Title string
}

// Map is what is drawn, later marks over earlier ones.
type Map struct {
	Title string
	// Note is a line below the map: what must not be forgotten when looking at it.
	Note  string
	Marks []Mark
	// Lines are drawn below the marks.
	Lines []Line
	// Near draws no more of the world than holds all marks.
	Near bool
}

// drawn is a mark on the canvas.
type drawn struct {
	Mark
	X, Y float64
	// Left says that the label ends before the mark: on the right it would run into
	// another's.
	Left bool
}

// Hues is how many colours there are.
const Hues = 12

// Colour is the class of the mark's colour.
func (d drawn) Colour() int { return (d.Hue%Hues + Hues) % Hues }

// LabelX is where the label begins, or ends if it is on the left.
func (d drawn) LabelX() float64 {
	if d.Left {
		return d.X - d.Radius - 3
	}
	return d.X + d.Radius + 3
}

// crowded says whether the label of a mark, on its right, would touch another that
// has one too.
func (d drawn) crowded(marks []drawn) bool {
	const high = 13 // a line of text
	return d.Label != "" && slices.ContainsFunc(marks, func(o drawn) bool {
		return o.Label != "" && o.X > d.X && o.X-o.Radius < d.LabelX()+6.5*float64(len(d.Label)) && math.Abs(o.Y-d.Y) < high
	})
}

var page = template.Must(template.New("map").Parse(source))

// Write writes the SVG.
func (m Map) Write(w io.Writer) error {
	data := struct {
		Map
		View  view
		Land  template.HTMLAttr
		Marks []drawn
		Lines []arc
	}{Map: m, View: whole}
	if m.Near {
		data.View = m.around()
	}
	data.Land = template.HTMLAttr(`d="` + data.View.shore() + `"`)
	for _, l := range m.Lines {
		data.Lines = append(data.Lines, data.View.arc(l))
	}
	for _, mark := range m.Marks {
		x, y := data.View.at(mark.Lat, mark.Lon)
		data.Marks = append(data.Marks, drawn{Mark: mark, X: x, Y: y})
	}
	for i := range data.Marks {
		data.Marks[i].Left = data.Marks[i].crowded(data.Marks)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}
