// Package html writes report.html: one self-contained page about all runs of
// an output directory. It works from a file:// address, fetches nothing, and
// is readable without scripts (they add tabs, filters and sorting).
//
// It is not a judge: verdicts come from summary.json and every number from
// records. Its law: the same results give the same bytes, and nothing that a
// record holds reaches the page unescaped.
package html

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"github.com/homeward-lab/homeward/reports/picture"
	"github.com/homeward-lab/homeward/reports/record"
)

//go:embed report.tmpl
var pageText string

//go:embed report.css
var styleText string

//go:embed report.js
var scriptText string

// Write writes the page for r.
func Write(w io.Writer, r *record.Results) error {
	t, err := template.New("report").Funcs(template.FuncMap{"ms": ms, "count": count, "of": ofPackets, "stallHeads": stallHeads}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("html: %w", err)
	}
	p, err := newPage(r)
	if err != nil {
		return fmt.Errorf("html: %w", err)
	}
	p.Palette, p.Style, p.Script = picture.Style(), template.CSS(styleText), template.JS(scriptText)
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("html: %w", err)
	}
	return nil
}

// ms prints milliseconds with three significant digits.
func ms(ns int64) string {
	v := float64(ns) / 1e6
	switch {
	case ns == 0:
		return "–"
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return count(int64(v + 0.5))
}

// count prints a whole number with thin spaces between thousands.
func count(n int64) string {
	if n < 0 {
		return "−" + count(-n)
	}
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "\u2009" + text[i:]
	}
	return text
}
