package studypage

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/reports/worldmap"
)

// grid is a table of numbers, each shaded by its share of the greatest.
type grid struct {
	Title   string
	Columns []string
	Rows    []gridRow
}

type gridRow struct {
	Name  string
	Cells []gridCell
}

type gridCell struct {
	Text string
	// Shade from 0 to 1.
	Shade float64
}

// bars are lengths with a mark for the high water.
type bars struct {
	Title string
	Note  string
	Bars  []bar
}

type bar struct {
	Label, Text string
	// From and Length, Mark in percent of the width; a negative mark is none.
	From, Length, Mark float64
	Bad                bool
}

const (
	mostBars = 16
	mostHeat = 14
)

// worst is the point whose users move most: what most studies of failure are about.
func worst(s *record.Study) *record.StudyPoint {
	best := -1
	most := 0.0
	for i := range s.Points {
		if e, ok := s.Points[i].Estimate("moved"); ok && (best < 0 || e.Mean > most) {
			best, most = i, e.Mean
		}
	}
	if best < 0 {
		best = 0
	}
	return &s.Points[best]
}

// maps show the first point, and the one whose users move most.
func maps(s *record.Study) ([]template.HTML, error) {
	if len(s.Points) == 0 {
		return nil, nil
	}
	shown := []*record.StudyPoint{&s.Points[0]}
	if w := worst(s); w != shown[0] {
		shown = append(shown, w)
	}
	var out []template.HTML
	for _, p := range shown {
		if m, ok := mapOf(s, p); ok {
			var b bytes.Buffer
			if err := m.Write(&b); err != nil {
				return nil, err
			}
			out = append(out, template.HTML(b.String())) // worldmap escapes
		}
	}
	return out, nil
}

// mapOf draws who lands where, and datacenters as rings by what they carry.
func mapOf(s *record.Study, p *record.StudyPoint) (worldmap.Map, bool) {
	t, ok := p.Tables["datacenters"]
	if !ok {
		return worldmap.Map{}, false
	}
	m := worldmap.Map{Title: p.ID + ": who lands where", Note: "A model, not a measurement: such models find 34 % of AS paths exactly, 84 % once the first hop is known."}
	hue := map[string]int{}
	most, heaviest := 0.0, 0.0
	for i, r := range t.Rows {
		hue[r.Key[0]] = i
		most = max(most, t.Value(r, "users"))
		heaviest = max(heaviest, t.Value(r, "utilisation"))
	}
	m.Marks = append(landed(p, hue), m.Marks...)
	named := slices.Clone(t.Rows)
	slices.SortStableFunc(named, func(a, b record.StudyRow) int { return cmp.Compare(t.Value(b, "users"), t.Value(a, "users")) })
	for i, r := range named {
		lat, lon := place(r.Key[2], r.Key[3])
		users := t.Value(r, "users")
		mark := worldmap.Mark{Lat: lat, Lon: lon, Ring: true, Hue: hue[r.Key[0]], Radius: 2 + 9*math.Sqrt(users/max(most, 1))}
		mark.Title = fmt.Sprintf("%s, %s: %s users, before %s", r.Key[0], r.Key[1], short(users), short(t.Value(r, "users_before")))
		if heaviest > 0 {
			// Red is what is fullest.
			load := t.Value(r, "utilisation")
			mark.Hue, mark.Ring = loadHue(load), false
			mark.Title += fmt.Sprintf(", ports %.0f %% full at the peak, %s Gbit/s", 100*load, short(t.Value(r, "gbps")))
		}
		down := slices.Contains(p.Down, r.Key[0])
		if i < 10 || down || len(named) <= 25 {
			mark.Label = r.Key[0]
		}
		if down {
			mark.Label += " (down)"
			mark.Radius, mark.Ring, mark.Hue = 7, true, 7
		}
		m.Marks = append(m.Marks, mark)
	}
	return m, true
}

