package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/reports/fixture"
	"github.com/homeward-lab/homeward/reports/record"
	simrun "github.com/homeward-lab/homeward/sim/run"
)

// TestDiff: equal results agree; one flow on another server is told, with its
// exit code; what is no result is a mistake.
func TestDiff(t *testing.T) {
	a, b := fixture.Write(t), fixture.Write(t)
	call := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := Main(append([]string{"diff"}, args...), &out, &errs)
		return code, out.String(), errs.String()
	}
	if code, out, errs := call(a, b); code != 0 || !strings.Contains(out, "overlapping_branches/base on emu-hub: agree on ") {
		t.Errorf("equal: %d\n%s%s", code, out, errs)
	}
	file := filepath.Join(b, fixture.Scenario, "base", fixture.Engine, "flows.jsonl")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), `"home_server":"lhr.1"`, `"home_server":"lhr.2"`, 1)
	if changed == string(text) {
		t.Fatal("no flow is at home on lhr.1")
	}
	if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := call(a, b); code != 1 || !strings.Contains(out, "home_server: lhr.1 and lhr.2") || !strings.Contains(out, "1 difference in") {
		t.Errorf("one flow on another server: %d\n%s", code, out)
	}
	manifest := filepath.Join(b, fixture.Scenario, "base", fixture.Engine, "run.json")
	text, err = os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(manifest, regexp.MustCompile(`"seed": *[0-9]+`).ReplaceAll(text, []byte(`"seed": 12345`)), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := call(a, b); code != 1 || !regexp.MustCompile(`made with seed: [0-9]+ and 12345\n`).MatchString(out) {
		t.Errorf("another seed: %d\n%s", code, out)
	}
	if code, out, _ := call("--json", a, b); code != 1 || !strings.Contains(out, `"what": "home_server"`) {
		t.Errorf("as JSON: %d\n%s", code, out)
	}
	if code, _, errs := call(a); code != 2 || !strings.Contains(errs, "no variant was run on two engines") {
		t.Errorf("one engine: %d %s", code, errs)
	}
	if code, _, errs := call(t.TempDir()); code != 2 || !strings.Contains(errs, "no results here") {
		t.Errorf("nothing: %d %s", code, errs)
	}
}

// TestDiffSimulatesAgain: a lab and a simulation of a scenario that is at hand are
// compared as run --on both does it, whichever is named first; otherwise it is said
// why the two runs alone were.
func TestDiffSimulatesAgain(t *testing.T) {
	vs, err := prepareAll([]string{"private_datacenter"}, runFlags{variants: []string{"preserve"}})
	if err != nil {
		t.Fatal(err)
	}
	p := vs[0].plan
	run := func(o simrun.Options) *record.Records {
		r, err := resimulated(t.Context(), p, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	late := make([]time.Duration, len(p.Flows)) // the last of equal flows comes first
	for i := range late {
		late[i] = time.Duration(len(late)-i) * 20 * time.Microsecond
	}
	sim, lab := run(simrun.Options{}), run(simrun.Options{Late: simrun.Late{Flows: late}})
	lab.Run.Engine, lab.Run.Fingerprint = "emu-hub", p.Fingerprint()
	for _, tt := range []struct {
		name   string
		again  resimulation
		change func(sim, lab *record.Run)
		note   string
		want   record.Verdict
	}{
		{"shipped", resimulation{}, nil, "in the order in which the lab's came", record.Pass},
		{"another plan", resimulation{sets: []string{"laptop.count=3"}}, nil, "these two runs alone", record.Error},
		{"another seed", resimulation{}, func(_, lab *record.Run) { lab.Seed++ }, "is not the plan that the lab ran", record.Error},
		{"another version", resimulation{}, func(sim, _ *record.Run) { sim.Fingerprint = "1" }, "in another way", record.Error},
		{"a file of one's own", resimulation{}, func(_, lab *record.Run) { lab.Scenario = "mine" }, "want --scenario", record.Error},
	} {
		a, b := *sim, *lab
		if tt.change != nil {
			tt.change(&a.Run, &b.Run)
		}
		a.Run.Scenario = b.Run.Scenario
		judge := tt.again.judge(t.Context())
		for _, pair := range [][2]*record.Records{{&a, &b}, {&b, &a}} {
			r, err := judge(pair[0], pair[1])
			if err != nil || r.Verdict() != tt.want || !strings.Contains(r.Note, tt.note) {
				t.Errorf("%s: %v, %+v; want %s and %q", tt.name, err, r, tt.want, tt.note)
				continue
			}
			if want := "on " + pair[0].Run.Engine; !strings.HasSuffix(r.A, want) {
				t.Errorf("%s: %q is first, want it %s", tt.name, r.A, want)
			}
		}
	}
}
