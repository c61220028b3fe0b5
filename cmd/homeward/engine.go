package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/reports/record"
	simrun "github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// stageFlows is the stage of progress in which traffic runs, of every engine.
const stageFlows = simrun.StageFlows

// engine is one way to run a plan.
type engine struct {
	name string
	// lab says that it builds a real network, which a machine may not be able to.
	lab bool
	// dataplane is what a lab's servers are; empty of other engines.
	dataplane string
	// best says that nobody named it: it is the best lab here, unless the plan
	// names another.
	best bool
	// refused are the words of a plan that it cannot do.
	refused func(*plan.Plan) []plan.Feature
	// possible says what this machine lacks.
	possible func(*plan.Plan) error
	// missing says which of a scenario's needs this machine lacks; empty if none.
	missing func(needs []string) string
	// run has a lab take turns with others by turn, if that is not nil.
	run func(ctx context.Context, s *session, v *variant, dir string, turn turnFunc, sink record.Sink) error
}

// simulator runs in virtual time, on any machine: a scenario's needs are what a
// lab wants of a kernel.
func simulator() engine {
	return engine{
		name: simrun.Engine, refused: simrun.Refused,
		possible: func(*plan.Plan) error { return nil },
		missing:  func([]string) string { return "" },
		run: func(ctx context.Context, _ *session, v *variant, _ string, _ turnFunc, sink record.Sink) error {
			return simrun.Run(ctx, v.plan, sink, simrun.Options{Versions: versions()})
		},
	}
}

// onWords are what --on takes.
var onWords = []string{"emu", "emu-hub", "emu-ebpf", "emu-nftables", "sim", "both"}

// enginesFor turns --on into the engines that it means here, for --io.
func enginesFor(on, io string) ([]engine, error) {
	if !slices.Contains(onWords, on) {
		return nil, usagef("--on %s: want %s", on, strings.Join(onWords, ", "))
	}
	if on == "sim" {
		return []engine{simulator()}, nil
	}
	if e, ok := namedLab(on); ok {
		return []engine{e}, nil
	}
	labs := labEngines(io)
	switch {
	case labs == nil:
		return nil, lackingf("--on %s: a lab needs Linux; --on sim runs the same scenario here, in virtual time", on)
	case on == "both":
		return append([]engine{simulator()}, labs...), nil
	}
	labs[0].best = true
	return labs[:1], nil
}

// of is the engine for a plan: where it may choose, the file's dataplane.
func (e engine) of(p *plan.Plan) engine {
	if named, ok := namedLab("emu-" + p.Dataplane); ok && e.best {
		return named
	}
	return e
}

// lab says whether one of the engines is a lab.
func lab(engines []engine) bool {
	for _, e := range engines {
		if e.lab {
			return true
		}
	}
	return false
}

// ready refuses what the engines cannot do, before anything starts: words of the
// files, and what this machine lacks. done says that the command has been run by
// another process, and err is how it ended then.
func ready(cmd *cobra.Command, engines []engine, variants []*variant) (done bool, err error) {
	for _, e := range engines {
		if err := refuse(variants, e); err != nil {
			return false, err
		}
	}
	if !lab(engines) {
		return false, nil
	}
	if done, err := rootless(cmd); done {
		return true, err
	}
	for _, e := range engines {
		for _, v := range variants {
			if err := e.of(v.plan).possible(v.plan); err != nil {
				return false, lacking(err)
			}
		}
	}
	return false, nil
}

// without says why no engine with packets has a word of the flow level.
func without(word string) string {
	why := ""
	switch word {
	case "bounds.slice", "bounds.design":
		why = "servers have slices of 2048 ports, and others are a question"
	case "workload.retries":
		why = "a plan fixes each flow's source port and start, and who is refused ends with that"
	case "workload.close":
		why = "whoever asks holds the flow open, and closes it"
	case "population":
		why = "its users have no hosts"
	default:
		return ""
	}
	return ": " + why + "; the flow level plays it, homeward study with level: flows"
}

// refuse names every word of the files that the engine cannot do: before
// anything starts, never ignored.
func refuse(variants []*variant, e engine) error {
	var lacks []error
	said := map[string]bool{}
	for _, v := range variants {
		for _, feature := range e.refused(v.plan) {
			m := v.doc.MistakeIn(v.spec, feature.Path, fmt.Sprintf("%s: the engine %s of this version cannot do this%s", feature.Word, e.name, without(feature.Word)))
			if !said[m.Error()] {
				said[m.Error()] = true
				lacks = append(lacks, m)
			}
		}
	}
	if len(lacks) > 0 {
		return lacking(errors.Join(lacks...))
	}
	return nil
}