// loadHue is green, yellow, orange and red, of worldmap's colours.
func loadHue(load float64) int {
	for _, step := range []struct {
		below float64
		hue   int
	}{{0.5, 2}, {0.75, 5}, {0.9, 1}} {
		if load < step.below {
			return step.hue
		}
	}
	return 7
}

func place(lat, lon string) (float64, float64) {
	a, errA := strconv.ParseFloat(lat, 64)
	b, errB := strconv.ParseFloat(lon, 64)
	if errA != nil || errB != nil {
		return 0, 0
	}
	return a, b
}

// landed are cities or networks in the colour of where they land.
func landed(p *record.StudyPoint, hue map[string]int) []worldmap.Mark {
	var marks []worldmap.Mark
	add := func(lat, lon, name, site string, users float64) {
		y, x := place(lat, lon)
		marks = append(marks, worldmap.Mark{Lat: y, Lon: x, Hue: hue[site], Radius: 1 + math.Sqrt(users/1e6)/2.5, Title: fmt.Sprintf("%s: %s users to %s", name, short(users), site)})
	}
	for _, r := range p.Tables["cities"].Rows {
		add(r.Key[1], r.Key[2], r.Key[0], r.Key[3], r.Values[0])
	}
	for _, r := range p.Tables["networks"].Rows {
		add(r.Key[3], r.Key[4], "AS "+r.Key[0]+" in "+r.Key[2], r.Key[5], 8*r.Values[0])
	}
	return marks
}

// takeover is the failure matrix: whose users go where.
func takeover(s *record.Study) *grid {
	type pair struct{ from, to string }
	users, whole, gets := map[pair]float64{}, map[string]float64{}, map[string]float64{}
	var order, heirs []string
	for i := range s.Points {
		p := &s.Points[i]
		if len(p.Down) == 0 {
			continue
		}
		name := p.ID
		for _, r := range p.Tables["takeover"].Rows {
			to := r.Key[1]
			if whole[name] == 0 {
				order = append(order, name)
			}
			if gets[to] == 0 {
				heirs = append(heirs, to)
			}
			users[pair{name, to}] += r.Values[0]
			whole[name] += r.Values[0]
			gets[to] += r.Values[0]
		}
	}
	if len(order) == 0 {
		return nil
	}
	slices.SortStableFunc(heirs, func(a, b string) int { return cmp.Compare(gets[b], gets[a]) })
	heirs = heirs[:min(mostHeat, len(heirs))]
	g := &grid{Title: "Who takes over whose users", Columns: append(slices.Clone(heirs), "others", "users that move")}
	for _, name := range order[:min(60, len(order))] {
		r := gridRow{Name: name}
		rest := whole[name]
		for _, to := range heirs {
			n := users[pair{name, to}]
			rest -= n
			r.Cells = append(r.Cells, shareCell(n/whole[name]))
		}
		r.Cells = append(r.Cells, shareCell(rest/whole[name]), gridCell{Text: short(whole[name])})
		g.Rows = append(g.Rows, r)
	}
	return g
}

func shareCell(x float64) gridCell {
	if x < 0.001 {
		return gridCell{}
	}
	return gridCell{fmt.Sprintf("%.0f %%", 100*x), x}
}

// backbone are the pairs of datacenters with most between them, at the point that has
// most users moved.
func backbone(s *record.Study) *bars {
	if len(s.Points) == 0 {
		return nil
	}
	p := worst(s)
	t, ok := p.Tables["backbone"]
	if !ok {
		return nil
	}
	t.SortBy("gbps")
	b := &bars{Title: "Backbone, Gbit/s between datacenters", Note: p.ID + ", the busiest pairs, of " + strconv.Itoa(len(t.Rows)) + "; the mark is what wanted to cross"}
	most := 0.0
	for _, r := range t.Rows {
		most = max(most, r.Values[0], t.Value(r, "wanted_gbps"))
	}
	for _, r := range t.Rows[:min(mostBars, len(t.Rows))] {
		if most > 0 {
			b.Bars = append(b.Bars, bar{Label: r.Key[0] + " – " + r.Key[1], Text: short(r.Values[0]), Length: 100 * r.Values[0] / most, Mark: 100 * t.Value(r, "wanted_gbps") / most})
		}
	}
	return b
}

