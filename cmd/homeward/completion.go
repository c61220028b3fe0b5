package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/reports/explain"
	"github.com/homeward-lab/homeward/topologies"
)

// completeScenarios offers the shipped scenarios for the first most arguments;
// 0 is any number. What looks like a file is the shell's to complete.
func completeScenarios(most int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		shipped, err := topologies.All()
		if err != nil || strings.ContainsAny(typed, "./") {
			return nil, cobra.ShellCompDirectiveDefault
		}
		var all []cobra.Completion
		for _, s := range shipped {
			if strings.HasPrefix(s.Name, strings.ReplaceAll(typed, "-", "_")) && !slices.Contains(args, s.Name) {
				all = append(all, cobra.CompletionWithDesc(s.Name, s.Title))
			}
		}
		return all, cobra.ShellCompDirectiveDefault
	}
}

// completeVariants offers the variants of the scenarios that were typed already.
func completeVariants(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var all []cobra.Completion
	for _, name := range args {
		doc, err := open(name)
		if err != nil {
			continue // the command itself will say what is wrong
		}
		for _, v := range doc.Variants() {
			title := doc.Spec.Title
			for _, o := range doc.Spec.Variants {
				if o.Name == v && o.Title != "" {
					title = o.Title
				}
			}
			if c := cobra.CompletionWithDesc(v, title); strings.HasPrefix(v, typed) && !slices.Contains(all, c) {
				all = append(all, c)
			}
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// completeFlows offers directories first, then the flows that the results in
// the directory know: variants as long as there are several to choose from.
func completeFlows(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return nil, cobra.ShellCompDirectiveFilterDirs
	case 1:
	default:
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, err := explain.Names(args[0], typed)
	if err != nil {
		return cobra.AppendActiveHelp(nil, fmt.Sprint(err)), cobra.ShellCompDirectiveNoFileComp
	}
	directive := cobra.ShellCompDirectiveNoFileComp
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ":") }) {
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	return names, directive
}
