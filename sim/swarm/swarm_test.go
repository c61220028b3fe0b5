package swarm_test

import (
	"context"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/sim/swarm"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// short is how many seeds the short form runs, from 0.
const short = 200

// The short form. A failure prints what finds it again.
func TestSeeds(t *testing.T) {
	tally, f := swarm.Many(t.Context(), 0, short, swarm.Options{Load: loadtest.Base}, nil)
	if f != nil {
		t.Fatalf("%v\nreproduce: %s", f.Violation, swarm.Command(f.Case.Seed))
	}
	t.Logf("%+v", tally)
	// A swarm in which nothing happens finds nothing.
	if tally.Answered < tally.Flows/2 || tally.Answered > tally.Flows*99/100 || tally.Sessions < tally.Flows/2 || tally.Marked < 10*short {
		t.Errorf("%+v: want most flows answered, some not, sessions for most, and ten marks a run", tally)
	}
}

func TestSameSeedSameRun(t *testing.T) {
	for seed := range uint64(10) {
		a, b := swarm.Draw(seed), swarm.Draw(seed)
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d: two cases", seed)
		}
		x, _ := swarm.Run(a, swarm.Options{Load: loadtest.Base})
		y, _ := swarm.Run(b, swarm.Options{Load: loadtest.Base})
		if x != y {
			t.Errorf("seed %d: %+v and %+v", seed, x, y)
		}
	}
}

// However many cases run at a time, a swarm is told in the order of its seeds, and
// of what fails the lowest seed.
func TestSameSwarmOnAnyProcessors(t *testing.T) {
	type told struct {
		tallies []swarm.Tally
		last    swarm.Tally
		seed    uint64
	}
	var want told
	for i, processors := range []int{1, 2, 5} {
		var got told
		was := runtime.GOMAXPROCS(processors)
		tally, f := swarm.Many(t.Context(), 3, short, swarm.Options{Load: loadtest.Base, Hub: tupled}, func(s swarm.Tally) { got.tallies = append(got.tallies, s) })
		runtime.GOMAXPROCS(was)
		if f == nil || tally.Runs != len(got.tallies)+1 || tally.Seed != f.Case.Seed {
			t.Fatalf("%d processors: %+v, %d told, %+v; want a failure at the last", processors, tally, len(got.tallies), f)
		}
		if got.last, got.seed = tally, f.Case.Seed; i == 0 {
			want = got
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%d processors: %+v, want %+v", processors, got.last, want.last)
		}
	}
}

// tupled are hubs that leave the scope out of forward keys.
func tupled(_ int, c hub.Config) (run.Hub, error) {
	tuples(&c)
	h, err := hub.New(c)
	return &broken{Hub: h, config: tuples}, err
}

// A case whose mark is lost keeps what marks, and loses the rest.
func TestShrinksMarks(t *testing.T) {
	o := swarm.Options{Load: loadtest.Base, Hub: func(_ int, c hub.Config) (run.Hub, error) {
		h, err := hub.New(c)
		return &broken{Hub: h, ecn: unmarked}, err
	}}
	_, f := swarm.Many(t.Context(), 0, short, o, nil)
	if f == nil {
		t.Fatal("nothing failed")
	}
	c, v := swarm.Shrink(t.Context(), f.Case, f.Violation, o)
	s := c.Scenario
	marking := 0
	for _, x := range s.Links {
		if x.CEThreshold != 0 {
			marking++
		}
	}
	if v.Rule != swarm.RuleMarks || s.TCPECN != spec.ECNRequest || marking != 1 || len(s.Traffic) != 1 || len(c.Steps) != 0 {
		text, _ := swarm.Text(s)
		t.Errorf("%v: want one link that marks and one traffic, got\n%s", v, text)
	}
}

// What is left of a failing case fails by the same rule, is small, and can be
// written, read and run again.
func TestShrinks(t *testing.T) {
	o := swarm.Options{Load: loadtest.Base, Hub: tupled}
	_, f := swarm.Many(t.Context(), 0, short, o, nil)
	if f == nil {
		t.Fatal("nothing failed")
	}
	c, v := swarm.Shrink(t.Context(), f.Case, f.Violation, o)
	if v.Rule != f.Violation.Rule {
		t.Errorf("shrunk to %v, from %v", v, f.Violation)
	}
	s := c.Scenario
	if len(s.Sites) != 2 || len(s.Traffic) != 1 || len(s.Datacenters) != 1 || len(s.Devices)+len(s.Connectors)+len(c.Steps) != 0 {
		text, _ := swarm.Text(s)
		t.Errorf("want two sites and one traffic in one datacenter, got\n%s", text)
	}
	path, err := swarm.Write(t.TempDir(), c, v)
	if err != nil {
		t.Fatal(err)
	}
	again, err := swarm.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, w := swarm.Run(again, o); w == nil || *w != *v {
		t.Errorf("read again it fails with %v, want %v", w, v)
	}
	if _, err := load.File(filepath.Join(filepath.Dir(path), "swarm-"+filepath.Base(path)[6:len(filepath.Base(path))-5]+".yaml")); err != nil {
		t.Errorf("the scenario's file: %v", err)
	}
}

// What has begun when the context ends is told too, and nothing else begins.
func TestManyStopsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	n := 0
	tally, f := swarm.Many(ctx, 5, 0, swarm.Options{Load: loadtest.Base}, func(swarm.Tally) {
		if n++; n == 3 {
			stop()
		}
	})
	if f != nil || tally.Runs < 3 || tally.Runs > 50 || tally.Runs != n || tally.Seed != 5+uint64(n)-1 {
		t.Errorf("%+v, %v, %d told; want three runs, and those that had begun", tally, f, n)
	}
}

// A hub that panics is a violation with its seed, not the end of the swarm.
func TestPanicIsReported(t *testing.T) {
	o := swarm.Options{Load: loadtest.Base, Hub: func(int, hub.Config) (run.Hub, error) { return nil, nil }}
	if _, v := swarm.Run(swarm.Draw(1), o); v == nil || v.Rule != swarm.RulePanic {
		t.Errorf("got %v, want a panic", v)
	}
}
