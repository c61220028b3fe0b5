// Package junit writes verdicts as JUnit XML, for machines that read test
// results: a test suite per scenario, a test case per variant, engine and check.
//
// It judges nothing: every outcome is the summary's. Its law: a suite's counts
// are those of its cases, and a run that is not a pass has at least one case
// that is not one either.
package junit

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/homeward-lab/homeward/reports/record"
)

type testsuites struct {
	XMLName  xml.Name    `xml:"testsuites"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Suites   []testsuite `xml:"testsuite"`
}

type testsuite struct {
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Errors   int        `xml:"errors,attr"`
	Skipped  int        `xml:"skipped,attr"`
	Time     string     `xml:"time,attr"`
	Cases    []testcase `xml:"testcase"`

	wallMs int64
}

type testcase struct {
	Class   string   `xml:"classname,attr"` // scenario.variant.engine
	Name    string   `xml:"name,attr"`      // the check, or "run"
	Time    string   `xml:"time,attr"`      // of the run, on its first case
	Failure *outcome `xml:"failure"`
	Error   *outcome `xml:"error"`
	Skipped *outcome `xml:"skipped"`
	Out     string   `xml:"system-out,omitempty"`
}

type outcome struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
}

// Write writes the runs as one document, in their order.
func Write(w io.Writer, runs []record.Summary) error {
	all := testsuites{Name: "homeward"}
	index := map[string]int{}
	var wallMs int64
	for _, run := range runs {
		i, ok := index[run.Scenario]
		if !ok {
			i = len(all.Suites)
			index[run.Scenario] = i
			all.Suites = append(all.Suites, testsuite{Name: clean(run.Scenario)})
		}
		s := &all.Suites[i]
		s.wallMs += run.WallMs
		wallMs += run.WallMs
		for _, c := range cases(run) {
			s.add(c)
		}
	}
	for i := range all.Suites {
		s := &all.Suites[i]
		s.Time = seconds(s.wallMs)
		all.Tests, all.Failures = all.Tests+s.Tests, all.Failures+s.Failures
		all.Errors, all.Skipped = all.Errors+s.Errors, all.Skipped+s.Skipped
	}
	all.Time = seconds(wallMs)
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("junit: %w", err)
	}
	if _, err := fmt.Fprintf(w, "%s%s\n", xml.Header, text); err != nil {
		return fmt.Errorf("junit: %w", err)
	}
	return nil
}

func (s *testsuite) add(c testcase) {
	s.Cases = append(s.Cases, c)
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
}

// cases are one run's checks. A case named "run" stands for the run itself if
// there are no checks, or if no check shows why the run is not a pass.
func cases(run record.Summary) []testcase {
	class := clean(run.Scenario + "." + run.Variant + "." + run.Engine)
	var all []testcase
	shown := run.Verdict == record.Pass
	for _, r := range run.Checks {
		c := checkCase(r)
		c.Class, c.Name = class, clean(r.ID)
		shown = shown || c.Failure != nil || c.Error != nil || c.Skipped != nil
		all = append(all, c)
	}
	if len(all) == 0 || !shown {
		c := testcase{Class: class, Name: "run"}
		reason := &outcome{Message: clean(run.Reason), Type: string(run.Verdict)}
		if reason.Message == "" {
			reason.Message = "the run's verdict is " + string(run.Verdict)
		}
		switch run.Verdict {
		case record.Pass:
		case record.Fail:
			c.Failure = reason
		case record.Skip:
			c.Skipped = &outcome{Message: reason.Message}
		default:
			c.Error = reason
		}
		all = append(all, c)
	}
	for i := range all {
		all[i].Time = seconds(0)
	}
	all[0].Time = seconds(run.WallMs)
	return all
}

// checkCase is a check's outcome as the run saw it: one that was expected to
// fail and did is a success, and one that was expected to and did not is a failure.
func checkCase(r record.CheckResult) testcase {
	c := testcase{Out: clean(r.Detail)}
	why := &outcome{Message: clean(r.Detail), Type: string(r.Verdict)}
	switch r.Verdict {
	case record.Pass:
		if r.UnexpectedPass {
			c.Failure = why
			c.Failure.Type = "expected to fail"
		}
	case record.Fail:
		switch {
		case r.Expected:
			c.Out = clean("failed as expected: " + r.Detail)
		case r.Level == "warning":
			c.Out = clean("warning: " + r.Detail)
		default:
			c.Failure = why
		}
	case record.Skip:
		c.Skipped = &outcome{Message: clean(r.Detail)}
	default:
		c.Error = why
	}
	if c.Failure != nil || c.Error != nil || c.Skipped != nil {
		c.Out = ""
	}
	return c
}

// seconds prints milliseconds as the decimal seconds that JUnit wants.
func seconds(ms int64) string { return fmt.Sprintf("%d.%03d", ms/1000, ms%1000) }

// clean replaces what XML 1.0 cannot hold: control characters and broken UTF-8.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n', r == '\r', r >= 0x20 && r <= 0xD7FF, r >= 0xE000 && r <= 0xFFFD && r != utf8.RuneError, r >= 0x10000:
			return r
		}
		return '?'
	}, s)
}
