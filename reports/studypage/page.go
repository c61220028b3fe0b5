// Package studypage writes what a study found: one self-contained page, its numbers,
// and everything that it plots.
//
// It measures and judges nothing. Its law: the same study gives the same bytes; a
// number that has no interval is shown with why; and the limits of the model stand
// where its numbers stand.
package studypage

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/homeward-lab/homeward/reports/record"
)

//go:embed page.tmpl
var source string

var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("study").Funcs(template.FuncMap{
		"short": short, "join": func(s []string) string { return strings.Join(s, ", ") },
		"percent": func(x float64) string { return fmt.Sprintf("%.3g %%", 100*x) },
	}).Parse(source))
})

// Number is an estimate as people read it: mean and half the interval's width, or a
// question mark where there is none.
func Number(e record.StudyEstimate, ok bool) string {
	switch {
	case !ok:
		return "–"
	case e.Half == nil:
		return figure(e.Mean, 0, e.Mean) + " ± ?"
	case *e.Half == 0:
		return figure(e.Mean, 0, e.Mean)
	}
	greater := max(math.Abs(e.Mean), *e.Half)
	return figure(e.Mean, *e.Half, greater) + " ± " + figure(*e.Half, *e.Half, greater)
}

// figure has as many digits as half the interval's width leaves a meaning to, and
// thousands where the greater of the two is great.
func figure(v, half, greater float64) string {
	if math.Abs(greater) >= 1e4 {
		return short(v)
	}
	digits := 4
	if half > 0 && v != 0 {
		digits = min(5, max(1, 2+int(math.Floor(math.Log10(math.Abs(v)))-math.Floor(math.Log10(half)))))
	}
	text := strconv.FormatFloat(v, 'g', digits, 64)
	if rounded, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(rounded) >= 1 {
		return strconv.FormatFloat(rounded, 'f', -1, 64) // 1200 instead of 1.2e+03
	}
	return text
}

func list(words []string) string { return strings.Join(words, " ") }

func tableNames(s *record.Study) []string {
	var names []string
	for _, p := range s.Points {
		for name := range p.Tables {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Bounds of the page; files beside it have all.
const (
	mostColumns = 8
	mostRows    = 400
)

// cell is an estimate in a table.
type cell struct {
	Text, Title string
	// Difference from the reference, and whether it is more than chance.
	Difference string
	Sure       bool
}

// row is a point in a table.
type row struct {
	ID       string
	Replicas string
	Cells    []cell
}

// view is what the template shows.
type view struct {
	*record.Study
	Shown      []record.StudyMeasure
	Rows       []row
	More       int
	Charts     []chart
	Maps       []template.HTML
	Takeover   *grid
	Backbone   *bars
	Ports      *bars
	Lost       *grid
	Designs    *grid
	Toil       *grid
	Tornado    *bars
	Everything []row
	Whys       []why
}

// why is where a measure of a point comes from.
type why struct {
	Point, Measure string
	Lines          []string
}

// Page is the page.
func Page(s *record.Study) ([]byte, error) {
	v := view{Study: s, Shown: s.Columns(mostColumns), Charts: charts(s)}
	for i := range s.Points {
		p := &s.Points[i]
		r := row{ID: p.ID, Replicas: fmt.Sprintf("%d over %d", p.Replicas, p.Topologies)}
		for _, m := range v.Shown {
			r.Cells = append(r.Cells, cellOf(p, m.Name))
		}
		if len(v.Rows) < mostRows {
			v.Rows = append(v.Rows, r)
		} else {
			v.More++
		}
		for _, m := range s.Measures {
			if lines := p.Why[m.Name]; len(lines) > 0 && len(v.Whys) < mostRows {
				v.Whys = append(v.Whys, why{p.ID, m.Name, lines})
			}
		}
	}
	v.Everything = everything(s)
	var err error
	if v.Maps, err = maps(s); err != nil {
		return nil, err
	}
	v.Takeover, v.Backbone, v.Ports = takeover(s), backbone(s), ports(s)
	v.Lost, v.Designs, v.Toil, v.Tornado = perPoint(s, "lost"), perPoint(s, "designs"), perPoint(s, "toil"), tornado(s)
	var b bytes.Buffer
	if err := page().Execute(&b, v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func cellOf(p *record.StudyPoint, measure string) cell {
	e, ok := p.Estimate(measure)
	c := cell{Text: Number(e, ok)}
	if !ok {
		return c
	}
	c.Title = fmt.Sprintf("%d independent values from %s to %s", e.N, short(e.Least), short(e.Greatest))
	for _, more := range []string{e.Refused, e.Note} {
		if more != "" {
			c.Title += "; " + more
		}
	}
	for _, d := range p.Differences {
		if d.Measure != measure || d.Mean == 0 {
			continue
		}
		c.Difference = Number(record.StudyEstimate{Mean: d.Mean, Half: d.Half}, true)
		if d.Mean > 0 {
			c.Difference = "+" + c.Difference
		}
		c.Sure = d.Half != nil && math.Abs(d.Mean) > *d.Half
	}
	return c
}

// everything is every measure of every point, for who unfolds it.
func everything(s *record.Study) []row {
	var all []row
	for i := range s.Points {
		for _, e := range s.Points[i].Estimates {
			if len(all) == mostRows {
				return all
			}
			all = append(all, row{ID: s.Points[i].ID, Replicas: e.Measure, Cells: []cell{cellOf(&s.Points[i], e.Measure)}})
		}
	}
	return all
}
