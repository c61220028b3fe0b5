package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/reports/check"
	"github.com/homeward-lab/homeward/sim/swarm"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

type swarmFlags struct {
	last time.Duration
	runs int
	seed uint64
	out  string
	file string
}

func newSwarm() *cobra.Command {
	var f swarmFlags
	c := &cobra.Command{
		Use: "swarm", Short: "Simulate networks drawn from seeds, and check what must always hold", GroupID: "run", Args: cobra.NoArgs,
		Long: `Swarm draws a network, its traffic and what goes wrong in it from a seed, runs it
in virtual time, checks what must always hold after every decision of every
server, and goes on with the next seed: a reply reaches who asked or is dropped
with a reason, no port is used by two, tenants never mix, every session has one
start and one end, counters add up, nothing from outside is trusted.

At the first failure it prints the command that finds it again, drops all that
the failure does not need, and writes what is left: a scenario file, and beside
it a file for --case.

Exit codes: 0 all held, 1 something did not, 2 bad usage or file, 130 interrupted.`,
		Example: `  homeward swarm --for 60s
  homeward swarm --seed 4711 --runs 1                # one case again
  homeward swarm --case out/swarm/swarm-4711.json    # what was left of it, edited or not`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("runs") && !cmd.Flags().Changed("for") {
				f.last = 0
			}
			return runSwarm(cmd, f)
		},
	}
	fl := c.Flags()
	fl.DurationVar(&f.last, "for", time.Minute, "how long, in real time; with --runs alone: until they are done")
	fl.IntVar(&f.runs, "runs", 0, "how many seeds at most; 0 is no bound")
	fl.Uint64Var(&f.seed, "seed", 1, "the first seed")
	fl.StringVarP(&f.out, "out", "o", filepath.Join("out", "swarm"), "directory for a case that fails")
	fl.StringVar(&f.file, "case", "", "run this case that failed before")
	_ = c.MarkFlagDirname("out")
	_ = c.MarkFlagFilename("case", "json")
	return c
}

// plainPlan reads a scenario that a program made as any other.
func plainPlan(name string, text []byte) (*plan.Plan, error) {
	d, err := load.Bytes(name, text)
	if err != nil {
		return nil, err
	}
	s, err := d.Resolve(spec.Base, nil)
	if err != nil {
		return nil, err
	}
	return plan.Compile(s)
}

func runSwarm(cmd *cobra.Command, f swarmFlags) error {
	if f.runs < 0 || f.last < 0 {
		return usagef("--runs and --for must not be negative")
	}
	o, out := swarm.Options{Load: plainPlan}, cmd.OutOrStdout()
	if f.file != "" {
		return runCase(out, f.file, o)
	}
	begin(cmd.Context())
	ctx := cmd.Context()
	if f.last > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, f.last)
		defer stop()
	}
	show, start := newScreen(cmd.ErrOrStderr()), time.Now()
	tally, failure := swarm.Many(ctx, f.seed, f.runs, o, func(t swarm.Tally) {
		show.progress("swarm", fmt.Sprintf("seed %d, %s", t.Seed, rates(t, time.Since(start))), t.Runs, max(f.runs, t.Runs+1))
	})
	show.clear()
	if failure == nil {
		if err := cmd.Context().Err(); err != nil {
			fmt.Fprintf(out, "interrupted after %s; all held\n", rates(tally, time.Since(start)))
			return context.Cause(cmd.Context())
		}
		fmt.Fprintf(out, "all held: %s, seeds %d to %d\n", rates(tally, time.Since(start)), f.seed, tally.Seed)
		return nil
	}
	return failed(cmd.Context(), out, f.out, failure, o)
}

func rates(t swarm.Tally, wall time.Duration) string {
	return fmt.Sprintf("%d runs, %d flows, %d sessions, %.0f events/s", t.Runs, t.Flows, t.Sessions, float64(t.Events)/max(wall.Seconds(), 1e-9))
}

// shrinking is how long a failing case may take to become small.
const shrinking = 30 * time.Second

// failed says what did not hold, and writes the least that shows it.
func failed(ctx context.Context, out io.Writer, dir string, f *swarm.Failure, o swarm.Options) error {
	fmt.Fprintf(out, "FAIL seed %d: %v\nreproduce: %s\n", f.Case.Seed, f.Violation, swarm.Command(f.Case.Seed))
	ctx, stop := context.WithTimeout(ctx, shrinking)
	defer stop()
	less, v := swarm.Shrink(ctx, f.Case, f.Violation, o)
	path, err := swarm.Write(dir, less, v)
	if err != nil {
		return judgeless(fmt.Errorf("write the case: %w", err))
	}
	fmt.Fprintf(out, "shrunk to %s: %v\n%s\n", strings.TrimSuffix(path, ".json")+".yaml", v, "again: homeward swarm --case "+path)
	return &exit{check.ExitFail, nil}
}

func runCase(out io.Writer, path string, o swarm.Options) error {
	c, err := swarm.Read(path)
	if err != nil {
		return usage(err)
	}
	r, v := swarm.Run(c, o)
	switch {
	case v == nil:
		fmt.Fprintf(out, "held: %d flows, %d sessions, %d events\n", r.Flows, r.Sessions, r.Events)
		return nil
	case v.Rule == swarm.RuleLoad:
		return usage(errors.New(v.Text))
	}
	fmt.Fprintf(out, "FAIL %v\n", v)
	return &exit{check.ExitFail, nil}
}
