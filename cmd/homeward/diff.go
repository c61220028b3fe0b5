package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/reports/check"
	"github.com/homeward-lab/homeward/reports/compare"
	"github.com/homeward-lab/homeward/reports/record"
	simrun "github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/topologies/plan"
)

func newDiff() *cobra.Command {
	var asJSON bool
	var again resimulation
	c := &cobra.Command{
		Use: "diff DIR [OTHER]", Short: "Say on what two results disagree: versions, seeds, machines, engines", GroupID: "run", Args: cobra.RangeArgs(1, 2),
		Long: `Diff compares results flow by flow: result, on-ramp, way back, datacenters, home
server, egress address and slice; and of each traffic the median round trip
(within the greater of 200 µs and 5 %) and completion time (within 10 %).
Where no link has a delay or a rate, times are not compared, and it says so.

What made the two results is told too where it differs: seed, versions, kernel.

With one directory it compares the engines in it, with two the runs of one
scenario and variant in both. It exits with 0 if they agree, 1 if not, and 5 if
that cannot be judged: times, why packets were dropped, and flows that may only have
come too late are not, where a lab's own measurements say that its machine had no time
for it; nor are flows that look alike and start at one moment, where they came in
another order.

A lab and the simulator are compared as run --on both does it: where they differ in
what hangs on moments that no plan says, the simulator runs some more times, if the
scenario is a shipped one or --scenario and --set name what was run. Otherwise the
two runs alone are compared, and it says so.`,
		Example: `  homeward diff out/before out/after
  homeward diff out/both                    what the simulator and the lab disagree on
  homeward diff --json out/before out/after | jq .`,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := differences(args, again.judge(cmd.Context()))
			if err != nil {
				return usage(err)
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				if err := enc.Encode(all); err != nil {
					return err
				}
			} else {
				tellDifferences(cmd.OutOrStdout(), all)
			}
			unjudged := false
			for _, r := range all {
				switch r.Verdict() {
				case record.Fail:
					return &exit{check.ExitFail, nil}
				case record.Error:
					unjudged = true
				}
			}
			if unjudged {
				return &exit{check.ExitError, nil}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "everything, as JSON")
	c.Flags().StringVar(&again.file, "scenario", "", "the file that was run, where it is no shipped one")
	c.Flags().StringArrayVar(&again.sets, "set", nil, "what the command line had changed of it, as for run")
	return c
}

// resimulation is what is needed to simulate again what results are of.
type resimulation struct {
	file string
	sets []string
}

// judge compares a simulation with a lab's run as run --on both does, and any other
// two runs as they are.
func (a *resimulation) judge(ctx context.Context) compare.Judge {
	return func(x, y *record.Records) (*compare.Result, error) {
		sim, lab := x, y
		if y.Run.Engine == simrun.Engine {
			sim, lab = y, x
		}
		r, err := compare.Runs(x, y)
		if err != nil || !r.Apart() && !r.Momentary() || sim.Run.Engine != simrun.Engine || lab.Run.Engine == simrun.Engine {
			return r, err
		}
		p, err := a.plan(ctx, &sim.Run, &lab.Run)
		if err != nil {
			r.Note = "of these two runs alone: " + err.Error()
			return r, nil
		}
		if r, err = agree(ctx, new(chanced), p, sim, lab); err == nil && sim == y {
			r.Swap()
		}
		return r, err
	}
}

// plan is what was simulated and run in the lab. The error says why it is not known.
func (a *resimulation) plan(ctx context.Context, sim, lab *record.Run) (*plan.Plan, error) {
	doc, err := open(cmp.Or(a.file, lab.Scenario))
	if err != nil {
		return nil, fmt.Errorf("no scenario to simulate again, want --scenario: %w", err)
	}
	c, err := parseChanges(a.sets, lab.Seed, []string{lab.Variant})
	if err != nil {
		return nil, err
	}
	vs, err := prepare(doc, c)
	if err != nil {
		return nil, err
	}
	p := vs[0].plan
	if p.Fingerprint() != lab.Fingerprint {
		return nil, fmt.Errorf("%s is not the plan that the lab ran: want --scenario and --set as they were", lab.Scenario)
	}
	again, err := resimulated(ctx, p, simrun.Options{})
	if err != nil {
		return nil, err
	}
	if again.Run.Fingerprint != sim.Fingerprint {
		return nil, fmt.Errorf("this version simulates %s in another way than the one that did", lab.Scenario)
	}
	return p, nil
}

func differences(dirs []string, judge compare.Judge) ([]*compare.Result, error) {
	a, err := record.Read(dirs[0])
	if err != nil {
		return nil, err
	}
	if len(dirs) == 1 {
		return compare.Engines(a, judge)
	}
	b, err := record.Read(dirs[1])
	if err != nil {
		return nil, err
	}
	return compare.Results(a, b, judge)
}

// tellDifferences is the comparison for people.
func tellDifferences(w io.Writer, all []*compare.Result) {
	for _, r := range all {
		what := r.A + " and " + r.B
		switch {
		case r.B == "" || r.A == "":
			fmt.Fprintf(w, "%s%s is in one of them alone\n", r.A, r.B)
			continue
		case r.A == r.B:
			what = r.A
		}
		switch r.Verdict() {
		case record.Pass:
			fmt.Fprintf(w, "%s: agree on %d flows\n", what, r.Flows)
		case record.Error:
			fmt.Fprintf(w, "%s: cannot be judged: %s in %d flows\n", what, count(len(r.Unjudged), "difference"), r.Flows)
		default:
			fmt.Fprintf(w, "%s: %s in %d flows\n", what, count(len(r.Differences), "difference"), r.Flows)
		}
		for i := range r.Made {
			fmt.Fprintf(w, "  made with %s\n", &r.Made[i])
		}
		all := slices.Concat(r.Differences, r.Unjudged)
		for i := range all {
			d := &all[i]
			fmt.Fprintf(w, "  %s\n", d)
			if d.Parted != [2]string{} && (i == 0 || all[i-1].Flow != d.Flow) {
				fmt.Fprintf(w, "    parted at: %s\n           or: %s\n", d.Parted[0], d.Parted[1])
			}
		}
		if r.Note != "" {
			fmt.Fprintf(w, "  %s\n", r.Note)
		}
		for _, u := range r.Untimed {
			fmt.Fprintf(w, "  times of %s: not compared\n", u)
		}
	}
}
