package html

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/homeward-lab/homeward/reports/fixture"
	"github.com/homeward-lab/homeward/reports/picture"
	"github.com/homeward-lab/homeward/reports/record"
)

var keep = flag.String("keep", "", "also write the page of the fixture to this file, to look at it")

func page1(t *testing.T, r *record.Results) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestSelfContained: nothing on the page is fetched, so that it works from a
// file:// address and years later.
func TestSelfContained(t *testing.T) {
	text := page1(t, fixture.Results())
	if *keep != "" {
		if err := os.WriteFile(*keep, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{`https?://`, `<script[^>]* src`, `<link[^>]*stylesheet`, `@import`, `url\([^#]`, `<img`, `<iframe`} {
		if found := regexp.MustCompile(bad).FindString(text); found != "" {
			t.Errorf("the page holds %q", found)
		}
	}
	if strings.Contains(text, "ZgotmplZ") {
		t.Error("the template refused a value")
	}
	for _, want := range []string{"10.0.1.0/24 ×3", "routes_only", "All 5 runs are as expected", "slice 1: ports 2048–4095", "null_routed", "prefers-color-scheme: dark"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if again := page1(t, fixture.Results()); again != text {
		t.Error("the same results gave another page")
	}
}

// TestEscapes puts markup into every string of every record.
func TestEscapes(t *testing.T) {
	evil := `</script><img src=x onerror=alert(1)>"'&` + "\u2028"
	text, err := json.Marshal(fixture.Results())
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	text, err = json.Marshal(poison(tree, evil))
	if err != nil {
		t.Fatal(err)
	}
	var r record.Results
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	got := page1(t, &r)
	if strings.Contains(got, "<img") {
		t.Error("markup from a record reaches the page")
	}
	if n := strings.Count(got, "</script>"); n != 2 {
		t.Errorf("%d scripts end, want the page's own 2", n)
	}
	if !strings.Contains(got, "&lt;img src=x onerror=alert(1)&gt;") {
		t.Error("the poisoned text is nowhere on the page, so this test shows nothing")
	}
}

// poison appends to every string that is not a kind, a verdict or a time.
func poison(v any, evil string) any {
	switch v := v.(type) {
	case string:
		switch v {
		case "host", "branch", "transit", "edge", "server", "origin":
			return v
		}
		if strings.HasSuffix(v, "Z") {
			return v
		}
		return v + evil
	case []any:
		for i := range v {
			v[i] = poison(v[i], evil)
		}
	case map[string]any:
		for k := range v {
			v[k] = poison(v[k], evil)
		}
	}
	return v
}

func TestMatrix(t *testing.T) {
	var top record.Topology
	for _, site := range []string{"a.1", "a.2", "a.10"} {
		top.Nodes = append(top.Nodes, record.TopologyNode{ID: site + ".h", Kind: "host", Site: site})
	}
	n := picture.NewSites(top)
	flows := []record.Flow{
		{Client: "a.1.h", DeliveredTo: "a.1.h", Result: record.OK},
		{Client: "a.1.h", DeliveredTo: "a.2.h", Result: record.Misdelivered},
		{Client: "a.1.h", DeliveredTo: "a.2.h", Result: record.Misdelivered},
		{Client: "a.10.h", Result: record.Lost},
		{Client: "a.2.h", DeliveredTo: "a.1.h, a.2.h", Result: record.Misdelivered},
		{Client: "a.2.h", Result: record.OK}, // the engine did not see where
	}
	m := newMatrix("t", flows, n)
	if diff := cmp.Diff([]string{"a.1", "a.2", "a.10", picture.Several, picture.NotRecorded, picture.NoAnswer}, m.Columns); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	var got []string
	for _, r := range m.Rows {
		line := r.Site
		for _, c := range r.Cells {
			line += fmt.Sprintf(" %d/%s", c.N, strings.Fields(c.Class)[0])
		}
		got = append(got, line)
	}
	want := []string{
		"a.1 1/home 2/wrong 0/zero 0/zero 0/zero 0/zero",
		"a.2 0/zero 0/zero 0/zero 1/wrong 1/none 0/zero",
		"a.10 0/zero 0/zero 0/zero 0/zero 0/zero 1/none",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if m.Home != 1 || m.Elsewhere != 4 || m.Unanswered != 1 || m.Total != 6 {
		t.Errorf("got %d home, %d elsewhere, %d unanswered of %d", m.Home, m.Elsewhere, m.Unanswered, m.Total)
	}
}

// TestNumbersFromRecords: the matrices' sums are those of the flows themselves.
func TestNumbersFromRecords(t *testing.T) {
	r := fixture.Results()
	p, err := newPage(r)
	if err != nil {
		t.Fatal(err)
	}
	for i, run := range p.Scenarios[0].Runs {
		home, nowhere := 0, 0
		for _, f := range r.Runs[i].Flows {
			switch f.DeliveredTo {
			case f.Client:
				home++
			case "":
				nowhere++
			}
		}
		m := run.Matrices[0]
		if m.Traffic != "all" || m.Home != home || m.Unanswered != nowhere || m.Elsewhere != len(r.Runs[i].Flows)-home-nowhere {
			t.Errorf("%s: got %d, %d, %d of %s; want %d, _, %d of all", run.Variant, m.Home, m.Elsewhere, m.Unanswered, m.Traffic, home, nowhere)
		}
	}
}

// TestBounds: what does not fit is said to be left out.
func TestBounds(t *testing.T) {
	rec := &record.Records{Run: record.Run{Scenario: "big", Variant: "base", Engine: "sim"}}
	for i := range 3000 {
		site := fmt.Sprintf("s.%d", i%20+1)
		if i < 20 {
			rec.Run.Topology.Nodes = append(rec.Run.Topology.Nodes, record.TopologyNode{ID: site + ".h", Kind: "host", Site: site})
		}
		rec.Flows = append(rec.Flows, record.Flow{Traffic: "t", N: i, Client: site + ".h", DeliveredTo: site + ".h", Result: record.OK, HomeServer: fmt.Sprint(i % 7)})
	}
	small := &record.Records{Run: record.Run{Scenario: "big", Variant: "small", Engine: "sim"}, Flows: rec.Flows[:100]}
	p, err := newPage(&record.Results{Runs: []*record.Records{rec, small}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Table.Shown != mostRows || p.Table.Total != 3100 {
		t.Errorf("table: got %d of %d, want %d of 3100", p.Table.Shown, p.Table.Total, mostRows)
	}
	perRun := map[int]int{}
	for _, r := range p.Table.Rows {
		perRun[r.Run]++
	}
	if perRun[0] != mostRows-100 || perRun[1] != 100 {
		t.Errorf("rows by run: got %v, want all 100 of the small run and the rest of the big one", perRun)
	}
	run := p.Scenarios[0].Runs[0]
	if m := run.Matrices[0]; len(m.Rows) != 1 || m.More != 0 || m.Rows[0].Site != "s ×20" || m.Rows[0].Cells[0].N != 3000 {
		t.Errorf("matrix: got %+v, want all sites in one row, at home", m)
	}
	if text := page1(t, &record.Results{Runs: []*record.Records{rec}}); !strings.Contains(text, "This page holds 2000 of 3000 flows") {
		t.Error("the page does not say that flows are missing from it")
	}
}

// TestGathered: where sites are many, those of one name share a row, and what
// another of them got is not at home.
func TestGathered(t *testing.T) {
	var top record.Topology
	var flows []record.Flow
	for i := range 40 {
		site := fmt.Sprintf("%s.%d", []string{"north", "south"}[i%2], i/2+1)
		top.Nodes = append(top.Nodes, record.TopologyNode{ID: site + ".h", Kind: "host", Site: site})
		flows = append(flows, record.Flow{Client: site + ".h", DeliveredTo: site + ".h", Result: record.OK})
	}
	for i, to := range []string{"north.2.h", "south.7.h", ""} { // of north.1, north.2 and north.3
		flows[2*i].DeliveredTo, flows[2*i].Result = to, record.Misdelivered
	}
	m := newMatrix("t", flows, picture.NewSites(top))
	got := [][]string{m.Columns}
	for _, r := range m.Rows {
		line := []string{r.Site}
		for _, c := range r.Cells {
			line = append(line, fmt.Sprintf("%d/%s", c.N, strings.Fields(c.Class)[0]))
		}
		got = append(got, line)
	}
	want := [][]string{
		{"home", "a south", "another north", "no answer"},
		{"north ×20", "17/home", "1/wrong", "1/wrong", "1/none"},
		{"south ×20", "20/home", "0/zero", "0/zero", "0/zero"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestVerdictWords(t *testing.T) {
	r := &record.Results{
		Summaries: []record.Summary{
			{Scenario: "s", Variant: "a", Engine: "sim", Verdict: record.Fail, Checks: []record.CheckResult{
				{ID: "c1", Verdict: record.Pass, UnexpectedPass: true}, {ID: "c2", Verdict: record.Fail, Level: "warning"}, {ID: "c3", Verdict: record.Error}}},
			{Scenario: "s", Variant: "b", Engine: "emu-hub", Verdict: record.Skip, Reason: "needs root"},
		},
		Runs: []*record.Records{
			{Run: record.Run{Scenario: "s", Variant: "a", Engine: "sim"}},
			{Run: record.Run{Scenario: "s", Variant: "cut", Engine: "sim", Partial: true}},
		},
	}
	text := page1(t, r)
	for _, want := range []string{"1 fell short, 1 not judged, 1 skipped", "holds, but was expected to fall short", "falls short (warning)", "could not be judged",
		"needs root", "it was interrupted", "No flows recorded", "No server recorded a drop"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if text := page1(t, &record.Results{}); !strings.Contains(text, "holds no runs") {
		t.Error("a page without runs does not say so")
	}
}

func TestNumbers(t *testing.T) {
	for ns, want := range map[int64]string{0: "–", 1234567: "1.23", 12345678: "12.3", 123456789: "123", 12345678901: "12\u2009346"} {
		if got := ms(ns); got != want {
			t.Errorf("ms(%d) = %q, want %q", ns, got, want)
		}
	}
	if got, want := count(-1234567), "−1\u2009234\u2009567"; got != want {
		t.Errorf("count: got %q, want %q", got, want)
	}
	if got, want := quantiles([]int64{4, 1, 3, 2}), [4]int64{2, 4, 4, 4}; got != want {
		t.Errorf("quantiles: got %v, want %v", got, want)
	}
}

func TestOneRunIsNotAll(t *testing.T) {
	r := &record.Results{
		Summaries: []record.Summary{{Scenario: "s", Variant: "base", Engine: "sim", Verdict: record.Pass}},
		Runs:      []*record.Records{{Run: record.Run{Scenario: "s", Variant: "base", Engine: "sim"}}},
	}
	if text := page1(t, r); !strings.Contains(text, "The run is as expected") {
		t.Error("the page does not speak of one run as one")
	}
}
