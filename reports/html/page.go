package html

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/picture"
	"github.com/homeward-lab/homeward/reports/record"
)

// page is what the template shows.
type page struct {
	Palette   template.CSS
	Style     template.CSS
	Script    template.JS
	Title     string
	Verdict   record.Verdict // of everything
	Headline  string
	Scenarios []scenario
	Table     table
}

// scenario is one scenario's runs, side by side.
type scenario struct {
	Name, Title string
	Facts       []fact
	Runs        []run
	// Missing are summaries without records: nothing to draw.
	Missing []verdict
	Mixed   bool     // more than one engine
	Columns int      // of the widest matrix
	Traffic []string // "all" is not among them
	Default string
	Timings []timing
	Stalls  []stalls // of runs with faults
	Drops   grid
	// Decisions and Written are empty where they would say nothing.
	Decisions []decision
	Marks     []mark
	Full      bool // some slice came near its end
	Ports     []ports
	Written   []written
	Costs     []cost
	Wires     []wires
	Counters  grid
}

// fact is one line of what was run where.
type fact struct{ Name, Value string }

// verdict is one line of the headline.
type verdict struct {
	Variant, Engine, Title string
	Verdict                record.Verdict
	Word                   string
	Notable                []checkLine // what is not as it should be, or a warning
	Expected, Holding      []checkLine // what is: it falls short as expected, or holds
	Reason                 string
	Busy                   string     // of a lab that was saturated: what shows it
	Kept                   []keptFile // packets, flow tables and logs of the lab
	WallMs                 int64
}

// checkLine is one check of a run. Mark is pass, fail, expected, unexpected,
// warning, error or skip: a class, a glyph and a phrase.
type checkLine struct{ ID, Mark, Phrase, Detail string }

// run is one run with its drawings.
type run struct {
	verdict
	Key      string // unique in the page: an HTML id
	Partial  bool
	Flows    int64
	Topology picture.Drawing
	Picture  template.HTML
	Atlas    *atlas   // nil where a map would say nothing
	Matrices []matrix // one per traffic, and "all"
}

func newPage(r *record.Results) (page, error) {
	p := page{Title: "No results", Verdict: record.Error}
	index := map[string]int{}
	at := func(name string) *scenario {
		i, ok := index[name]
		if !ok {
			i = len(p.Scenarios)
			index[name] = i
			p.Scenarios = append(p.Scenarios, scenario{Name: name, Title: name})
		}
		return &p.Scenarios[i]
	}
	records := map[string][]*record.Records{}
	for _, rec := range r.Runs {
		at(rec.Run.Scenario)
		records[rec.Run.Scenario] = append(records[rec.Run.Scenario], rec)
	}
	for _, s := range r.Summaries {
		if r.Run(s.Scenario, s.Variant, s.Engine) == nil {
			sc := at(s.Scenario)
			sc.Missing = append(sc.Missing, newVerdict(s, record.Run{}))
		}
	}
	for i := range p.Scenarios {
		if err := p.Scenarios[i].fill(i, records[p.Scenarios[i].Name], r); err != nil {
			return p, err
		}
	}
	if len(p.Scenarios) > 0 {
		p.Title = p.Scenarios[0].Title
		if len(p.Scenarios) > 1 {
			p.Title = fmt.Sprintf("%d scenarios", len(p.Scenarios))
		}
	}
	p.Verdict, p.Headline = p.overall()
	p.Table = newTable(r)
	return p, nil
}

// overall counts the verdicts of all runs; the worst colours the page.
func (p page) overall() (record.Verdict, string) {
	counts, total := map[record.Verdict]int{}, 0
	for _, s := range p.Scenarios {
		for _, v := range s.Missing {
			counts[v.Verdict]++
			total++
		}
		for _, v := range s.Runs {
			counts[v.Verdict]++
			total++
		}
	}
	worst, parts := record.Error, []string(nil)
	for _, v := range []record.Verdict{record.Skip, record.Pass, record.Error, record.Fail} {
		if counts[v] > 0 {
			worst = v
			parts = append(parts, fmt.Sprintf("%d %s", counts[v], word(v)))
		}
	}
	if total == 1 && worst == record.Pass {
		return worst, "The run is as expected"
	}
	if len(parts) == 1 && worst == record.Pass {
		return worst, fmt.Sprintf("All %d runs are as expected", total)
	}
	slices.Reverse(parts)
	return worst, strings.Join(parts, ", ")
}

// keptFile is a file beside the report.
type keptFile struct{ Name, Href string }

// kept are the files of a run that show what the lab was like.
func kept(dir string, rec *record.Records) []keptFile {
	var all []keptFile
	if rec.Dir == "" {
		return nil // never written
	}
	for _, name := range record.Evidence(rec.Dir) {
		if rel, err := filepath.Rel(dir, filepath.Join(rec.Dir, name)); err == nil {
			all = append(all, keptFile{name, filepath.ToSlash(rel)})
		}
	}
	return all
}

// word is a verdict for people.
func word(v record.Verdict) string {
	switch v {
	case record.Pass:
		return "as expected"
	case record.Fail:
		return "fell short"
	case record.Skip:
		return "skipped"
	case record.Error:
		return "not judged"
	}
	return string(v)
}

