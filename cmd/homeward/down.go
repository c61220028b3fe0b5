//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/homeward-lab/homeward/emu/control"
)

// downPatience bounds the wait for a keeper to take its lab down by itself.
const downPatience = time.Minute

func newDown() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "down [LAB...]", Short: "Take labs down", GroupID: "lab", Args: cobra.ArbitraryArgs,
		Long: `Down ends everything in a lab and returns when nothing of it is left. Where one
lab alone is up, its name can be left out.

A keeper that does not answer within a minute is killed: the kernel takes down
what it held.`,
		Example: `  sudo homeward down overlapping_branches
  sudo homeward down --all`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return labCompletions(cmd), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error { return down(cmd, args, all) },
	}
	c.Flags().BoolVar(&all, "all", false, "every lab that is up")
	return c
}

func down(cmd *cobra.Command, args []string, all bool) error {
	if all && len(args) > 0 {
		return usagef("--all takes no names")
	}
	labs, err := standing(cmd)
	if err != nil {
		return err
	}
	if !all {
		if labs, err = chosen(labs, args); err != nil {
			return err
		}
	}
	begin(cmd.Context())
	var group errgroup.Group
	errs := make([]error, len(labs))
	for i, l := range labs {
		group.Go(func() error { errs[i] = takeDown(cmd.Context(), l); return nil })
	}
	_ = group.Wait() // each has its own error
	for i, l := range labs {
		if errs[i] == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "lab %s is down\n", l.Name)
		}
	}
	return refusal(errors.Join(errs...))
}

// chosen are the labs of these names, or the only one.
func chosen(labs []*control.Lab, names []string) ([]*control.Lab, error) {
	if len(names) == 0 {
		l, err := only(labs)
		return []*control.Lab{l}, err
	}
	var out []*control.Lab
	for _, n := range names {
		i := slices.IndexFunc(labs, func(l *control.Lab) bool { return l.Name == n })
		if i < 0 {
			return nil, usage(control.NoSuch("lab", n, "", labNames(labs)))
		}
		out = append(out, labs[i])
	}
	return out, nil
}

// takeDown ends a lab and waits until its keeper has gone.
func takeDown(ctx context.Context, l *control.Lab) error {
	keeper, err := l.Keeper()
	if errors.Is(err, control.ErrKeeperGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = keeper.Release() }()
	limited, cancel := context.WithTimeout(ctx, downPatience)
	defer cancel()
	err = l.Call(limited, control.Ask{Do: control.DoDown})
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("lab %s goes on going down: %w", l.Name, context.Cause(ctx))
	case limited.Err() != nil:
		err = errors.Join(fmt.Errorf("lab %s: its keeper did not answer in %s and was killed", l.Name, downPatience), keeper.Kill())
	case errors.Is(err, control.ErrKeeperGone):
		err = nil
	}
	if !l.Ended(downPatience) {
		return errors.Join(err, fmt.Errorf("lab %s: its keeper is still there", l.Name))
	}
	return err
}
