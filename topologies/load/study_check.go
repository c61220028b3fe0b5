package load

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// Bounds of a study.
const (
	maxStudyPoints   = 100_000
	maxStudyReplicas = 100_000
	maxStudyASes     = 200_000
	maxStudyEnsemble = 1000
)

func (s *Study) fail(path, format string, args ...any) {
	s.file.errs = append(s.file.errs, s.Mistake(path, fmt.Sprintf(format, args...), ""))
}

// check finds what the language's types cannot say.
func (s *Study) check() {
	t := s.Spec
	if t.Version != spec.StudyVersion {
		s.fail("version", "version %d, want %d", t.Version, spec.StudyVersion)
	}
	if !spec.IsWord(t.Name) {
		s.fail("name", "name %q, want [a-z][a-z0-9_]*", clip(t.Name))
	}
	if t.Scenario == "" {
		s.fail("scenario", "no scenario, want the name of a shipped one or a file")
	}
	if t.Level == "" {
		s.fail("level", "no level, want one of packets, flows, catchment, convergence")
	}
	s.within("internet.ases", t.Internet.ASes, 100, maxStudyASes)
	s.within("internet.ensemble", t.Internet.Ensemble, 1, maxStudyEnsemble)
	s.knobs("vary", t.Vary)
	s.design()
	s.cases()
	s.repetitions()
	s.questions()
	if t.Rare != "" && t.Level != "flows" {
		s.fail("rare", "splitting is of the level flows, whose blocking can be too rare to see")
	}
	if f := t.Failures; f != nil {
		if t.Level != "flows" && (f.At != 0 || f.Do == spec.Kill) {
			s.fail("failures", "at and kill are of the level flows: others compare with a datacenter that is down throughout")
		}
		s.within("failures.together", f.Together, 1, 2)
		if (f.MTBF > 0) != (f.MTTR > 0) || f.MTBF < 0 || f.MTTR < 0 {
			s.fail("failures", "mtbf and mttr belong together: want both, each longer than 0")
		}
	}
}

// within refuses a number out of bounds; 0 is the default.
func (s *Study) within(path string, n, least, most int) {
	if n != 0 && (n < least || n > most) {
		s.fail(path, "%d, want %d to %d", n, least, most)
	}
}

func (s *Study) knobs(at string, list []spec.Knob) {
	seen := map[string]bool{}
	for i, k := range list {
		here := fmt.Sprintf("%s[%d]", at, i)
		if k.Set == "" {
			s.fail(here, "this knob turns nothing, want set: a selector")
			continue
		}
		if _, err := spec.ParseSelector(k.Set); err != nil {
			s.fail(here+".set", "%v", err)
		}
		s.internetKnob(here+".set", k.Set)
		if seen[k.Name()] {
			s.fail(here, "a second knob is called %s, want an id of its own", k.Name())
		}
		seen[k.Name()] = true
		switch ranged := k.From != "" || k.To != ""; {
		case ranged && len(k.Values) > 0:
			s.fail(here, "values and from … to, want one of them")
		case ranged:
			s.span(here, k.From, k.To, k.Log)
			s.within(here+".steps", k.Steps, 2, 1000)
		case len(k.Values) == 0:
			s.fail(here, "no values, want values or from and to")
		}
	}
}

// internetKnob refuses a knob of the study's own graph that there is not.
func (s *Study) internetKnob(at, path string) {
	known := []string{"internet.ases", "internet.ensemble", "internet.announcers", "internet.mrai"}
	if InternetKnob(path) && !slices.Contains(known, path) {
		s.file.errs = append(s.file.errs, s.Unknown(at, "knob", path, known))
	}
}

// span checks the ends of a range.
func (s *Study) span(at, from, to string, log bool) {
	a, err := spec.ParseQuantity(from)
	if err != nil {
		s.fail(at+".from", "%v", err)
		return
	}
	b, err := spec.ParseQuantity(to)
	if err != nil {
		s.fail(at+".to", "%v", err)
		return
	}
	switch {
	case a.Unit != b.Unit:
		s.fail(at+".to", "%s and %s have different units, want the same", from, to)
	case a.Value >= b.Value:
		s.fail(at+".to", "%s is not more than %s", to, from)
	case log && a.Value <= 0:
		s.fail(at+".from", "%s, want more than 0 where steps are factors", from)
	}
}

func (s *Study) design() {
	t := s.Spec
	if t.Design == "latin" {
		if s.within("points", t.Points, 2, maxStudyPoints); t.Points == 0 {
			s.fail("design", "the design latin wants points: how many to draw")
		}
		return
	}
	if t.Points != 0 {
		s.fail("points", "points are of the design latin, not of %s", cmp.Or(t.Design, "grid"))
	}
	n := max(1, len(t.Cases))
	if t.Design != "each" {
		for _, k := range t.Vary {
			if n *= min(max(1, k.Tries()), maxStudyPoints+1); n > maxStudyPoints {
				s.fail("vary", "more than %d combinations", maxStudyPoints)
				return
			}
		}
	}
}

