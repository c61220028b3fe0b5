package studypage

import (
	"bytes"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
)

// chart is lines or bars, drawn in the page and by gonum/plot alike.
type chart struct {
	// Name of the file, Title and what the axes show.
	Name, Title, X, Y string
	// LogX and LogY are for positive values alone.
	LogX, LogY bool
	Lines      []line
}

// line is points in the order of X.
type line struct {
	Name string
	X, Y []float64
	// Half of each interval, NaN where there is none; nil for all.
	Half []float64
	// Dashed is what theory says.
	Dashed bool
}

// Sizes of a drawing in the page.
const (
	chartWidth  = 640.0
	chartHeight = 300.0
	padLeft     = 62.0
	padRight    = 14.0
	padTop      = 10.0
	padBottom   = 40.0
	mostLines   = 8
)

// axis maps values to places on the drawing.
type axis struct {
	low, high float64
	log       bool
	from, to  float64
}

func newAxis(values []float64, log bool, from, to float64) axis {
	a := axis{math.Inf(1), math.Inf(-1), log, from, to}
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) && (!log || v > 0) {
			a.low, a.high = min(a.low, v), max(a.high, v)
		}
	}
	if a.low > a.high {
		a.low, a.high = 0, 1
	}
	switch {
	case log:
		a.low, a.high = math.Pow(10, math.Floor(math.Log10(a.low)+1e-9)), math.Pow(10, math.Ceil(math.Log10(a.high)-1e-9))
		if a.low == a.high {
			a.high *= 10
		}
	case a.low == a.high:
		a.low, a.high = a.low-math.Abs(a.low)/2-0.5, a.high+math.Abs(a.high)/2+0.5
	}
	return a
}

func (a axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		v, low, high = math.Log10(max(v, a.low)), math.Log10(low), math.Log10(high)
	}
	return a.from + (v-low)/(high-low)*(a.to-a.from)
}

// ticks are round values within the axis.
func (a axis) ticks() []float64 {
	var all []float64
	if a.log {
		for v := a.low; v <= a.high*1.0001; v *= 10 {
			all = append(all, v)
		}
		for len(all) > 7 {
			all = slices.DeleteFunc(all, func(v float64) bool { return int(math.Round(math.Log10(v/a.low)))%2 == 1 })
			if len(all) > 7 {
				all = all[:7]
			}
		}
		return all
	}
	step := math.Pow(10, math.Floor(math.Log10((a.high-a.low)/4)))
	for _, m := range []float64{1, 2, 5, 10} {
		if (a.high-a.low)/(step*m) <= 6 {
			step *= m
			break
		}
	}
	for v := math.Ceil(a.low/step) * step; v <= a.high+step*1e-9; v += step {
		all = append(all, v)
	}
	return all
}

// short is a number on an axis.
func short(v float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= unit.size*0.9999 {
			return strconv.FormatFloat(v/unit.size, 'g', 3, 64) + unit.name
		}
	}
	if math.Abs(v) < 1e-12 {
		return "0"
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func (c chart) axes() (x, y axis) {
	var xs, ys []float64
	for _, l := range c.Lines {
		xs = append(xs, l.X...)
		ys = append(ys, l.Y...)
		for i := range l.Half {
			ys = append(ys, l.Y[i]-l.Half[i], l.Y[i]+l.Half[i])
		}
	}
	if !c.LogY && len(ys) > 0 && slices.Min(ys) >= 0 {
		ys = append(ys, 0)
	}
	return newAxis(xs, c.LogX, padLeft, chartWidth-padRight), newAxis(ys, c.LogY, chartHeight-padBottom, padTop)
}

// SVG is the chart in the page, in the page's colours.
func (c chart) SVG() template.HTML {
	var b bytes.Buffer
	x, y := c.axes()
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %g %g" role="img" aria-label="%s">`, chartWidth, chartHeight, template.HTMLEscapeString(c.Title))
	for _, v := range y.ticks() {
		fmt.Fprintf(&b, `<path class="grid" d="M%g %.1fH%g"/><text x="%g" y="%.1f" text-anchor="end" dy="4">%s</text>`, padLeft, y.at(v), chartWidth-padRight, padLeft-6, y.at(v), short(v))
	}
	for _, v := range x.ticks() {
		fmt.Fprintf(&b, `<text x="%.1f" y="%g" text-anchor="middle">%s</text>`, x.at(v), chartHeight-padBottom+16, short(v))
	}
	fmt.Fprintf(&b, `<text class="axis" x="%g" y="%g" text-anchor="middle">%s</text>`, (padLeft+chartWidth-padRight)/2, chartHeight-5, template.HTMLEscapeString(c.X))
	for i, l := range c.Lines {
		class := fmt.Sprintf("h%d", i%12)
		if l.Dashed {
			class += " dashed"
		}
		fmt.Fprintf(&b, `<g class="%s"><path class="line" d="`, class)
		for k := range l.X {
			fmt.Fprintf(&b, "%s%.1f %.1f", []string{"L", "M"}[btoi(k == 0)], x.at(l.X[k]), y.at(l.Y[k]))
		}
		b.WriteString(`"/>`)
		for k := range l.X {
			if len(l.X) > 25 {
				break // a dense line needs no dots
			}
			if k < len(l.Half) && !math.IsNaN(l.Half[k]) {
				fmt.Fprintf(&b, `<path class="bar" d="M%.1f %.1fV%.1f"/>`, x.at(l.X[k]), y.at(l.Y[k]-l.Half[k]), y.at(l.Y[k]+l.Half[k]))
			}
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3"><title>%s: %s at %s</title></circle>`, x.at(l.X[k]), y.at(l.Y[k]), template.HTMLEscapeString(l.Name), short(l.Y[k]), short(l.X[k]))
		}
		b.WriteString("</g>")
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) // every text in it was escaped
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
