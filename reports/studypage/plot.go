package studypage

import (
	"bytes"
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	_ "gonum.org/v1/plot/vg/vgimg" // PNG
	_ "gonum.org/v1/plot/vg/vgsvg" // SVG
)

// draw is the chart as a file of its own: "svg" or "png".
func (c chart) draw(format string) ([]byte, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.Title, c.X, c.Y
	p.BackgroundColor = color.White
	p.Legend.Top, p.Legend.Left = true, true
	if c.LogX {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	if c.LogY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	p.Add(plotter.NewGrid())
	for i, l := range c.Lines {
		if err := c.add(p, i, l); err != nil {
			return nil, err
		}
	}
	w, err := p.WriterTo(7*vg.Inch, 4*vg.Inch, format)
	if err != nil {
		return nil, fmt.Errorf("plot %s: %w", c.Name, err)
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("plot %s: %w", c.Name, err)
	}
	return b.Bytes(), nil
}

// add draws one line with its intervals. On a logarithmic axis only what is positive
// can be drawn.
func (c chart) add(p *plot.Plot, i int, l line) error {
	var points plotter.XYs
	var halves plotter.YErrors
	for k := range l.X {
		if math.IsNaN(l.Y[k]) || c.LogX && l.X[k] <= 0 || c.LogY && l.Y[k] <= 0 {
			continue
		}
		points = append(points, plotter.XY{X: l.X[k], Y: l.Y[k]})
		half := 0.0
		if k < len(l.Half) && !math.IsNaN(l.Half[k]) && (!c.LogY || l.Half[k] < l.Y[k]) {
			half = l.Half[k]
		}
		halves = append(halves, struct{ Low, High float64 }{half, half})
	}
	if len(points) == 0 {
		return nil
	}
	drawn, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	drawn.Color, dots.Color, dots.Shape, dots.Radius = plotutil.Color(i), plotutil.Color(i), draw.CircleGlyph{}, vg.Points(2)
	if l.Dashed {
		drawn.Dashes = plotutil.Dashes(1)
	}
	bars, err := plotter.NewYErrorBars(struct {
		plotter.XYs
		plotter.YErrors
	}{points, halves})
	if err != nil {
		return err
	}
	bars.Color = plotutil.Color(i)
	p.Add(drawn, dots, bars)
	if l.Name != "" {
		p.Legend.Add(l.Name, drawn)
	}
	return nil
}
