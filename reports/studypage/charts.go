package studypage

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// mostCharts of measures against knobs.
const mostCharts = 6

// charts are everything that is drawn as lines.
func charts(s *record.Study) []chart {
	all := measureCharts(s)
	all = append(all, tableChart(s, "convergence", chart{Title: "Users whose network has its last route", X: "seconds after the withdrawal", Y: "share"}, "seconds", "settled", false)...)
	for _, c := range []struct{ column, title, unit string }{
		{"flows", "Flows open", "flows"}, {"gbps", "From origins to users", "Gbit/s"}, {"blocked", "Flows without a port", "flows/s"}, {"unreached", "Users who reach no datacenter", "users"},
	} {
		all = append(all, tableChart(s, "timeline", chart{Name: "timeline_" + c.column, Title: c.title, X: "seconds from the start", Y: c.unit}, "seconds", c.column, true)...)
	}
	return append(all, quantiles(s)...)
}

// knobValue is the number in a knob's value.
func knobValue(text string) (float64, bool) {
	end := len(text)
	for end > 0 && !strings.ContainsRune("0123456789.", rune(text[end-1])) {
		end--
	}
	v, err := strconv.ParseFloat(strings.ReplaceAll(text[:end], "_", ""), 64)
	return v, err == nil
}

// measureCharts are the first measures against each knob that has numbers; a line for
// every combination of the others.
func measureCharts(s *record.Study) []chart {
	var all []chart
	for k, knob := range s.Knobs {
		unit, numbers := "", map[float64]bool{}
		for _, p := range s.Points {
			if k >= len(p.Values) {
				continue
			}
			if v, ok := knobValue(p.Values[k]); ok {
				numbers[v] = true
				unit = strings.TrimLeft(p.Values[k], "0123456789._")
			}
		}
		if len(numbers) < 3 {
			continue
		}
		label := knob
		if unit != "" {
			label += ", " + unit
		}
		for _, m := range s.Columns(mostCharts) {
			if len(all) >= mostCharts {
				return all
			}
			c := chart{Name: m.Name + "_by_" + knob, Title: m.Name, X: label, Y: m.Unit}
			if m.Text != "" {
				c.Title = m.Name + ": " + m.Text
			}
			c.Lines = linesOf(s, k, m.Name)
			if m.Name == "blocked" || m.Name == "refusals" {
				theory := linesOf(s, k, "erlang")
				for i := range theory {
					theory[i].Name, theory[i].Dashed, theory[i].Half = strings.TrimPrefix(theory[i].Name+", Erlang B", ", "), true, nil
				}
				c.Lines = append(c.Lines, theory...)
			}
			if c.scale(); len(c.Lines) > 0 {
				all = append(all, c)
			}
		}
	}
	return all
}

// scale chooses logarithmic axes where values spread over more than two decades, and
// says nothing of measures that never change.
func (c *chart) scale() {
	wide := func(of func(line) []float64) bool {
		low, high := math.Inf(1), 0.0
		for _, l := range c.Lines {
			for _, v := range of(l) {
				if v < 0 || math.IsNaN(v) {
					return false
				}
				if v > 0 {
					low, high = min(low, v), max(high, v)
				}
			}
		}
		return high/low > 100
	}
	zero := slices.ContainsFunc(c.Lines, func(l line) bool { return slices.Contains(l.X, 0) })
	c.LogX = !zero && wide(func(l line) []float64 { return l.X })
	if c.LogY = wide(func(l line) []float64 { return l.Y }); c.LogY {
		for i := range c.Lines {
			c.Lines[i].positive()
		}
	}
	c.Lines = slices.DeleteFunc(c.Lines, func(l line) bool { return len(l.X) == 0 })
	same := true
	for _, l := range c.Lines {
		for _, v := range l.Y {
			same = same && v == c.Lines[0].Y[0]
		}
	}
	if same {
		c.Lines = nil
	}
}