func (s *scenario) fill(index int, recs []*record.Records, r *record.Results) (err error) {
	if len(recs) > 0 {
		s.Title = cmp.Or(recs[0].Run.Title, s.Name)
		s.Facts = facts(recs)
	}
	s.Traffic, s.Default = traffics(recs)
	for i, rec := range recs {
		v := verdict{Variant: rec.Run.Variant, Engine: rec.Run.Engine, Verdict: record.Error, Word: "not finished", Reason: "The run has no summary: it was interrupted, or is still going.", WallMs: rec.Run.WallMs}
		if sum := r.Summary(rec.Run); sum != nil {
			v = newVerdict(*sum, rec.Run)
		}
		if rec.Run.Title != s.Title {
			v.Title = rec.Run.Title
		}
		v.Kept, v.Busy = kept(r.Dir, rec), busy(rec)
		one := run{verdict: v, Key: fmt.Sprintf("r%d-%d", index, i), Partial: rec.Run.Partial, Flows: int64(len(rec.Flows))}
		sites := picture.NewSites(rec.Run.Topology)
		for _, t := range append([]string{"all"}, s.Traffic...) {
			one.Matrices = append(one.Matrices, newMatrix(t, picture.OfTraffic(rec.Flows, t), sites))
		}
		one.Topology = picture.Draw(rec, s.Traffic)
		if one.Picture, err = one.Topology.Inline(one.Key); err != nil {
			return err
		}
		if one.Atlas, err = newAtlas(rec); err != nil {
			return err
		}
		for _, m := range one.Matrices {
			s.Columns = max(s.Columns, len(m.Columns))
		}
		s.Mixed = s.Mixed || rec.Run.Engine != recs[0].Run.Engine
		s.Runs = append(s.Runs, one)
	}
	s.Timings, s.Stalls = timings(recs, s.Traffic), stalled(recs, s.Traffic)
	s.Drops, s.Counters = drops(recs), counters(recs)
	s.Ports, s.Costs = portsOf(recs), costs(recs)
	s.Marks, s.Full = marks(recs)
	s.Decisions, s.Written, s.Wires = decisions(recs), configurations(recs), impaired(recs)
	return nil
}

func newVerdict(s record.Summary, r record.Run) verdict {
	v := verdict{Variant: s.Variant, Engine: s.Engine, Verdict: s.Verdict, Word: word(s.Verdict), Reason: s.Reason, WallMs: s.WallMs}
	if s.Tries > 1 {
		v.Reason = strings.TrimSpace(v.Reason + fmt.Sprintf("\nJudged by %d tries; what is shown is the last one's.", s.Tries))
	}
	if r.Partial {
		v.Reason = strings.TrimSpace(v.Reason + "\nThe run did not finish.")
	}
	for _, c := range s.Checks {
		line := checkLine{ID: c.ID, Mark: string(c.Verdict), Detail: c.Detail}
		switch {
		case c.Expected:
			line.Mark, line.Phrase = "expected", "falls short here, as expected"
		case c.UnexpectedPass:
			line.Mark, line.Phrase = "unexpected", "holds, but was expected to fall short"
		case c.Verdict == record.Fail && c.Level == "warning":
			line.Mark, line.Phrase = "warning", "falls short (warning)"
		case c.Verdict == record.Pass:
			line.Phrase = "holds"
		case c.Verdict == record.Fail:
			line.Phrase = "falls short"
		case c.Verdict == record.Skip:
			line.Phrase = "skipped"
		default:
			line.Mark, line.Phrase = "error", "could not be judged"
		}
		switch line.Mark {
		case string(record.Pass):
			v.Holding = append(v.Holding, line)
		case "expected":
			v.Expected = append(v.Expected, line)
		default:
			v.Notable = append(v.Notable, line)
		}
	}
	return v
}

// facts tells what all runs share; a fact that differs lists its values.
func facts(recs []*record.Records) []fact {
	var all []fact
	add := func(name string, of func(record.Run) string) {
		var values []string
		for _, rec := range recs {
			if v := of(rec.Run); v != "" && !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
		if len(values) > 0 {
			all = append(all, fact{name, strings.Join(values, ", ")})
		}
	}
	add("Scenario", func(r record.Run) string { return r.Scenario })
	add("Engine", func(r record.Run) string { return r.Engine })
	add("Seed", func(r record.Run) string { return fmt.Sprint(r.Seed) })
	// One value: the first run's start. Listing all would say nothing more.
	if t := recs[0].Run.Started; !t.IsZero() {
		all = append(all, fact{"Started", t.UTC().Format("2006-01-02 15:04:05 UTC")})
	}
	for _, key := range keys(recs, func(r record.Run) map[string]string { return r.Versions }) {
		add(key, func(r record.Run) string { return r.Versions[key] })
	}
	for _, key := range keys(recs, func(r record.Run) map[string]string { return r.Features }) {
		add(key, func(r record.Run) string { return r.Features[key] })
	}
	return all
}

func keys[V any](recs []*record.Records, of func(record.Run) map[string]V) []string {
	set := map[string]bool{}
	for _, rec := range recs {
		for k := range of(rec.Run) {
			set[k] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// traffics lists the traffic of all runs in the file's order, or by name where
// the runs do not say, and the one to show first.
func traffics(recs []*record.Records) (all []string, first string) {
	seen := map[string]bool{}
	for _, rec := range recs {
		names := map[string]bool{}
		for _, f := range rec.Flows {
			names[f.Traffic] = true
		}
		for _, t := range append(slices.Clone(rec.Run.Traffic), slices.Sorted(maps.Keys(names))...) {
			if names[t] && !seen[t] {
				seen[t] = true
				all = append(all, t)
			}
		}
	}
	const most = 8 // more would be a wall of buttons; "all" and the flow table have the rest
	all = all[:min(most, len(all))]
	if len(all) == 0 {
		return nil, "all"
	}
	return all, all[0]
}
