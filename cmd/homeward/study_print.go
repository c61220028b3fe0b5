package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/reports/studypage"
)

// Bounds of what is printed; the page has all.
const (
	printedMeasures = 5
	printedPoints   = 40
)

// printStudy is the answer in short.
func printStudy(out io.Writer, dir string, s *record.Study) error {
	fmt.Fprintln(out, s.Title)
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	shown := s.Columns(printedMeasures)
	fmt.Fprint(tw, "\npoint\treplicas")
	for _, m := range shown {
		fmt.Fprintf(tw, "\t%s", m.Name)
	}
	fmt.Fprintln(tw)
	for _, p := range s.Points[:min(printedPoints, len(s.Points))] {
		fmt.Fprintf(tw, "%s\t%d", p.ID, p.Replicas)
		for _, m := range shown {
			e, ok := p.Estimate(m.Name)
			fmt.Fprintf(tw, "\t%s", studypage.Number(e, ok))
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if more := len(s.Points) - printedPoints; more > 0 {
		fmt.Fprintf(out, "and %d more.\n", more)
	}
	for _, e := range s.Expected[:min(printedMeasures, len(s.Expected))] {
		fmt.Fprintf(out, "Over all states of failure, by how likely each is: %s %s (states beyond: %.2g)\n", e.Measure, studypage.Number(record.StudyEstimate{Mean: e.Mean, Half: e.Half}, true), e.Beyond)
	}
	for _, a := range s.Answers {
		fmt.Fprintf(out, "\n%s, at %s: %s\n", a.Question, a.Where, a.Verdict)
	}
	if t := s.Tornado; t != nil {
		fmt.Fprintf(out, "\n%s: %s, %s\n", t.Condition, t.Holds, studypage.Number(t.Base, true))
		for _, b := range t.Bars {
			flips := ""
			if b.Flips {
				flips = "  flips the answer"
			}
			fmt.Fprintf(out, "  %s %s to %s: %s to %s%s\n", b.Knob, b.Low.Value, b.High.Value, studypage.Number(b.Low.Estimate, true), studypage.Number(b.High.Estimate, true), flips)
		}
	}
	_, err := fmt.Fprintf(out, "\n%s\n%s\n", strings.Join(s.Limits, "\n"), filepath.Join(dir, studypage.HTML))
	return err
}

func printWhy(out io.Writer, s *record.Study, measure string) error {
	for i := range s.Points {
		p := &s.Points[i]
		e, ok := p.Estimate(measure)
		fmt.Fprintf(out, "%s: %s %s", p.ID, measure, studypage.Number(e, ok))
		switch {
		case !ok:
			fmt.Fprint(out, "no outcome has it")
		case e.Refused != "":
			fmt.Fprintf(out, "; no interval: %s", e.Refused)
		default:
			fmt.Fprintf(out, "; %d values from %.4g to %.4g", e.N, e.Least, e.Greatest)
		}
		if e.Note != "" {
			fmt.Fprintf(out, " (%s)", e.Note)
		}
		fmt.Fprintln(out)
		for _, line := range p.Why[measure] {
			fmt.Fprintln(out, "  "+line)
		}
	}
	return nil
}
