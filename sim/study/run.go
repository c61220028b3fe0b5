package study

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/sweep"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Runner runs a study.
type Runner struct {
	Study *spec.Study
	Maker Maker
	// Datacenters of the scenario, for failures.
	Datacenters []string
	// Scenario and Version are for the report.
	Scenario, Version string
	Sweep             sweep.Sweep
	// Known are answers of tasks by ID, of a run that was interrupted. May be nil.
	Known map[string][]byte
	// Keep is told every new answer before it counts. May be nil.
	Keep func(id string, body []byte) error
	// Progress is told after every task how many are done of those asked for so far.
	// snapshot makes a report of what there is, which says that it is partial. May be
	// nil.
	Progress func(done, asked int, snapshot func() *record.Study)
	// Shard has only the tasks of a round done whose number is Index, counted by Count,
	// and then ends with ErrShard; a Count of 0 means all.
	Shard Shard

	points  []Point
	samples []*sample // of points, in their order, then of questions
	at      map[string]int
	asked   int
	done    int
	answers []record.StudyAnswer
	tornado *record.StudyTornado
}

// Shard is a part of a study's tasks.
type Shard struct{ Index, Count int }

// ErrShard ends a run that has done its part of the tasks known so far.
var ErrShard = errors.New("this part of the tasks is done")

// Run does everything that the study asks for. When ctx ends, the report says what is
// known and that it is partial, beside the error.
func (r *Runner) Run(ctx context.Context) (*record.Study, error) {
	r.points = Points(r.Study, r.Datacenters)
	r.at = map[string]int{}
	for _, p := range r.points {
		r.sampleOf(p)
	}
	err := r.everything(ctx)
	report := r.report()
	if err != nil {
		report.Partial = r.partial()
	}
	return report, err
}

func (r *Runner) everything(ctx context.Context) error {
	if err := r.replicate(ctx, r.points); err != nil {
		return err
	}
	if err := r.answer(ctx); err != nil {
		return err
	}
	return r.sensitivity(ctx)
}

func (r *Runner) partial() string {
	return fmt.Sprintf("%d of the %d tasks that were asked for so far", r.done, r.asked)
}

// sampleOf is the sample of a point, made where there is none.
func (r *Runner) sampleOf(p Point) *sample {
	id := Task{Point: p}.ID()
	i, ok := r.at[id]
	if !ok {
		i = len(r.samples)
		r.at[id] = i
		r.samples = append(r.samples, &sample{})
	}
	return r.samples[i]
}

// first are the replicas that every point begins with.
func (r *Runner) first() []Replica {
	var all []Replica
	for t := range r.Study.Replicas.Topologies {
		for s := range r.Study.Replicas.Seeds {
			all = append(all, Replica{t, s})
		}
	}
	return all
}

// more are the next replicas of a sample: topologies where there are several, seeds
// where there is one.
func (r *Runner) more(have int) []Replica {
	want := r.Study.Replicas
	room := want.Most - have
	var all []Replica
	if want.Topologies > 1 {
		for t := range want.Topologies {
			for s := range want.Seeds {
				all = append(all, Replica{have/want.Seeds + t, s})
			}
		}
		return all[:min(len(all), room/want.Seeds*want.Seeds)]
	}
	for s := range want.Seeds {
		all = append(all, Replica{0, have + s})
	}
	return all[:min(len(all), max(0, room))]
}

// replicate has points repeated until their measures are known as well as the study
// wants, or often enough. Whether a point needs more is decided by complete rounds
// alone, so that it does not depend on who was fast.
func (r *Runner) replicate(ctx context.Context, points []Point) error {
	var tasks []Task
	for _, replica := range r.first() { // the same topology one after another
		for _, p := range points {
			if !slices.Contains(r.sampleOf(p).replicas, replica) {
				tasks = append(tasks, Task{p, replica})
			}
		}
	}
	for {
		if err := r.round(ctx, tasks); err != nil {
			return err
		}
		tasks = nil // what is known of earlier questions may be enough, or not
		for _, p := range points {
			s := r.sampleOf(p)
			if len(s.outcomes) < r.Study.Replicas.Most && !r.settled(s) {
				for _, replica := range r.more(len(s.outcomes)) {
					tasks = append(tasks, Task{p, replica})
				}
			}
		}
		if len(tasks) == 0 {
			return nil
		}
		slices.SortStableFunc(tasks, func(a, b Task) int { return a.Replica.Topology - b.Replica.Topology })
	}
}

// fewest replicas are made before one asks whether they are enough: of two or three
// the width of an interval is itself left to chance, and to stop where it is small
// would be to pick those.
const fewest = 4

// settled says whether every measure of the study is known well enough.
func (r *Runner) settled(s *sample) bool {
	until := float64(r.Study.Replicas.Until)
	switch {
	case until == 0:
		return true
	case len(s.outcomes) < fewest:
		return false
	}
	for _, m := range r.decisive() {
		if e, ok := s.estimate(m, r.level()); ok && !narrow(e, until) {
			return false
		}
	}
	return true
}

// decisive are the measures that replicas are added for: those that the study names.
func (r *Runner) decisive() []string {
	if len(r.Study.Measures) > 0 {
		return r.Study.Measures
	}
	return []string{r.Maker.Measures()[0].Name}
}

func (r *Runner) level() float64 { return float64(r.Study.Replicas.Confidence) }

