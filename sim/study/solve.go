package study

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// most values that one search looks at.
const mostTries = 40

// answer answers the study's inverse questions.
func (r *Runner) answer(ctx context.Context) error {
	for _, q := range r.Study.Solve {
		points := []Point{r.points[0]}
		if q.Each {
			points = r.places(q.Max + q.Min)
		}
		for _, p := range points {
			a, err := r.search(ctx, q, p)
			if err != nil {
				return err
			}
			r.answers = append(r.answers, a)
		}
	}
	return nil
}

// places are the points at which a knob is searched: all with every datacenter up that
// differ in something else.
func (r *Runner) places(knob string) []Point {
	var all []Point
	seen := map[string]bool{}
	for _, p := range r.points {
		if len(p.Down) > 0 {
			continue
		}
		others := p.Case
		for i, k := range r.Study.Vary {
			if k.Set != knob {
				others += fmt.Sprintf(" %q", p.Values[i])
			}
		}
		if !seen[others] {
			seen[others] = true
			all = append(all, p)
		}
	}
	return all
}

// where names a point at which a knob is searched, without what the search gives it.
func (r *Runner) where(p Point, knob string) string {
	names := r.knobs()
	if i := slices.IndexFunc(r.Study.Vary, func(k spec.Knob) bool { return k.Set == knob }); i >= 0 {
		names = slices.Delete(names, i, i+1)
		p.Values = slices.Delete(slices.Clone(p.Values), i, i+1)
	}
	return p.Label(names)
}

// searcher brackets the value at which a condition ends to hold, under common random
// numbers: the same seeds at every value.
type searcher struct {
	*Runner
	q         spec.Solve
	knob      string
	condition spec.Condition
	unit      string
	integer   bool
	at        Point
	tried     []try
}

type try struct {
	x float64
	record.StudyTry
}

// What a try says.
const (
	holds  = "yes"
	breaks = "no"
	unsure = "unsure"
)

func (r *Runner) search(ctx context.Context, q spec.Solve, at Point) (record.StudyAnswer, error) {
	word, knob := "greatest", q.Max
	if q.Min != "" {
		word, knob = "least", q.Min
	}
	a := record.StudyAnswer{ID: cmp.Or(q.ID, knob), Question: fmt.Sprintf("the %s %s such that %s", word, knob, q.SuchThat), Where: r.where(at, knob)}
	condition, err := spec.ParseCondition(q.SuchThat)
	if err != nil {
		return a, err
	}
	from, err := spec.ParseQuantity(q.From)
	if err != nil {
		return a, err
	}
	to, err := spec.ParseQuantity(q.To)
	if err != nil {
		return a, err
	}
	s := &searcher{Runner: r, q: q, knob: knob, condition: condition, unit: from.Unit, at: at}
	s.integer = from.Value == math.Trunc(from.Value) && to.Value == math.Trunc(to.Value) && to.Value-from.Value >= 10
	// good is where the condition should hold, bad where it should not.
	good, bad := from.Value, to.Value
	if q.Min != "" {
		good, bad = bad, good
	}
	if err := s.bracket(ctx, good, bad); err != nil {
		return a, err
	}
	s.conclude(&a, good, bad)
	return a, nil
}

// bracket looks at the ends, and then between the last value that surely holds and
// the first that surely does not, until they are close or noise is all that is left.
func (s *searcher) bracket(ctx context.Context, good, bad float64) error {
	first, err := s.look(ctx, good)
	if err != nil {
		return err
	}
	last, err := s.look(ctx, bad)
	if err != nil || first != holds || last == holds {
		return err
	}
	// Twice: toward what surely holds, then toward what surely does not; between the
	// two noise hides the answer.
	edge, err := s.halve(ctx, good, bad, func(what string) bool { return what == holds })
	if err != nil || last != breaks {
		return err
	}
	for _, t := range s.tried {
		if t.Holds == breaks && math.Abs(t.x-edge) < math.Abs(bad-edge) {
			bad = t.x
		}
	}
	_, err = s.halve(ctx, edge, bad, func(what string) bool { return what != breaks })
	return err
}

