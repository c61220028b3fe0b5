package junit

import (
	"bytes"
	"encoding/xml"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/homeward-lab/homeward/reports/record"
)

func runs() []record.Summary {
	return []record.Summary{
		{Scenario: "overlapping_branches", Variant: "base", Engine: "emu-hub", Verdict: record.Pass, WallMs: 2345, Checks: []record.CheckResult{
			{ID: "home", Verdict: record.Pass, Detail: "same.ok = 3 of 3"},
			{ID: "fast", Verdict: record.Fail, Level: "warning", Detail: `same.rtt_ms.p99 = 31 ms, more than <30 & "less">`},
		}},
		{Scenario: "overlapping_branches", Variant: "routes_only", Engine: "emu-hub", Verdict: record.Pass, WallMs: 2000, Checks: []record.CheckResult{
			{ID: "home", Verdict: record.Fail, Expected: true, Detail: "same.ok = 1 of 3"},
			{ID: "slices", Verdict: record.Pass},
		}},
		{Scenario: "overlapping_branches", Variant: "one_arr", Engine: "emu-hub", Verdict: record.Fail, WallMs: 10, Checks: []record.CheckResult{
			{ID: "home", Verdict: record.Pass, UnexpectedPass: true, Detail: "it held"},
			{ID: "slices", Verdict: record.Fail, Detail: "egress.port_outside_slice = 1"},
			{ID: "late", Verdict: record.Error, Detail: "cannot be judged"},
			{ID: "v6", Verdict: record.Skip, Detail: "no IPv6"},
		}},
		{Scenario: "other", Variant: "base", Engine: "sim", Verdict: record.Skip, Reason: "needs root"},
		{Scenario: "other", Variant: "base", Engine: "emu-hub", Verdict: record.Error, Reason: "the lab did not start\x1b[0m \xff"},
		{Scenario: "other", Variant: "late", Engine: "emu-hub", Verdict: record.Error, Reason: "interrupted",
			Checks: []record.CheckResult{{ID: "home", Verdict: record.Pass}}},
	}
}

// TestGolden compares with a file that was written by hand from JUnit's schema.
func TestGolden(t *testing.T) {
	var got bytes.Buffer
	if err := Write(&got, runs()); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/junit.xml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCounts decodes the document with types of its own and counts again.
func TestCounts(t *testing.T) {
	var text bytes.Buffer
	if err := Write(&text, runs()); err != nil {
		t.Fatal(err)
	}
	type node struct {
		XMLName xml.Name
		Attrs   []xml.Attr `xml:",any,attr"`
		Nodes   []node     `xml:",any"`
	}
	var doc node
	if err := xml.Unmarshal(text.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	attr := func(n node, name string) string {
		for _, a := range n.Attrs {
			if a.Name.Local == name {
				return a.Value
			}
		}
		return ""
	}
	names := map[string]bool{}
	for _, suite := range doc.Nodes {
		count := map[string]int{}
		for _, c := range suite.Nodes {
			count[c.XMLName.Local]++
			names[attr(c, "classname")+"/"+attr(c, "name")] = true
			for _, o := range c.Nodes {
				count[o.XMLName.Local]++
			}
		}
		for outcome, total := range map[string]string{"testcase": "tests", "failure": "failures", "error": "errors", "skipped": "skipped"} {
			if got, want := attr(suite, total), count[outcome]; got != string(rune('0'+want)) {
				t.Errorf("%s: %s=%s, but there are %d", attr(suite, "name"), total, got, want)
			}
		}
	}
	if len(doc.Nodes) != 2 || len(names) != 12 {
		t.Errorf("got %d suites and %d different cases, want 2 and 12", len(doc.Nodes), len(names))
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestWriteError(t *testing.T) {
	if err := Write(brokenPipe{}, runs()); err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("got %v, want the writer's error", err)
	}
}
