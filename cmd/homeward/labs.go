//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/control"
)

// labCommands are those of a lab that stays.
func labCommands() []*cobra.Command {
	return []*cobra.Command{
		newUp(), newPs(), newInspect(), newExec(), newShell(), newCapture(), newTraffic(), newCheck(), newApply(),
		newImpair(), newBreak(), newMend(),
		newLogs(), newEvents(), newDown(), newKeeper(), newFirst(),
	}
}

// askPatience is how long a lab may take to say what it is.
const askPatience = 5 * time.Second

// standing are the labs that are up. Of those whose keeper was killed the user
// is told once: nothing else is left of them.
func standing(cmd *cobra.Command) ([]*control.Lab, error) {
	labs, gone, err := control.Labs()
	for _, g := range gone {
		fmt.Fprintf(cmd.ErrOrStderr(), "lab %s is gone: its keeper died%s\n", g.Name, lastWords(g.Words))
	}
	if err != nil {
		return labs, lacking(err)
	}
	return labs, nil
}

func lastWords(words string) string {
	if words == "" {
		return ""
	}
	return "; its last words:\n" + words
}

func labNames(labs []*control.Lab) []string {
	names := make([]string, len(labs))
	for i, l := range labs {
		names[i] = l.Name
	}
	return names
}

// labNamed finds a lab; without a name it is the only one that is up.
func labNamed(cmd *cobra.Command, name string) (*control.Lab, error) {
	labs, err := standing(cmd)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return only(labs)
	}
	if i := slices.IndexFunc(labs, func(l *control.Lab) bool { return l.Name == name }); i >= 0 {
		return labs[i], nil
	}
	if len(labs) == 0 {
		return nil, usagef("no lab %q: none is up (homeward up SCENARIO)", name)
	}
	return nil, usage(control.NoSuch("lab", name, "", labNames(labs)))
}

// only is the one lab that can have been meant.
func only(labs []*control.Lab) (*control.Lab, error) {
	switch len(labs) {
	case 0:
		return nil, usagef("%s", noLab())
	case 1:
		return labs[0], nil
	}
	return nil, usagef("which lab? There are %s", strings.Join(labNames(labs), ", "))
}

// noLab says that no lab is up; root's are not seen by others.
func noLab() string {
	text := "no lab is up (homeward up SCENARIO)"
	if control.RootHas() {
		text = "no lab of yours is up (homeward up SCENARIO); with sudo you see root's"
	}
	return text
}

// labAndRest takes a lab's name from the front of args, if one is there;
// without it the only lab is meant, and all of args is the rest.
func labAndRest(cmd *cobra.Command, args []string) (*control.Lab, []string, error) {
	labs, err := standing(cmd)
	if err != nil {
		return nil, nil, err
	}
	if len(args) > 0 {
		if i := slices.IndexFunc(labs, func(l *control.Lab) bool { return l.Name == args[0] }); i >= 0 {
			return labs[i], args[1:], nil
		}
	}
	l, err := only(labs)
	if err != nil && len(args) > 0 && len(labs) > 0 {
		err = usage(fmt.Errorf("%w; where several are up, say first which one is meant", control.NoSuch("lab", args[0], "", labNames(labs))))
	}
	return l, args, err
}

// labAndNode takes [LAB] NODE.
func labAndNode(cmd *cobra.Command, args []string) (*control.Lab, string, error) {
	if len(args) == 2 {
		l, err := labNamed(cmd, args[0])
		return l, args[1], err
	}
	l, rest, err := labAndRest(cmd, args)
	if err == nil && len(rest) == 0 {
		err = usagef("which node of %s? homeward inspect %s lists them", l.Name, l.Name)
	}
	if err != nil {
		return nil, "", err
	}
	return l, rest[0], nil
}

// refusal gives a keeper's error its exit code.
func refusal(err error) error {
	var e *control.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e) && e.Kind == control.Usage:
		return usage(err)
	case errors.As(err, &e) && e.Kind == control.Lack:
		return lacking(err)
	}
	return judgeless(err)
}

func infoOf(ctx context.Context, l *control.Lab) (control.Info, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askPatience, fmt.Errorf("lab %s: its keeper does not answer", l.Name))
	defer cancel()
	var i control.Info
	err := l.Get(ctx, control.DoInfo, nil, &i)
	return i, err
}

// namesOf is what completion needs; empty if the lab does not answer.
func namesOf(ctx context.Context, l *control.Lab) control.Names {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	var n control.Names
	_ = l.Get(ctx, control.DoNames, nil, &n)
	return n
}

// completeLab offers the labs that are up, for the first argument.
func completeLab(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return labCompletions(cmd), cobra.ShellCompDirectiveNoFileComp
}

func labCompletions(cmd *cobra.Command) []cobra.Completion {
	labs, _, _ := control.Labs()
	var all []cobra.Completion
	for _, l := range labs {
		title := ""
		if i, err := infoOf(cmd.Context(), l); err == nil {
			title = i.Title
		}
		all = append(all, cobra.CompletionWithDesc(l.Name, title))
	}
	return all
}

// typedLab is the lab that was typed first, or the only one, and what follows;
// nil if it is none of those.
func typedLab(args []string) (*control.Lab, []string) {
	labs, _, _ := control.Labs()
	if len(args) > 0 {
		if i := slices.IndexFunc(labs, func(l *control.Lab) bool { return l.Name == args[0] }); i >= 0 {
			return labs[i], args[1:]
		}
	}
	if len(labs) == 1 {
		return labs[0], args
	}
	return nil, args
}

// completeLabThen offers labs first, then what of gives of the one that was
// typed; where one lab alone is up, both at once.
func completeLabThen(most int, of func(control.Names) []cobra.Completion) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		l, rest := typedLab(args)
		var all []cobra.Completion
		if len(args) == 0 {
			all = labCompletions(cmd)
		}
		if l != nil && (most == 0 || len(rest) < most) {
			for _, c := range of(namesOf(cmd.Context(), l)) {
				word, _, _ := strings.Cut(c, "\t")
				if !slices.Contains(rest, word) {
					all = append(all, c)
				}
			}
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}

func nodeCompletions(n control.Names) []cobra.Completion {
	var all []cobra.Completion
	for _, node := range n.Nodes {
		all = append(all, cobra.CompletionWithDesc(node.ID, string(node.Kind)))
	}
	return all
}
