package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
	simrun "github.com/homeward-lab/homeward/sim/run"
)

// busyLab is a lab that is a simulation, each try of which does something else to what
// is recorded, on a machine that had no time for it.
func busyLab(tries ...func(*record.Records)) engine {
	n := 0
	return engine{name: "emu-hub", lab: true, missing: func([]string) string { return "" }, run: func(ctx context.Context, _ *session, v *variant, _ string, _ turnFunc, sink record.Sink) error {
		var m record.Memory
		if err := simrun.Run(ctx, v.plan, &m, simrun.Options{}); err != nil {
			return err
		}
		r := m.Records()
		r.Run.Metrics.Waited = 0.9
		tries[n](r)
		n++
		for _, f := range r.Flows {
			sink.Flow(f)
		}
		sink.Run(r.Run)
		return nil
	}}
}

// slow makes the round trips of a traffic longer than they may be.
func slow(traffic string) func(*record.Records) {
	return func(r *record.Records) {
		for i := range r.Flows {
			if f := &r.Flows[i]; f.Traffic == traffic {
				f.RTTNs += int64(10 * time.Millisecond)
			}
		}
	}
}

// besideSimulator is a command that runs one variant, without checks of its own, on the
// simulator and a lab.
func besideSimulator(t *testing.T, tries int, lab engine) *session {
	t.Helper()
	s := besideSimulatorOf(t, "narrow_path", tries, lab)
	s.variants[0].checks = nil
	return s
}

// besideSimulatorOf is one that runs a scenario's base, with its checks.
func besideSimulatorOf(t *testing.T, scenario string, tries int, lab engine) *session {
	t.Helper()
	vs, err := prepareAll([]string{scenario}, runFlags{variants: []string{"base"}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := record.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return &session{
		flags: runFlags{tries: tries, jobs: 1, timeout: time.Minute}, engines: []engine{simulator(), lab}, out: out,
		screen: newScreen(io.Discard), variants: vs, runs: make([]*finished, 2), judged: make([]judgement, 2),
	}
}

// labJudged runs a command, which is to judge its lab so, by so many tries.
func labJudged(t *testing.T, s *session, want record.Verdict, tries int) {
	t.Helper()
	s.runAll(t.Context())
	all, err := s.judge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if lab := all[1]; lab.Verdict != want || lab.Tries != tries {
		t.Errorf("%s by %d tries, want %s by %d: %v", lab.Verdict, lab.Tries, want, tries, lab.Checks)
	}
}

// What one try of a lab could not judge another may; what none can cannot be judged, and
// what differs in one differs. The last try is what is recorded.
func TestTries(t *testing.T) {
	elsewhere := func(r *record.Records) { r.Flows[0].HomeServer = "lhr.9" }
	for _, tt := range []struct {
		name  string
		tries []func(*record.Records)
		want  record.Verdict
		took  int
	}{
		{"each something else", []func(*record.Records){slow("roam"), slow("down")}, record.Pass, 2},
		{"the same each time", []func(*record.Records){slow("roam"), slow("roam"), slow("roam")}, record.Error, 3},
		{"another server", []func(*record.Records){slow("roam"), elsewhere}, record.Fail, 2},
		{"at once", []func(*record.Records){func(*record.Records) {}}, record.Pass, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := besideSimulator(t, 3, busyLab(tt.tries...))
			labJudged(t, s, tt.want, tt.took)
			read, err := record.ReadRun(filepath.Join(s.out.Dir(), "narrow_path", "base", "emu-hub"))
			if err != nil || read.Run.Partial || len(read.Flows) != len(s.runs[1].records.Flows) || read.Flows[0] != s.runs[1].records.Flows[0] {
				t.Errorf("recorded is not the last try: %v", err)
			}
			if left, err := filepath.Glob(filepath.Join(s.out.Dir(), ".again*")); err != nil || len(left) > 0 {
				t.Errorf("%v is left", left)
			}
		})
	}
}

// A lab whose other try fails is judged by what there was before, and that is kept.
func TestTryFails(t *testing.T) {
	lab := busyLab(slow("roam"))
	first := lab.run
	lab.run = func(ctx context.Context, s *session, v *variant, dir string, turn turnFunc, sink record.Sink) error {
		if s.runs[1] != nil {
			return os.ErrDeadlineExceeded
		}
		return first(ctx, s, v, dir, turn, sink)
	}
	s := besideSimulator(t, 2, lab)
	s.runAll(t.Context())
	all, err := s.judge(t.Context())
	if err != nil || all[1].Verdict != record.Error || all[1].Reason != "" || all[1].Tries != 0 {
		t.Errorf("%+v, %v, want that it cannot be judged by its only try", all[1], err)
	}
	if read, err := record.ReadRun(filepath.Join(s.out.Dir(), "narrow_path", "base", "emu-hub")); err != nil || read.Run.Partial {
		t.Errorf("the first try is lost: %v", err)
	}
}

// A check of times that falls short on a busy machine is asked again, and falls short if
// it does so each time; one of anything else, or on a machine that had time, at once.
func TestTriesOfTimes(t *testing.T) {
	long := func(r *record.Records) {
		r.Flows[len(r.Flows)-1].EndNs += int64(10 * time.Second)
	}
	for _, tt := range []struct {
		name  string
		tries []func(*record.Records)
		want  record.Verdict
		took  int
	}{
		{"once", []func(*record.Records){long, func(*record.Records) {}}, record.Pass, 2},
		{"each time", []func(*record.Records){long, long, long}, record.Fail, 3},
		{"with something else", []func(*record.Records){func(r *record.Records) { long(r); r.Flows[0].Result = record.Lost }}, record.Fail, 0},
		{"on a machine that had time", []func(*record.Records){func(r *record.Records) { long(r); r.Run.Metrics.Waited = 0 }}, record.Fail, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := besideSimulatorOf(t, "marked_path", 3, busyLab(tt.tries...))
			labJudged(t, s, tt.want, tt.took)
		})
	}
}

// Later tries wait for the machine to get over what kept it busy, each longer than the one
// before; one that is interrupted does not.
func TestTriesPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var began []time.Time
		lab := busyLab(slices.Repeat([]func(*record.Records){slow("roam")}, 6)...)
		first := lab.run
		lab.run = func(ctx context.Context, s *session, v *variant, dir string, turn turnFunc, sink record.Sink) error {
			began = append(began, time.Now())
			return first(ctx, s, v, dir, turn, sink)
		}
		labJudged(t, besideSimulator(t, 6, lab), record.Error, 6)
		for i, want := range []time.Duration{0, 0, 4 * time.Second, 8 * time.Second, 16 * time.Second} {
			if waited := began[i+1].Sub(began[i]); waited != want {
				t.Errorf("try %d waits %v, want %v", i+2, waited, want)
			}
		}

		ended, end := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, end)
		from := time.Now()
		(&session{screen: newScreen(io.Discard)}).pause(ended, time.Minute)
		if waited := time.Since(from); waited != 3*time.Second {
			t.Errorf("an interrupted command waits %v", waited)
		}
	})
}
