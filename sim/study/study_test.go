package study_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/study"
	"github.com/homeward-lab/homeward/sim/sweep"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// parse reads a study's text, without asking a scenario.
func parse(t testing.TB, text string) *spec.Study {
	t.Helper()
	s, err := load.StudyBytes("test.yaml", []byte("version: 1\nname: test\nscenario: none\nlevel: flows\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	return s.Spec
}

// fake is a model whose measure is a known function of the settings, and chance that
// replicas of the same number share.
type fake struct {
	study *spec.Study
	f     func(settings map[string]float64, noise, topology float64) study.Outcome
	fail  bool
	mu    sync.Mutex
	runs  int
}

func (m *fake) Measures() []record.StudyMeasure {
	return []record.StudyMeasure{{Name: "y"}, {Name: "blocked", Unit: "share"}}
}
func (m *fake) Limits() []string { return []string{"a test"} }
func (m *fake) Model(_ context.Context, p study.Point) (study.Model, error) {
	return fakeAt{m, p}, nil
}

type fakeAt struct {
	*fake
	p study.Point
}

func (m fakeAt) Run(_ context.Context, r study.Replica) (*study.Outcome, error) {
	m.mu.Lock()
	m.runs++
	m.mu.Unlock()
	if m.fail {
		return nil, errors.New("broken model")
	}
	settings := map[string]float64{"down": float64(len(m.p.Down))}
	for _, s := range m.p.Settings(m.study) {
		v, err := strconv.ParseFloat(s.Value, 64)
		if err != nil {
			return nil, err
		}
		settings[s.Path] = v
	}
	noise := rand.New(rand.NewPCG(uint64(r.Seed), uint64(r.Topology)+99)).NormFloat64()
	topology := rand.New(rand.NewPCG(uint64(r.Topology), 7)).NormFloat64()
	o := m.f(settings, noise, topology)
	return &o, nil
}

func run(t testing.TB, s *spec.Study, m *fake) *record.Study {
	t.Helper()
	m.study = s
	r := study.Runner{Study: s, Maker: m, Datacenters: []string{"lhr", "cdg", "iad"}, Sweep: local(m)}
	out, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func local(m study.Maker) sweep.Local {
	return sweep.Local{Do: func(ctx context.Context, b []byte) []byte { return study.Do(ctx, m, b) }}
}

func linear(s map[string]float64, noise, topology float64) study.Outcome {
	return study.Outcome{Measures: map[string]float64{"y": 10*s["x.a"] + s["x.b"] + noise + 5*topology}}
}

func TestPoints(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"vary: [{set: x.a, values: [1, 2]}, {set: x.b, values: [3, 4]}]", []string{"a=1, b=3", "a=1, b=4", "a=2, b=3", "a=2, b=4"}},
		{"design: each\nvary: [{set: x.a, values: [1, 2]}, {set: x.b, values: [3, 4]}]", []string{"a=1, b=3", "a=2, b=3", "a=1, b=4"}},
		{"cases: {one: {set: {x.a: 1}}, two: {}}\nvary: [{set: x.b, from: 0, to: 1, steps: 3}]", []string{"one, b=0", "one, b=0.5", "one, b=1", "two, b=0", "two, b=0.5", "two, b=1"}},
		{"failures: {together: 2}", []string{"base", "down: lhr", "down: cdg", "down: iad", "down: lhr and cdg", "down: lhr and iad", "down: cdg and iad"}},
		{"vary: [{set: x.a, from: 1ms, to: 100ms, steps: 3, log: true}]", []string{"a=1ms", "a=10ms", "a=100ms"}},
	} {
		s := parse(t, c.text)
		var got, knobs []string
		for _, k := range s.Vary {
			knobs = append(knobs, k.Name())
		}
		for _, p := range study.Points(s, []string{"lhr", "cdg", "iad"}) {
			got = append(got, p.Label(knobs))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.text, got, c.want)
		}
	}
}

// TestLatinCoversEveryKnob: each tenth of each knob's range is visited once.
func TestLatinCoversEveryKnob(t *testing.T) {
	s := parse(t, "design: latin\npoints: 10\nvary: [{set: x.a, from: 0.5, to: 1.5}, {set: x.b, from: 10, to: 20.5}]")
	for k, from := range []float64{0.5, 10} {
		span := []float64{1, 10.5}[k]
		var seen [10]int
		for _, p := range study.Points(s, nil) {
			v, err := strconv.ParseFloat(p.Values[k], 64)
			if err != nil {
				t.Fatal(err)
			}
			seen[min(9, int((v-from)/span*10))]++
		}
		if seen != [10]int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1} {
			t.Errorf("knob %d is visited %v, want once in each part", k, seen)
		}
	}
}

