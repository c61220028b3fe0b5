package models_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/sim/study"
	"github.com/homeward-lab/homeward/sim/study/models"
	"github.com/homeward-lab/homeward/sim/sweep"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const small = `
version: 1
name: small
timers: {port_hold: 20s}
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/32]}
  - {id: cdg, servers: 2, egress: [198.51.100.1/32]}
  - {id: nrt, servers: 2, egress: [198.51.100.2/32]}
population: {users: 20000, ases: 3000}
workload: [{id: web, from: population, to: internet, rate: 0.02, holding: "exponential(mean=5s)", for: 2m}]
`

var datacenters = []string{"lhr", "cdg", "nrt"}

// resolve makes the scenario of a point.
func resolve(t *testing.T, s *spec.Study) models.Resolve {
	t.Helper()
	doc, err := load.Bytes("small.yaml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	return func(p study.Point, more ...spec.Setting) (*spec.Scenario, error) {
		var sets []spec.Setting
		for _, x := range append(p.Settings(s), more...) {
			if !strings.HasPrefix(x.Path, "internet.") {
				sets = append(sets, x)
			}
		}
		return doc.Resolve(p.Variant(s), sets)
	}
}

// asked is a study over the small scenario at a level, its defaults filled.
func asked(t *testing.T, level, more string) *spec.Study {
	t.Helper()
	text := "version: 1\nname: asked\nscenario: small\nlevel: " + level + "\ninternet: {ases: 3000, ensemble: 3}\n" + more
	s, err := load.StudyBytes("asked.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.Spec
}

// outcome runs one replica.
func outcome(t *testing.T, m study.Maker, p study.Point, r study.Replica) *study.Outcome {
	t.Helper()
	model, err := m.Model(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	o, err := model.Run(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// makers are all models of a small scenario.
func makers(t *testing.T) map[string]study.Maker {
	c, v, f := asked(t, "catchment", ""), asked(t, "convergence", ""), asked(t, "flows", "failures: {of: [cdg]}")
	return map[string]study.Maker{
		"catchment":   &models.Catchment{Study: c, Resolve: resolve(t, c), Datacenters: datacenters},
		"convergence": &models.Convergence{Study: v, Resolve: resolve(t, v)},
		"flows":       &models.Flows{Study: f, Resolve: resolve(t, f), Datacenters: datacenters, Landing: true},
	}
}

// TestReplicasAreWhatTheyAre: the same replica gives the same outcome, another seed or
// graph another, every measure is one that the maker lists, and there are limits.
func TestReplicasAreWhatTheyAre(t *testing.T) {
	for name, m := range makers(t) {
		p := study.Point{Case: spec.Base, Down: []string{"cdg"}}
		text := func(r study.Replica) []byte {
			b, err := json.Marshal(outcome(t, m, p, r))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		first := text(study.Replica{})
		if !bytes.Equal(first, text(study.Replica{})) {
			t.Errorf("%s: the same replica gives another outcome", name)
		}
		// In a graph this small two guesses may come to the same.
		if bytes.Equal(first, text(study.Replica{Seed: 1})) && bytes.Equal(first, text(study.Replica{Seed: 2})) && bytes.Equal(first, text(study.Replica{Seed: 3})) {
			t.Errorf("%s: four seeds are one", name)
		}
		if bytes.Equal(first, text(study.Replica{Topology: 1})) {
			t.Errorf("%s: another graph is the first one", name)
		}
		listed := map[string]bool{}
		for _, x := range m.Measures() {
			listed[x.Name] = true
		}
		for x := range outcome(t, m, p, study.Replica{}).Measures {
			if !listed[x] {
				t.Errorf("%s: measure %s is not listed", name, x)
			}
		}
		if len(m.Limits()) == 0 {
			t.Errorf("%s: no limits", name)
		}
	}
}

// TestCommonChance: where datacenters fail, what does not depend on them is as it was:
// users land as before, but those of who failed, and those go somewhere.
func TestCommonChance(t *testing.T) {
	for _, name := range []string{"catchment", "flows"} {
		m := makers(t)[name]
		before := outcome(t, m, study.Point{Case: spec.Base}, study.Replica{}).Measures
		after := outcome(t, m, study.Point{Case: spec.Base, Down: []string{"cdg"}}, study.Replica{}).Measures
		if after["landing.cdg"] != 0 || after["moved"] == 0 || math.Abs(after["moved"]-before["landing.cdg"]) > 1e-9 {
			t.Errorf("%s: %v land in Paris that is down, %v moved, %v were there", name, after["landing.cdg"], after["moved"], before["landing.cdg"])
		}
		for _, id := range []string{"lhr", "nrt"} {
			if after["landing."+id] < before["landing."+id]-1e-9 {
				t.Errorf("%s: fewer land at %s: %v after %v", name, id, after["landing."+id], before["landing."+id])
			}
		}
		if before["moved"] != 0 {
			t.Errorf("%s: %v moved while nothing is down", name, before["moved"])
		}
	}
}

// TestConvergenceTakesAsLongAsItsTimer: announcements wait for MRAI and become fewer
// by it, withdrawals do not wait (RFC 4271 9.2.1.1); a prefix that nobody else
// announces is hunted for, and anycast is found at once.
func TestConvergenceTakesAsLongAsItsTimer(t *testing.T) {
	run := func(more string) map[string]float64 {
		s := asked(t, "convergence", "set: {"+more+"}")
		return outcome(t, &models.Convergence{Study: s, Resolve: resolve(t, s)}, study.Point{Case: spec.Base, Down: []string{"nrt"}}, study.Replica{}).Measures
	}
	anycast := run("internet.mrai: 30s")
	fast, slow := run("internet.mrai: 0s, internet.announcers: nrt"), run("internet.mrai: 30s, internet.announcers: nrt")
	if !(fast["announce_s"] < 5 && slow["announce_s"] > 20 && fast["return_s"] < 5 && slow["return_s"] > 20 && slow["messages"] < fast["messages"]) {
		t.Errorf("without MRAI %v, with 30 s %v: want it slower and with fewer messages", fast, slow)
	}
	if !(anycast["fail_s"] < slow["fail_s"] && anycast["changed"] < 1 && slow["changed"] == 1 && anycast["hunting"] < slow["hunting"]) {
		t.Errorf("an address of Tokyo's own: %v s and %v of users changed; anycast %v s and %v", slow["fail_s"], slow["changed"], anycast["fail_s"], anycast["changed"])
	}
}

// TestSplittingInAStudy: a study file that asks for splitting finds a blocking that
// its runs never see, with an interval, as Erlang's formula has it; and counted as
// they are, the same runs refuse to give one.
func TestSplittingInAStudy(t *testing.T) {
	for _, rare := range []string{"", "rare: splitting\n"} {
		s := asked(t, "flows", rare+"set: {bounds.slice: 64, population.users: 1000, workload.web.popularity: \"zipf(0, 4)\"}\nreplicas: 12\nmeasures: [refusals, erlang]\n")
		r := &study.Runner{
			Study: s, Datacenters: datacenters, Scenario: "small", Version: "test",
			Maker: &models.Flows{Study: s, Resolve: resolve(t, s), Datacenters: datacenters, Landing: true},
		}
		r.Sweep = sweep.Local{Workers: 2, Do: func(ctx context.Context, body []byte) []byte { return study.Do(ctx, r.Maker, body) }}
		report, err := r.Run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		got, _ := report.Points[0].Estimate("refusals")
		want, _ := report.Points[0].Estimate("erlang")
		t.Logf("%q: %+v, by formula %v", rare, got, want.Mean)
		switch {
		case want.Mean < 1e-12 || want.Mean > 1e-5:
			t.Fatalf("Erlang's formula says %v: the test wants something rare", want.Mean)
		case rare == "" && (got.Refused == "" || got.Mean != 0):
			t.Errorf("a run saw %+v", got)
		case rare != "" && (got.Half == nil || math.Abs(got.Mean-want.Mean) > 3**got.Half+want.Mean/2):
			t.Errorf("%+v by splitting, %v by formula", got, want.Mean)
		}
	}
}

// TestModelsRefuse: a datacenter that is not there, one that is nowhere, and numbers
// of networks that are none.
func TestModelsRefuse(t *testing.T) {
	all := makers(t)
	for name, p := range map[string]study.Point{
		"catchment":   {Case: spec.Base, Down: []string{"sfo"}},
		"convergence": {Case: spec.Base, Also: []spec.Setting{{Path: "internet.ases", Value: "many"}}},
	} {
		if _, err := all[name].Model(context.Background(), p); err == nil {
			t.Errorf("%s: %+v was taken", name, p)
		}
	}
}