// positive leaves out what a logarithm has no place for.
func (l *line) positive() {
	n := 0
	for i := range l.Y {
		if l.Y[i] <= 0 {
			continue
		}
		l.X[n], l.Y[n] = l.X[i], l.Y[i]
		if l.Half != nil {
			if l.Half[n] = l.Half[i]; l.Half[i] >= l.Y[i] {
				l.Half[n] = math.NaN()
			}
		}
		n++
	}
	l.X, l.Y = l.X[:n], l.Y[:n]
	if l.Half != nil {
		l.Half = l.Half[:n]
	}
}

// linesOf are a measure's values against one knob.
func linesOf(s *record.Study, knob int, measure string) []line {
	var all []line
	at := map[string]int{}
	for i := range s.Points {
		p := &s.Points[i]
		e, ok := p.Estimate(measure)
		if !ok || knob >= len(p.Values) {
			continue
		}
		x, ok := knobValue(p.Values[knob])
		if !ok {
			continue
		}
		var name []string
		if p.Case != "" && p.Case != "base" {
			name = append(name, p.Case)
		}
		for k, v := range p.Values {
			if k != knob {
				name = append(name, s.Knobs[k]+"="+v)
			}
		}
		if len(p.Down) > 0 {
			name = append(name, "down: "+list(p.Down))
		}
		key := strings.Join(name, ", ")
		if _, ok := at[key]; !ok {
			if len(all) == mostLines {
				continue
			}
			at[key] = len(all)
			all = append(all, line{Name: key})
		}
		l := &all[at[key]]
		half := math.NaN()
		if e.Half != nil {
			half = *e.Half
		}
		k, _ := slices.BinarySearch(l.X, x)
		l.X, l.Y, l.Half = slices.Insert(l.X, k, x), slices.Insert(l.Y, k, e.Mean), slices.Insert(l.Half, k, half)
	}
	return all
}

// tableChart is a column of a table against another, a line for each point; with
// several it shows those that differ most, which the first ones stand for.
func tableChart(s *record.Study, table string, c chart, x, y string, dropZero bool) []chart {
	if c.Name == "" {
		c.Name = table
	}
	for i := range s.Points {
		p := &s.Points[i]
		t, ok := p.Tables[table]
		if !ok || len(c.Lines) == mostLines {
			continue
		}
		t.Sort()
		l := line{Name: p.ID}
		for _, r := range t.Rows {
			l.X, l.Y = append(l.X, t.Value(r, x)), append(l.Y, t.Value(r, y))
		}
		c.Lines = append(c.Lines, l)
	}
	if len(c.Lines) == 0 || dropZero && !slices.ContainsFunc(c.Lines, func(l line) bool { return slices.Max(l.Y) > 0 }) {
		return nil
	}
	return []chart{c}
}

// quantiles are what flows took: the share of them against milliseconds.
func quantiles(s *record.Study) []chart {
	var all []chart
	whose := "share of users"
	if s.Level == "packets" {
		whose = "share of flows"
	}
	for _, what := range []string{"round trip", "whole flow", "stall"} {
		c := chart{Name: strings.ReplaceAll(what, " ", "_"), Title: "How long: " + what, X: "milliseconds", Y: whose}
		for i := range s.Points {
			p := &s.Points[i]
			t := p.Tables["times"]
			t.Sort()
			l := line{Name: p.ID}
			for _, r := range t.Rows {
				if r.Key[0] != what {
					continue
				}
				q, err := strconv.Atoi(r.Key[1])
				if err != nil {
					continue
				}
				l.X, l.Y = append(l.X, r.Values[0]), append(l.Y, float64(q)/100)
			}
			if len(l.X) > 0 && len(c.Lines) < mostLines {
				c.Lines = append(c.Lines, l)
			}
		}
		if len(c.Lines) > 0 {
			all = append(all, c)
		}
	}
	return all
}
