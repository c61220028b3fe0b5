// Package benchpage writes the figures of a bench as one self-contained page: a
// plot of what has a baseline, and a table of all.
//
// It measures and judges nothing. Its law: the same figures give the same bytes.
package benchpage

import (
	_ "embed"
	"html/template"
	"io"
	"math"
	"strings"

	"github.com/homeward-lab/homeward/reports/figure"
)

//go:embed benchpage.tmpl
var page string

// Measures of the plot, in pixels.
const (
	rowHeight = 34
	barHeight = 12
	barStart  = 260
	barLength = 420
	width     = 860
)

// plot is the bars of one unit.
type plot struct {
	Unit   string
	Width  int
	Height int
	Bars   []bar
}

type bar struct {
	Label, Text, BesideText string
	Y, TextY, BesideY       int
	Start                   int
	Length, BesideLength    int
}

// Write writes the page. machine says where it was measured.
func Write(w io.Writer, title, machine string, figures []figure.Row) error {
	t, err := template.New("bench").Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, struct {
		Title, Machine string
		Plots          []plot
		Figures        []figure.Row
	}{title, machine, plots(figures), figures})
}

// plots are the figures that have a baseline, by unit in the order of appearance,
// each unit on a scale of its own.
func plots(figures []figure.Row) (all []plot) {
	at := map[string]int{}
	most := map[string]float64{}
	for _, f := range figures {
		if f.BaselineValue > 0 {
			most[f.Unit] = max(most[f.Unit], f.Value, f.BaselineValue)
		}
	}
	for _, f := range figures {
		if f.BaselineValue <= 0 {
			continue
		}
		i, ok := at[f.Unit]
		if !ok {
			i = len(all)
			at[f.Unit] = i
			all = append(all, plot{Unit: f.Unit, Width: width})
		}
		p := &all[i]
		length := func(v float64) int { return max(1, int(math.Round(v/most[f.Unit]*barLength))) }
		_, label, _ := strings.Cut(f.ID, ".")
		p.Bars = append(p.Bars, bar{
			Label: label, Text: f.Figure(), BesideText: f.BaselineFigure(), Start: barStart,
			Y: p.Height, TextY: p.Height + barHeight - 2, BesideY: p.Height + barHeight + 2,
			Length: length(f.Value), BesideLength: length(f.BaselineValue),
		})
		p.Height += rowHeight
	}
	return all
}