// halve narrows down where a verdict changes, between low where it is so and high
// where it is not.
func (s *searcher) halve(ctx context.Context, low, high float64, so func(string) bool) (float64, error) {
	for len(s.tried) < mostTries && s.apart(low, high) {
		x := s.middle(low, high)
		what, err := s.look(ctx, x)
		if err != nil {
			return low, err
		}
		if so(what) {
			low = x
		} else {
			high = x
		}
	}
	return low, nil
}

func (s *searcher) apart(a, b float64) bool {
	if s.integer && math.Abs(a-b) <= 1 {
		return false
	}
	return math.Abs(a-b) > float64(s.q.Within)*max(math.Abs(a), math.Abs(b))
}

// middle is geometric where the ends are far apart, and has no more digits than the
// search is to be exact to.
func (s *searcher) middle(a, b float64) float64 {
	m := (a + b) / 2
	if low, high := min(a, b), max(a, b); low > 0 && high/low > 4 {
		m = math.Sqrt(a * b)
	}
	if s.integer {
		m = math.Round(m)
	}
	step := math.Pow(10, math.Floor(math.Log10(float64(s.q.Within)*math.Abs(m))))
	if short := math.Round(m/step) * step; short > min(a, b) && short < max(a, b) {
		return short
	}
	return m
}

// text is a value as files write it: large whole numbers in groups of three digits.
func (s *searcher) text(x float64) string {
	text := spec.Quantity{Value: x, Unit: s.unit}.String()
	if s.unit != "" || x != math.Trunc(x) || math.Abs(x) < 10_000 {
		return text
	}
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "_" + text[i:]
	}
	return text
}

// look repeats one value, more often while the interval holds the bound.
func (s *searcher) look(ctx context.Context, x float64) (string, error) {
	p := s.at
	p.Also = append(slices.Clone(p.Also), spec.Setting{Path: s.knob, Value: s.text(x)})
	for i := range s.tried {
		if s.tried[i].x == x {
			return s.tried[i].Holds, nil
		}
	}
	e, verdict, err := s.judge(ctx, p, s.condition)
	if err != nil {
		return "", err
	}
	s.tried = append(s.tried, try{x, record.StudyTry{Value: s.text(x), Estimate: e, Holds: verdict}})
	return verdict, nil
}

// judge says whether a condition holds at a point: yes or no only if the interval is
// on one side of the bound.
func (r *Runner) judge(ctx context.Context, p Point, c spec.Condition) (record.StudyEstimate, string, error) {
	if err := r.replicate(ctx, []Point{p}); err != nil {
		return record.StudyEstimate{}, "", err
	}
	s := r.sampleOf(p)
	for {
		e, ok := s.estimate(c.Measure, r.level())
		if !ok {
			return e, "", fmt.Errorf("%s: no outcome has the measure %s", p.Label(r.knobs()), c.Measure)
		}
		if verdict := side(e, c, s); verdict != unsure || len(s.outcomes) >= r.Study.Replicas.Most {
			return e, verdict, nil
		}
		var tasks []Task
		for _, replica := range r.more(len(s.outcomes)) {
			tasks = append(tasks, Task{p, replica})
		}
		if len(tasks) == 0 {
			return e, unsure, nil
		}
		if err := r.round(ctx, tasks); err != nil {
			return e, "", err
		}
	}
}

// side is on which side of the bound the whole interval is. A share that was never
// seen is below what its trials rule out.
func side(e record.StudyEstimate, c spec.Condition, s *sample) string {
	low, high := e.Mean, e.Mean
	switch events, trials := s.events(c.Measure); {
	case e.Half != nil:
		low, high = e.Mean-*e.Half, e.Mean+*e.Half
	case trials > 0 && events < fewEvents:
		// Poisson's bounds by the square root (Freeman and Tukey), three deviations.
		root := math.Sqrt(events+1) + 1.5
		low, high = math.Pow(max(0, math.Sqrt(events)-1.5), 2)/trials, root*root/trials
	default:
		return unsure
	}
	switch in, out := c.Holds(low), c.Holds(high); {
	case in && out:
		return holds
	case !in && !out:
		return breaks
	}
	return unsure
}

