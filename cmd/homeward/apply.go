//go:build linux

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/topologies/spec"
)

type applyFlags struct {
	variant string
	sets    []string
	dry     bool
}

func newApply() *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use: "apply [LAB] SCENARIO", Short: "Change a running lab to what a file says now", GroupID: "lab", Args: cobra.RangeArgs(1, 2),
		Long: `Apply shows what another file, variant or --set changes, and then gives the lab's
servers their new configuration: policies, routes, ARR, timers, bounds. Links
that can be impaired (homeward impair) do what the file says now. Traffic and
checks are the new file's from then on. Flows that live go on as they were
set up: a flow without ARR does not get it.

What would have to be built anew (sites, links, addresses, tunnels) is refused,
by name, and then nothing is changed: exit code 3.`,
		Example: `  sudo homeward apply overlapping_branches overlapping_branches --variant routes_only
  sudo homeward apply lab my.yaml --dry-run
  sudo homeward apply my.yaml --set shop.1.wan.arr=false     # the only lab that is up`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 {
				scenarios, directive := completeScenarios(0)(cmd, args, typed)
				return append(labCompletions(cmd), scenarios...), directive
			}
			return completeScenarios(0)(cmd, args[1:], typed)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) == 2 {
				name = args[0]
			}
			lab, err := labNamed(cmd, name)
			if err != nil {
				return err
			}
			return applyTo(cmd, lab, args[len(args)-1], f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.variant, "variant", spec.Base, "which variant")
	fl.StringArrayVar(&f.sets, "set", nil, "change the file: SELECTOR=VALUE, may be repeated")
	fl.BoolVar(&f.dry, "dry-run", false, "show the changes and make none")
	_ = c.RegisterFlagCompletionFunc("variant", completeVariants)
	return c
}

func applyTo(cmd *cobra.Command, lab *control.Lab, file string, f applyFlags) error {
	v, scenario, err := oneVariant(file, f.variant, f.sets)
	if err != nil {
		return err
	}
	args := control.ApplyArgs{Plan: v.plan, Scenario: scenario, Dry: true}
	var changes control.Changes
	if err := lab.Get(cmd.Context(), control.DoApply, args, &changes); err != nil {
		return refusal(err)
	}
	printChanges(cmd.OutOrStdout(), &changes)
	switch {
	case len(changes.Refused) > 0:
		for _, r := range changes.Refused {
			fmt.Fprintf(cmd.ErrOrStderr(), "needs a new lab: %s\n", r.Why)
		}
		return lackingf("nothing was changed")
	case f.dry || len(changes.Changes) == 0:
		return nil
	}
	args.Dry, args.Only = false, changes.From
	if err := lab.Get(cmd.Context(), control.DoApply, args, &changes); err != nil {
		return refusal(err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "lab %s is changed: %s have a new configuration\n", lab.Name, count(changes.Servers, "server"))
	return nil
}

func printChanges(w io.Writer, c *control.Changes) {
	if len(c.Changes) == 0 {
		fmt.Fprintln(w, "the file says what the lab is already")
		return
	}
	for i, one := range c.Changes {
		if i == 4*rowsShown {
			fmt.Fprintf(w, "… and %d more\n", len(c.Changes)-i)
			return
		}
		switch {
		case one.Old == "":
			fmt.Fprintf(w, "+ %s: %s\n", one.Path, one.New)
		case one.New == "":
			fmt.Fprintf(w, "- %s: %s\n", one.Path, one.Old)
		default:
			fmt.Fprintf(w, "~ %s: %s → %s\n", one.Path, one.Old, one.New)
		}
	}
}
