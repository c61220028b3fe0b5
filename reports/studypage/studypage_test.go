package studypage_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/reports/studypage"
)

func fixture() *record.Study {
	half := 0.25
	point := func(slice string, mean float64) record.StudyPoint {
		return record.StudyPoint{
			ID: "slice=" + slice, Values: []string{slice}, Down: []string{"lhr"}, Replicas: 3, Topologies: 1,
			Estimates: []record.StudyEstimate{{Measure: "blocked", Mean: mean, Half: &half, N: 3, Least: 1, Greatest: 2}, {Measure: "erlang", Mean: 2 * mean, N: 1, Refused: "one replica"}},
			Tables: map[string]record.StudyTable{
				"takeover":    {Keys: []string{"from", "to"}, Columns: []string{"users"}, Rows: []record.StudyRow{{Key: []string{"lhr", "man"}, Values: []float64{300}}, {Key: []string{"lhr", "dub"}, Values: []float64{100}}}},
				"datacenters": {Keys: []string{"datacenter", "city", "lat", "lon"}, Columns: []string{"users"}, Rows: []record.StudyRow{{Key: []string{"lhr", "London", "51.47", "-0.45"}, Values: []float64{5}}}},
			},
			Why: map[string][]string{"blocked": {"<b>because</b>"}},
		}
	}
	return &record.Study{
		Name: "x", Title: "A <script> title", Limits: []string{"believe it a little"}, Knobs: []string{"slice"}, Partial: "3 of 9",
		Measures: []record.StudyMeasure{{Name: "blocked", Unit: "share"}, {Name: "erlang", Unit: "share"}},
		Points:   []record.StudyPoint{point("512", 1), point("1024", 0.5), point("2048", 0.4)},
	}
}

// TestPage: limits, what is partial and what has no interval are said; nothing of a
// study reaches the page unescaped; three quarters of London's users go to Manchester.
func TestPage(t *testing.T) {
	page, err := studypage.Page(fixture())
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, want := range []string{"believe it a little", "Partial: 3 of 9", "one replica", "± ?", "Erlang B", "75 %", "lhr (down)", "&lt;b&gt;because"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, not := range []string{"<script>", "<b>because", "src=\"http", "href=\"http"} {
		if strings.Contains(text, not) {
			t.Errorf("the page has %q", not)
		}
	}
}

// TestFiles: the same study, the same bytes; what is plotted is beside the page, and
// Parquet can be read back.
func TestFiles(t *testing.T) {
	a, err := studypage.Files(fixture())
	if err != nil {
		t.Fatal(err)
	}
	b, err := studypage.Files(fixture())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string][]byte{}
	for i := range a {
		if a[i].Name != b[i].Name || !bytes.Equal(a[i].Data, b[i].Data) {
			t.Errorf("%s differs from one time to the next", a[i].Name)
		}
		names[a[i].Name] = a[i].Data
	}
	for _, want := range []string{"report.html", "study.json", "data/points.csv", "data/takeover.parquet", "plots/blocked_by_slice.svg", "plots/blocked_by_slice.png"} {
		if len(names[want]) == 0 {
			t.Errorf("no %s", want)
		}
	}
	data := names["data/points.parquet"]
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil || f.NumRows() != 6 {
		t.Errorf("points.parquet: %v, want six rows", err)
	}
}

// TestNumber: an estimate has as many digits as its interval leaves a meaning to,
// and is written without an exponent where a person would.
func TestNumber(t *testing.T) {
	half := func(x float64) *float64 { return &x }
	for want, e := range map[string]record.StudyEstimate{
		"0.00023 ± 0.00036": {Mean: 0.0002281, Half: half(0.0003622)},
		"1200 ± 1900":       {Mean: 1234, Half: half(1901)},
		"11.8k ± 5.3k":      {Mean: 11_800, Half: half(5_300)},
		"950 ± 12k":         {Mean: 950, Half: half(12_000)},
		"2955":              {Mean: 2955, Half: half(0)},
		"0.5 ± ?":           {Mean: 0.5},
		"-0.91 ± 0.2":       {Mean: -0.9123, Half: half(0.2)},
		"4e-06 ± 2e-06":     {Mean: 4e-6, Half: half(2e-6)},
	} {
		if got := studypage.Number(e, true); got != want {
			t.Errorf("%+v: got %s, want %s", e, got, want)
		}
	}
}
