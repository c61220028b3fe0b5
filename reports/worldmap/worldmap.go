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
	"sync"
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

// drawn is a mark on the canvas, and where its label begins, ends or has its middle,
// as Anchor says.
type drawn struct {
	Mark
	X, Y           float64
	LabelX, LabelY float64
	Anchor         string
}

// Hues is how many colours there are.
const Hues = 12

// Colour is the class of the mark's colour.
func (d drawn) Colour() int { return (d.Hue%Hues + Hues) % Hues }

var page = sync.OnceValue(func() *template.Template { return template.Must(template.New("map").Parse(source)) })

// Write writes the SVG.
func (m Map) Write(w io.Writer) error {
	data := struct {
		Map
		View  view
		Land  template.HTMLAttr
		Marks []drawn
		Lines []arc
		// Heads are the colours of lines, each of which has an arrowhead of its own.
		Heads []int
	}{Map: m, View: whole}
	if m.Near {
		data.View = m.around()
	}
	data.Land = template.HTMLAttr(`d="` + data.View.shore() + `"`)
	for _, l := range m.Lines {
		line := data.View.arc(l)
		if data.Lines = append(data.Lines, line); !slices.Contains(data.Heads, line.Colour()) {
			data.Heads = append(data.Heads, line.Colour())
		}
	}
	for _, mark := range m.Marks {
		x, y := data.View.at(mark.Lat, mark.Lon)
		data.Marks = append(data.Marks, drawn{Mark: mark, X: x, Y: y})
	}
	place(data.Marks, data.Lines)
	var b bytes.Buffer
	if err := page().Execute(&b, data); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}
