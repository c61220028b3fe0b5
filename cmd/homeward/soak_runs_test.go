//go:build linux

package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// labRun is one lab of a shipped scenario.
type labRun struct{ scenario, variant, engine string }

func (r labRun) compare(o labRun) int {
	return cmp.Or(cmp.Compare(r.scenario, o.scenario), cmp.Compare(r.variant, o.variant), cmp.Compare(r.engine, o.engine))
}

// labRuns are the variants of all shipped scenarios that a lab can be of, each time
// round on the other of both dataplanes.
func labRuns(t *testing.T) func(i int) labRun {
	t.Helper()
	var all []labRun
	for _, name := range soaked(t) {
		v, _, err := oneVariant(name, spec.Base, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(ebpfEngine().refused(v.plan)) > 0 {
			continue // of the flow level alone
		}
		variants, err := selected(v.doc, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, variant := range variants {
			all = append(all, labRun{scenario: name, variant: variant})
		}
	}
	if len(all) == 0 {
		t.Fatal("no scenario for a lab")
	}
	return func(i int) labRun {
		r := all[i%len(all)]
		r.engine = []string{"emu-ebpf", "emu-hub"}[(i+i/len(all))%2]
		return r
	}
}

// Every scenario that is shipped keeps its promises however often it is run: a
// check that falls short once in two hundred is a mistake of somebody's. What could
// not be judged, because the machine had no time for a lab by its own measure, is no
// failure; it is asked again, and has to be judged in the end.
func TestSoakNoFalseFailure(t *testing.T) {
	need.BPF(t)
	before := machine(t)
	at := labRuns(t)
	verdicts := map[record.Verdict]int{}
	repeat(t, runsEnv, 1, 200, func(i int, _ *rand.Rand) string {
		r := at(i)
		var unjudged []string
		for range 5 {
			verdict, reason := r.once(t)
			verdicts[verdict]++
			switch verdict {
			case record.Pass:
				return strings.Join(append([]string{fmt.Sprintf("%s/%s on %s passed", r.scenario, r.variant, r.engine)}, unjudged...), "; could not be judged before: ")
			case record.Error:
				unjudged = append(unjudged, reason)
			default:
				t.Errorf("%d, %s/%s on %s: %s %s", i, r.scenario, r.variant, r.engine, verdict, reason)
				return string(verdict)
			}
		}
		t.Errorf("%d, %s/%s on %s was not judged:\n%s", i, r.scenario, r.variant, r.engine, strings.Join(unjudged, "\n"))
		return "not judged"
	})
	t.Logf("labs by verdict: %v", verdicts)
	clean(t, before)
}

// once is the verdict of one lab, and what led to it. Results that did not pass
// are kept for a look.
func (r labRun) once(t *testing.T) (verdict record.Verdict, reason string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "homeward-soak-")
	if err != nil {
		t.Fatal(err)
	}
	out, err := homeward("run", r.scenario, "--variant", r.variant, "--on", r.engine, "--out", dir).CombinedOutput()
	all, unread := readSummaries(dir)
	if unread != nil || len(all) != 1 {
		t.Fatalf("%s/%s on %s: %v, %v\n%s", r.scenario, r.variant, r.engine, err, unread, out)
	}
	reasons := []string{all[0].Reason}
	for _, c := range all[0].Checks {
		if c.Verdict != record.Pass {
			reasons = append(reasons, c.ID+": "+string(c.Verdict)+", "+c.Detail)
		}
	}
	if all[0].Verdict == record.Pass {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		return record.Pass, ""
	}
	return all[0].Verdict, strings.Join(append(reasons, dir), "; ")
}
