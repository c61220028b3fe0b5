package studypage

import (
	"encoding/csv"
	"io"
	"strconv"

	"github.com/homeward-lab/homeward/reports/record"
)

// sheet is a table with a name, of which a file is made.
type sheet struct {
	name   string
	header []string
	// rows of text; numeric says which columns are numbers, empty where there is none.
	rows    [][]string
	numeric []bool
}

// sheets are everything that a page plots.
func sheets(s *record.Study) []sheet {
	all := []sheet{estimates(s, "points", func(p *record.StudyPoint) []record.StudyEstimate { return p.Estimates }),
		estimates(s, "differences", func(p *record.StudyPoint) []record.StudyEstimate { return p.Differences })}
	for _, name := range tableNames(s) {
		all = append(all, joined(s, name))
	}
	return append(all, answersSheet(s), tornadoSheet(s))
}

// identity are the columns that say which point a row is of.
func identity(s *record.Study) []string {
	out := []string{"point", "case"}
	return append(append(out, s.Knobs...), "down")
}

func identify(s *record.Study, p *record.StudyPoint) []string {
	out := []string{p.ID, p.Case}
	for i := range s.Knobs {
		v := ""
		if i < len(p.Values) {
			v = p.Values[i]
		}
		out = append(out, v)
	}
	return append(out, list(p.Down))
}

func estimates(s *record.Study, name string, of func(*record.StudyPoint) []record.StudyEstimate) sheet {
	out := sheet{name: name, header: append(identity(s), "measure", "mean", "half", "least", "greatest", "n", "refused", "note")}
	n := len(identity(s))
	out.numeric = make([]bool, len(out.header))
	for i := n + 1; i <= n+5; i++ {
		out.numeric[i] = true
	}
	for i := range s.Points {
		p := &s.Points[i]
		for _, e := range of(p) {
			half := ""
			if e.Half != nil {
				half = exact(*e.Half)
			}
			out.rows = append(out.rows, append(identify(s, p), e.Measure, exact(e.Mean), half, exact(e.Least), exact(e.Greatest), strconv.Itoa(e.N), e.Refused, e.Note))
		}
	}
	return out
}

// joined is one table of all points, one under the other.
func joined(s *record.Study, name string) sheet {
	var out sheet
	for i := range s.Points {
		p := &s.Points[i]
		t, ok := p.Tables[name]
		if !ok {
			continue
		}
		if out.header == nil {
			out = sheet{name: name, header: append(append(identity(s), t.Keys...), t.Columns...)}
			out.numeric = make([]bool, len(out.header))
			for k := range t.Columns {
				out.numeric[len(out.header)-1-k] = true
			}
		}
		for _, r := range t.Rows {
			row := append(identify(s, p), r.Key...)
			for _, v := range r.Values {
				row = append(row, exact(v))
			}
			out.rows = append(out.rows, row)
		}
	}
	return out
}

func answersSheet(s *record.Study) sheet {
	out := sheet{name: "answers", header: []string{"id", "question", "where", "value", "measure", "mean", "half", "holds"}, numeric: []bool{5: true, 6: true, 7: false}}
	for _, a := range s.Answers {
		for _, t := range a.Tried {
			half := ""
			if t.Estimate.Half != nil {
				half = exact(*t.Estimate.Half)
			}
			out.rows = append(out.rows, []string{a.ID, a.Question, a.Where, t.Value, t.Estimate.Measure, exact(t.Estimate.Mean), half, t.Holds})
		}
	}
	return out
}

func tornadoSheet(s *record.Study) sheet {
	out := sheet{name: "tornado", header: []string{"knob", "low", "high", "at_low", "at_high", "flips"}, numeric: []bool{3: true, 4: true, 5: false}}
	if s.Tornado == nil {
		return out
	}
	for _, b := range s.Tornado.Bars {
		out.rows = append(out.rows, []string{b.Knob, b.Low.Value, b.High.Value, exact(b.Low.Estimate.Mean), exact(b.High.Estimate.Mean), strconv.FormatBool(b.Flips)})
	}
	return out
}

func exact(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func writeCSV(w io.Writer, s sheet) error {
	out := csv.NewWriter(w)
	if err := out.Write(s.header); err != nil {
		return err
	}
	return out.WriteAll(s.rows)
}