// conclude says what the tries mean.
func (s *searcher) conclude(a *record.StudyAnswer, good, bad float64) {
	far := math.Abs(bad - good)
	reach := func(x float64) float64 { return math.Abs(x-good) / far } // 0 at good, 1 at bad
	slices.SortFunc(s.tried, func(x, y try) int { return cmp.Compare(reach(x.x), reach(y.x)) })
	lastYes, firstNo := -1, -1
	mixed := false
	for i, t := range s.tried {
		a.Tried = append(a.Tried, t.StudyTry)
		switch t.Holds {
		case holds:
			mixed = mixed || firstNo >= 0
			lastYes = i
		case breaks:
			if firstNo < 0 {
				firstNo = i
			}
		}
	}
	a.From, a.To = s.text(good), s.text(bad)
	switch {
	case lastYes < 0 && firstNo == 0:
		a.Verdict = "does not hold anywhere between " + a.From + " and " + a.To
		return
	case lastYes < 0:
		a.Verdict = "noise hides it everywhere: more replicas would be needed"
		return
	case firstNo < 0 && lastYes == len(s.tried)-1:
		a.Answer, a.From = s.text(bad), s.text(bad)
		a.Verdict = "holds up to the end of the search, " + a.To
		return
	}
	a.Answer, a.From = s.tried[lastYes].Value, s.tried[lastYes].Value
	if firstNo >= 0 {
		a.To = s.tried[firstNo].Value
	}
	a.Verdict = fmt.Sprintf("surely holds to %s", a.From)
	switch {
	case mixed:
		a.Verdict += "; but it fails at " + a.To + " nearer to where the search began: the measure is not monotonic, and this is one of several answers"
	case firstNo < 0:
		a.Verdict += ", and noise hides what is beyond"
	default:
		a.Verdict += ", surely not at " + a.To
		if s.apart(s.tried[lastYes].x, s.tried[firstNo].x) {
			a.Verdict += "; between them noise hides it"
		}
	}
}

// sensitivity turns one knob at a time to its least and greatest value.
func (r *Runner) sensitivity(ctx context.Context) error {
	t := r.Study.Sensitivity
	if t == nil {
		return nil
	}
	c, err := spec.ParseCondition(t.SuchThat)
	if err != nil {
		return err
	}
	out := &record.StudyTornado{Condition: c.String()}
	if out.Base, out.Holds, err = r.judge(ctx, r.points[0], c); err != nil {
		return err
	}
	for _, k := range t.Knobs {
		bar := record.StudyBar{Knob: k.Name()}
		ends := k.Try()
		for i, v := range []string{ends[0], ends[len(ends)-1]} {
			p := r.points[0]
			p.Also = append(slices.Clone(p.Also), spec.Setting{Path: k.Set, Value: v})
			e, verdict, err := r.judge(ctx, p, c)
			if err != nil {
				return err
			}
			tried := record.StudyTry{Value: v, Estimate: e, Holds: verdict}
			if i == 0 {
				bar.Low = tried
			} else {
				bar.High = tried
			}
			bar.Flips = bar.Flips || verdict != out.Holds && verdict != unsure && out.Holds != unsure
		}
		out.Bars = append(out.Bars, bar)
	}
	width := func(b record.StudyBar) float64 { return math.Abs(b.High.Estimate.Mean - b.Low.Estimate.Mean) }
	slices.SortStableFunc(out.Bars, func(a, b record.StudyBar) int { return cmp.Compare(width(b), width(a)) })
	r.tornado = out
	return nil
}