// ports are how full the datacenters' ports were, and the high-water mark over
// replicas, at the point where they were fullest.
func ports(s *record.Study) *bars {
	var at *record.StudyPoint
	most := -1.0
	for i := range s.Points {
		if e, ok := s.Points[i].Estimate("ports_peak"); ok && e.Mean > most {
			at, most = &s.Points[i], e.Mean
		}
	}
	if at == nil {
		return nil
	}
	t, ok := at.Tables["datacenters"]
	if !ok {
		return nil
	}
	t.Rows = slices.Clone(t.Rows)
	t.SortBy("utilisation")
	column := slices.Index(t.Columns, "utilisation")
	b := &bars{Title: "Ports toward the busiest destination", Note: at.ID + ", the fullest datacenters: the mean over replicas of the peak, and a mark at the greatest of them"}
	for _, r := range t.Rows[:min(mostBars, len(t.Rows))] {
		v, high := r.Values[column], r.Values[column]
		if len(r.Greatest) > column {
			high = r.Greatest[column]
		}
		b.Bars = append(b.Bars, bar{Label: r.Key[0] + " " + r.Key[1], Text: fmt.Sprintf("%.1f %%, at most %.1f %%", 100*v, 100*high), Length: min(100, 100*v), Mark: min(100, 100*high), Bad: high >= 0.999})
	}
	return b
}

// perPoint is a small table of each point, side by side: rows are points and keys.
func perPoint(s *record.Study, name string) *grid {
	g := &grid{}
	greatest := []float64{}
	for i := range s.Points {
		p := &s.Points[i]
		t, ok := p.Tables[name]
		if !ok {
			continue
		}
		if g.Columns == nil {
			g.Columns = t.Columns
			greatest = make([]float64, len(t.Columns))
		}
		for _, r := range t.Rows {
			row := gridRow{Name: strings.Join(append([]string{p.ID}, r.Key...), " · ")}
			for k, v := range r.Values {
				row.Cells = append(row.Cells, gridCell{short(v), v})
				greatest[k] = max(greatest[k], v)
			}
			g.Rows = append(g.Rows, row)
		}
	}
	if len(g.Rows) == 0 || len(g.Rows) > mostRows {
		return nil
	}
	for _, r := range g.Rows {
		for k := range r.Cells {
			r.Cells[k].Shade /= max(greatest[k], math.SmallestNonzeroFloat64)
		}
	}
	return g
}

// tornado is what each knob does to the answer, the widest first.
func tornado(s *record.Study) *bars {
	t := s.Tornado
	if t == nil {
		return nil
	}
	low, high := t.Base.Mean, t.Base.Mean
	for _, b := range t.Bars {
		low, high = min(low, b.Low.Estimate.Mean, b.High.Estimate.Mean), max(high, b.Low.Estimate.Mean, b.High.Estimate.Mean)
	}
	span := high - low
	if span == 0 {
		span = 1
	}
	out := &bars{Title: t.Condition, Note: fmt.Sprintf("%s: %s. The mark is there; a bar goes from the knob's least value to its greatest.", Number(t.Base, true), map[string]string{"yes": "it holds", "no": "it does not hold", "unsure": "noise hides whether it holds"}[t.Holds])}
	for _, b := range t.Bars {
		a, z := b.Low.Estimate.Mean, b.High.Estimate.Mean
		x := bar{Label: b.Knob, From: 100 * (min(a, z) - low) / span, Length: 100 * math.Abs(z-a) / span, Mark: 100 * (t.Base.Mean - low) / span, Bad: b.Flips}
		x.Text = fmt.Sprintf("%s: %s; %s: %s", b.Low.Value, Number(b.Low.Estimate, true), b.High.Value, Number(b.High.Estimate, true))
		if b.Flips {
			x.Text += ". Flips the answer"
		}
		out.Bars = append(out.Bars, x)
	}
	return out
}