// round has tasks done whose answers are not known, and takes all of them into the
// samples, in the order of tasks.
func (r *Runner) round(ctx context.Context, tasks []Task) error {
	r.asked += len(tasks)
	outcomes := map[string]*Outcome{}
	var open []sweep.Task
	for i, t := range tasks {
		id := t.ID()
		if body, ok := r.Known[id]; ok {
			o, err := result(body)
			if err != nil {
				return fmt.Errorf("%s: %w", t.Point.Label(r.knobs()), err)
			}
			outcomes[id] = o
			r.done++
			continue
		}
		if r.Shard.Count > 0 && i%r.Shard.Count != r.Shard.Index {
			continue
		}
		body, err := json.Marshal(t)
		if err != nil {
			return err
		}
		open = append(open, sweep.Task{ID: id, Body: body})
	}
	take := func(into []*sample, at map[string]int) {
		for _, t := range tasks {
			if o := outcomes[t.ID()]; o != nil {
				s := into[at[Task{Point: t.Point}.ID()]]
				s.replicas, s.outcomes = append(s.replicas, t.Replica), append(s.outcomes, o)
			}
		}
	}
	for _, t := range tasks {
		r.sampleOf(t.Point)
	}
	snapshot := func() *record.Study {
		now := *r
		now.samples = make([]*sample, len(r.samples))
		for i, s := range r.samples {
			now.samples[i] = &sample{slices.Clone(s.replicas), slices.Clone(s.outcomes)}
		}
		take(now.samples, r.at)
		report := now.report()
		report.Partial = r.partial()
		return report
	}
	err := r.Sweep.Run(ctx, open, func(t sweep.Task, body []byte) error {
		o, err := result(body)
		if err != nil {
			return err
		}
		if r.Keep != nil {
			if err := r.Keep(t.ID, body); err != nil {
				return err
			}
		}
		outcomes[t.ID] = o
		if r.done++; r.Progress != nil {
			r.Progress(r.done, r.asked, snapshot)
		}
		return nil
	})
	take(r.samples, r.at)
	if err == nil && r.Shard.Count > 0 && len(outcomes) < len(tasks) {
		return ErrShard
	}
	return err
}

func (r *Runner) knobs() []string {
	names := make([]string, len(r.Study.Vary))
	for i, k := range r.Study.Vary {
		names[i] = k.Name()
	}
	return names
}

// report is what is known now.
func (r *Runner) report() *record.Study {
	s := r.Study
	out := &record.Study{
		Name: s.Name, Title: s.Title, Description: s.Description, Scenario: r.Scenario, Level: s.Level, Seed: s.Seed,
		Version: r.Version, Limits: r.Maker.Limits(), Knobs: r.knobs(), Measures: r.measures(), Shown: s.Measures, Answers: r.answers, Tornado: r.tornado,
	}
	reference := r.reference()
	for _, p := range r.points {
		sample := r.sampleOf(p)
		if len(sample.outcomes) == 0 {
			continue
		}
		from := Point{Case: p.Case, Values: p.Values}
		if s.Compare != spec.NoneDown {
			from = reference
		}
		out.Points = append(out.Points, r.point(p, sample, r.sampleOf(from), out.Measures))
	}
	if out.Reference = reference.Label(r.knobs()); s.Compare == spec.NoneDown {
		out.Reference = "the same with every datacenter up"
	}
	out.Expected = r.expected(out)
	out.Notes = r.notes()
	return out
}

// reference is the point that others are compared with.
func (r *Runner) reference() Point {
	for _, p := range r.points {
		if p.Case == r.Study.Compare {
			return p
		}
	}
	return r.points[0]
}

func (r *Runner) point(p Point, s, reference *sample, measures []record.StudyMeasure) record.StudyPoint {
	out := record.StudyPoint{
		ID: p.Label(r.knobs()), Case: p.Case, Values: p.Values, Down: p.Down,
		Topologies: s.topologies(), Replicas: len(s.outcomes), Tables: s.tables(), Why: s.outcomes[0].Why,
	}
	for _, m := range measures {
		if e, ok := s.estimate(m.Name, r.level()); ok {
			out.Estimates = append(out.Estimates, e)
		}
		if s == reference {
			continue
		}
		if e, ok := s.difference(reference, m.Name, r.level()); ok {
			out.Differences = append(out.Differences, e)
		}
	}
	return out
}

// measures are those that some outcome has, the study's own first.
func (r *Runner) measures() []record.StudyMeasure {
	seen := map[string]bool{}
	for _, s := range r.samples {
		for _, o := range s.outcomes {
			for name := range o.Measures {
				seen[name] = true
			}
		}
	}
	all := r.Maker.Measures()
	var out []record.StudyMeasure
	for _, name := range r.Study.Measures {
		for _, m := range all {
			if m.Name == name && seen[name] {
				out = append(out, m)
			}
		}
	}
	for _, m := range all {
		if seen[m.Name] && !slices.Contains(r.Study.Measures, m.Name) {
			out = append(out, m)
		}
	}
	return out
}

// notes say how the numbers came about.
func (r *Runner) notes() []string {
	want := r.Study.Replicas
	notes := []string{fmt.Sprintf("Replicas of the same number have the same seeds in every point: differences are of pairs. Intervals hold the mean with %.0f %% by Student's t, where there is one.", 100*r.level())}
	switch {
	case want.Topologies > 1:
		notes = append(notes, "Intervals are over topologies, the mean of each over its seeds: they hold for graphs like these.")
	case r.Study.Level != "packets":
		notes = append(notes, "One topology was drawn: intervals hold for this graph, and say nothing of another.")
	}
	if want.Until > 0 {
		notes = append(notes, fmt.Sprintf("Replicas were added until half the interval of %v was at most %v of the mean, up to %d.", r.decisive(), want.Until, want.Most))
	}
	return notes
}