// TestSameBytes: however many work, whatever is known already, and after an
// interruption.
func TestSameBytes(t *testing.T) {
	s := parse(t, "vary: [{set: x.a, values: [1, 2, 3]}]\nreplicas: {seeds: 3, until: 1%, most: 20}\nsolve: [{max: x.b, such_that: y < 25, from: 0, to: 100}]")
	text := func(r *record.Study) string {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	want := text(run(t, s, &fake{f: linear}))
	kept := map[string][]byte{}
	for _, workers := range []int{1, 7} {
		m := &fake{f: linear, study: s}
		ctx, cancel := context.WithCancel(t.Context())
		r := study.Runner{Study: s, Maker: m, Datacenters: []string{"lhr", "cdg", "iad"}, Known: kept}
		r.Sweep = sweep.Local{Workers: workers, Do: func(ctx context.Context, b []byte) []byte { return study.Do(ctx, m, b) }}
		r.Keep = func(id string, body []byte) error {
			kept[id] = bytes.Clone(body)
			if workers == 1 && len(kept) == 5 {
				cancel()
			}
			return nil
		}
		got, err := r.Run(ctx)
		cancel()
		if workers == 1 {
			if err == nil || got.Partial == "" {
				t.Fatalf("an interrupted study says %v and %q, want an error and that it is partial", err, got.Partial)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if text(got) != want {
			t.Errorf("after an interruption and with %d workers:\n%s\nwant\n%s", workers, text(got), want)
		}
	}
}

// TestShards: parts done apart and joined give the same bytes as one run.
func TestShards(t *testing.T) {
	s := parse(t, "vary: [{set: x.a, values: [1, 2, 3]}]\nreplicas: 4")
	want, err := json.Marshal(run(t, s, &fake{f: linear}))
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string][]byte{}
	for i := range 3 {
		m := &fake{f: linear, study: s}
		r := study.Runner{Study: s, Maker: m, Sweep: local(m), Shard: study.Shard{Index: i, Count: 3}}
		r.Keep = func(id string, body []byte) error { kept[id] = bytes.Clone(body); return nil }
		if _, err := r.Run(t.Context()); !errors.Is(err, study.ErrShard) {
			t.Fatalf("part %d ends with %v, want %v", i, err, study.ErrShard)
		}
		if m.runs != 4 {
			t.Errorf("part %d did %d of 12 tasks, want 4", i, m.runs)
		}
	}
	m := &fake{f: linear, study: s}
	r := study.Runner{Study: s, Maker: m, Datacenters: []string{"lhr", "cdg", "iad"}, Sweep: local(m), Known: kept}
	joined, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := json.Marshal(joined); !bytes.Equal(got, want) || m.runs != 0 {
		t.Errorf("joined after %d more runs:\n%s\nwant none and\n%s", m.runs, got, want)
	}
}

// TestPairsAreNarrow: what replicas share goes out of differences.
func TestPairsAreNarrow(t *testing.T) {
	out := run(t, parse(t, "vary: [{set: x.a, values: [1, 2]}]\nreplicas: 10"), &fake{f: linear})
	own, _ := out.Points[1].Estimate("y")
	d := out.Points[1].Differences[0]
	if own.Half == nil || *own.Half < 0.2 {
		t.Errorf("the mean itself is %v, want it to be as unsure as its noise", own)
	}
	if math.Abs(d.Mean-10) > 1e-9 || d.Half == nil || *d.Half > 1e-9 {
		t.Errorf("the difference is %+v, want 10 exactly", d)
	}
}

// TestTopologiesAreClusters: a hundred seeds on four graphs are four values, and the
// interval has the truth, which it would miss if seeds counted.
func TestTopologiesAreClusters(t *testing.T) {
	out := run(t, parse(t, "set: {x.a: 1}\nreplicas: {topologies: 4, seeds: 25}"), &fake{f: linear})
	e, _ := out.Points[0].Estimate("y")
	if e.N != 4 || e.Half == nil || math.Abs(e.Mean-10) > *e.Half {
		t.Errorf("%+v, want an interval of 4 values that has 10", e)
	}
}

func TestReplicasUntilNarrow(t *testing.T) {
	m := &fake{f: func(s map[string]float64, noise, _ float64) study.Outcome {
		return study.Outcome{Measures: map[string]float64{"y": 10 + noise}}
	}}
	out := run(t, parse(t, "replicas: {seeds: 4, until: 5%, most: 200}\nmeasures: [y]"), m)
	e, _ := out.Points[0].Estimate("y")
	if n := out.Points[0].Replicas; e.Half == nil || *e.Half > 0.05*e.Mean || n <= 4 || n > 60 {
		t.Errorf("%d replicas and %v, want as many as 5 %% need", n, e)
	}
}

// TestFewReplicasSettleNothing: two that are alike by chance are not enough, unless
// the study allows no more.
func TestFewReplicasSettleNothing(t *testing.T) {
	m := &fake{f: func(map[string]float64, float64, float64) study.Outcome {
		return study.Outcome{Measures: map[string]float64{"y": 10}}
	}}
	for most, want := range map[int]int{200: 4, 3: 3} {
		out := run(t, parse(t, fmt.Sprintf("replicas: {seeds: 2, until: 5%%, most: %d}\nmeasures: [y]", most)), m)
		if n := out.Points[0].Replicas; n != want {
			t.Errorf("%d replicas of at most %d, want %d", n, most, want)
		}
	}
}

// TestRefusals: numbers without a sound interval say why.
func TestRefusals(t *testing.T) {
	share := func(v, of float64) study.Outcome {
		return study.Outcome{Measures: map[string]float64{"blocked": v}, Of: map[string]float64{"blocked": of}}
	}
	walk := make([]float64, 4000) // remembers longer than a batch
	r := rand.New(rand.NewPCG(1, 1))
	for i := 1; i < len(walk); i++ {
		walk[i] = 0.997*walk[i-1] + r.NormFloat64()
	}
	noise := make([]float64, 4000)
	for i := range noise {
		noise[i] = 3 + r.NormFloat64()
	}
	for _, c := range []struct {
		name, text, measure string
		o                   study.Outcome
		want                string
	}{
		{"one replica", "", "y", study.Outcome{Measures: map[string]float64{"y": 1}}, "one replica"},
		{"never seen", "replicas: 3", "blocked", share(0, 1e6), "never seen in 3e+06 trials: below 1e-06"},
		{"rare", "replicas: 3", "blocked", share(1e-6, 1e6), "seen 3 times, want at least 10"},
		{"correlated", "", "y", study.Outcome{Measures: map[string]float64{"y": 1}, Series: map[string][]float64{"y": walk}}, "batches correlate"},
		{"one run", "", "y", study.Outcome{Measures: map[string]float64{"y": 1}, Series: map[string][]float64{"y": noise}}, ""},
		{"equal by chance", "replicas: 3", "blocked", share(0.5, 1e6), "left to chance"},
	} {
		out := run(t, parse(t, c.text), &fake{f: func(map[string]float64, float64, float64) study.Outcome { return c.o }})
		e, ok := out.Points[0].Estimate(c.measure)
		if !ok || c.want == "" && (e.Half == nil || e.Refused != "") || c.want != "" && (e.Half != nil || !strings.Contains(e.Refused, c.want)) {
			t.Errorf("%s: %+v, want %q", c.name, e, cmpOr(c.want, "an interval"))
		}
	}
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// TestControl: what a control variate explains goes out, and the mean is put right.
func TestControl(t *testing.T) {
	out := run(t, parse(t, "replicas: 20"), &fake{f: func(_ map[string]float64, noise, _ float64) study.Outcome {
		return study.Outcome{Measures: map[string]float64{"y": 4 + 3*noise}, Controls: map[string]study.Control{"y": {Value: 7 + noise, Expected: 7}}}
	}})
	e, _ := out.Points[0].Estimate("y")
	if math.Abs(e.Mean-4) > 1e-9 || e.Half == nil || *e.Half > 1e-6 || !strings.Contains(e.Note, "control variate") {
		t.Errorf("%+v, want 4 exactly, by the control variate", e)
	}
}

// TestExpected: states of failure weigh as much as they are likely.
func TestExpected(t *testing.T) {
	out := run(t, parse(t, "failures: {together: 2, mtbf: 99h, mttr: 1h}"), &fake{f: func(s map[string]float64, _, _ float64) study.Outcome {
		return study.Outcome{Measures: map[string]float64{"y": s["down"]}}
	}})
	if len(out.Expected) != 1 {
		t.Fatalf("%+v, want one expectation", out.Expected)
	}
	const u = 0.01
	one, two := 3*u*(1-u)*(1-u), 3*u*u*(1-u)
	beyond := u * u * u
	want := (one + 2*two) / (1 - beyond)
	if e := out.Expected[0]; math.Abs(e.Mean-want) > 1e-12 || math.Abs(e.Beyond-beyond) > 1e-12 {
		t.Errorf("%+v, want %v and %v beyond", e, want, beyond)
	}
}

func TestSolve(t *testing.T) {
	step := func(at float64) func(map[string]float64, float64, float64) study.Outcome {
		return func(s map[string]float64, noise, _ float64) study.Outcome {
			return study.Outcome{Measures: map[string]float64{"y": s["x.a"] - at + noise/100}}
		}
	}
	for _, c := range []struct {
		name, text string
		f          func(map[string]float64, float64, float64) study.Outcome
		answer     [2]float64 // bounds of the answer
		verdict    string
	}{
		{"max", "{max: x.a, such_that: y < 0, from: 1.5, to: 1000.5, within: 1%}", step(42), [2]float64{41, 42}, "surely not at"},
		{"min", "{min: x.a, such_that: y > 0, from: 1.5, to: 1000.5, within: 1%}", step(42), [2]float64{42, 43}, "surely not at"},
		{"whole", "{max: x.a, such_that: y < 0, from: 1, to: 1000, within: 0.1%}", step(42.5), [2]float64{42, 42}, "surely holds to 42, surely not at 43"},
		{"large", "{max: x.a, such_that: y < 0, from: 1, to: 30_000_000, within: 1%}", step(12_345_678), [2]float64{12_300_000, 12_300_000}, "surely holds to 12_300_000, surely not at 12_400_000"},
		{"everywhere", "{max: x.a, such_that: y < 0, from: 1, to: 20}", step(42), [2]float64{20, 20}, "holds up to the end"},
		{"nowhere", "{max: x.a, such_that: y < 0, from: 50, to: 100}", step(42), [2]float64{}, "does not hold anywhere"},
		{"noise", "{max: x.a, such_that: y < 0, from: 1.5, to: 100.5, within: 0.01%}", func(s map[string]float64, noise, _ float64) study.Outcome {
			return study.Outcome{Measures: map[string]float64{"y": s["x.a"] - 42 + 4*noise}}
		}, [2]float64{20, 42}, "between them noise hides it"},
	} {
		out := run(t, parse(t, "replicas: 6\nsolve: ["+c.text+"]"), &fake{f: c.f})
		a := out.Answers[0]
		if !strings.Contains(a.Verdict, c.verdict) {
			t.Errorf("%s: %s, want %q", c.name, a.Verdict, c.verdict)
		}
		if c.answer == [2]float64{} {
			if a.Answer != "" {
				t.Errorf("%s: %s, want no answer", c.name, a.Answer)
			}
			continue
		}
		v, err := strconv.ParseFloat(strings.ReplaceAll(a.Answer, "_", ""), 64)
		if err != nil || v < c.answer[0] || v > c.answer[1] {
			t.Errorf("%s: %s (%s), want between %v", c.name, a.Answer, a.Verdict, c.answer)
		}
	}
}

func TestSensitivity(t *testing.T) {
	out := run(t, parse(t, "set: {x.a: 1, x.b: 1}\nreplicas: 5\nsensitivity: {such_that: y < 15, knobs: [{set: x.b, values: [0, 2]}, {set: x.a, values: [0, 3]}]}"), &fake{f: func(s map[string]float64, noise, _ float64) study.Outcome {
		return study.Outcome{Measures: map[string]float64{"y": 10*s["x.a"] + s["x.b"] + noise/100}}
	}})
	if b := out.Tornado.Bars; out.Tornado.Holds != "yes" || len(b) != 2 || b[0].Knob != "a" || !b[0].Flips || b[1].Flips {
		t.Errorf("%+v, want a first, which flips the answer, and b, which does not", out.Tornado)
	}
}

func TestBrokenModelEndsTheStudy(t *testing.T) {
	s := parse(t, "replicas: 3")
	m := &fake{f: linear, fail: true, study: s}
	r := study.Runner{Study: s, Maker: m, Sweep: local(m)}
	if _, err := r.Run(t.Context()); err == nil || !strings.Contains(fmt.Sprint(err), "broken model") {
		t.Errorf("%v, want the model's error", err)
	}
}