func (s *Study) cases() {
	known := []string{spec.NoneDown}
	for _, c := range s.Spec.Cases {
		for k, set := range c.Set {
			s.internetKnob(fmt.Sprintf("cases.%s.set[%d]", c.Name, k), set.Path)
		}
		if known = append(known, c.Name); !spec.IsWord(c.Name) || c.Name == spec.NoneDown {
			s.fail("cases."+c.Name, "case %q, want [a-z][a-z0-9_]*, and not %s", clip(c.Name), spec.NoneDown)
		}
	}
	if c := s.Spec.Compare; c != "" && !slices.Contains(known, c) {
		s.file.errs = append(s.file.errs, s.Unknown("compare", "case", c, known))
	}
	if s.Spec.Compare == spec.NoneDown && s.Spec.Failures == nil {
		s.fail("compare", "%s is of a study with failures", spec.NoneDown)
	}
}

func (s *Study) repetitions() {
	r := s.Spec.Replicas
	s.within("replicas.topologies", r.Topologies, 1, maxStudyReplicas)
	s.within("replicas.seeds", r.Seeds, 1, maxStudyReplicas)
	if r.Seeds < 0 {
		return
	}
	first := max(1, r.Topologies) * max(1, r.Seeds)
	s.within("replicas.most", r.Most, first, maxStudyReplicas)
	if r.Until < 0 || r.Until >= 1 {
		s.fail("replicas.until", "%v, want a share of the mean between 0 and 1", r.Until)
	}
	if r.Until > 0 && first < 2 {
		s.fail("replicas.until", "one replica has no interval to narrow, want at least 2 to begin with")
	}
	if r.Confidence < 0 || r.Confidence >= 1 {
		s.fail("replicas.confidence", "%v, want between 0 and 1, such as 95%%", r.Confidence)
	}
}

func (s *Study) questions() {
	for i, q := range s.Spec.Solve {
		at := fmt.Sprintf("solve[%d]", i)
		if (q.Max == "") == (q.Min == "") {
			s.fail(at, "want one of max and min: what to search")
			continue
		}
		word := at + ".max"
		if q.Min != "" {
			word = at + ".min"
		}
		if _, err := spec.ParseSelector(q.Max + q.Min); err != nil {
			s.fail(word, "%v", err)
		}
		s.condition(at+".such_that", q.SuchThat)
		s.span(at, q.From, q.To, false)
		if q.Within < 0 || q.Within >= 1 {
			s.fail(at+".within", "%v, want a share between 0 and 1", q.Within)
		}
	}
	if t := s.Spec.Sensitivity; t != nil {
		s.condition("sensitivity.such_that", t.SuchThat)
		if len(t.Knobs) == 0 {
			s.fail("sensitivity", "no knobs, want what to turn")
		}
		s.knobs("sensitivity.knobs", t.Knobs)
		for i, k := range t.Knobs {
			if n := len(k.Values); n != 0 && n != 2 {
				s.fail(fmt.Sprintf("sensitivity.knobs[%d].values", i), "%d values, want two: the least and the greatest", n)
			}
		}
	}
}

func (s *Study) condition(at, text string) {
	if _, err := spec.ParseCondition(text); err != nil {
		s.fail(at, "%v", err)
	}
}

func (s *Study) defaults() {
	t := s.Spec
	t.Seed = cmp.Or(t.Seed, 1)
	t.Internet.ASes = cmp.Or(t.Internet.ASes, 5000)
	t.Internet.Ensemble = cmp.Or(t.Internet.Ensemble, 5)
	t.Design = cmp.Or(t.Design, "grid")
	r := &t.Replicas
	r.Topologies, r.Seeds = cmp.Or(r.Topologies, 1), cmp.Or(r.Seeds, 1)
	r.Most = cmp.Or(r.Most, 8*r.Topologies*r.Seeds)
	if r.Until == 0 {
		r.Most = r.Topologies * r.Seeds
	}
	r.Confidence = cmp.Or(r.Confidence, 0.95)
	if t.Failures != nil {
		t.Failures.Together = cmp.Or(t.Failures.Together, 1)
		t.Failures.Do = cmp.Or(t.Failures.Do, spec.Withdraw)
	}
	t.Description = strings.TrimSpace(t.Description)
	if len(t.Cases) == 0 {
		t.Cases = []spec.StudyCase{{Name: spec.Base}}
	}
	for i := range t.Solve {
		t.Solve[i].Within = cmp.Or(t.Solve[i].Within, 0.02)
	}
}
