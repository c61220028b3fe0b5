package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/topologies/export"
	"github.com/homeward-lab/homeward/topologies/spec"
)

func newExport() *cobra.Command {
	var to, name string
	var sets []string
	formats := strings.Join(export.Formats(), ", ")
	c := &cobra.Command{
		Use: "export SCENARIO --to FORMAT", Short: "Write a scenario's network for containerlab, Graphviz, Mermaid or nftables", GroupID: "write", Args: cobra.ExactArgs(1),
		ValidArgsFunction: completeScenarios(1),
		Long: `Export writes the network of one variant: nodes, links, addresses, routes and
tunnels, as a containerlab topology file, or as a drawing for Graphviz (dot) or
Mermaid. Nothing is started. In containerlab servers are routers: flow tables
and translation are this program's.

nftables is a shell script that makes servers and edges of the kernel's own
parts: a conntrack zone for each tunnel, marks and rules that return replies to
it, sources in the server's slice. homeward run --on emu-nftables runs a scenario
on them, for comparison.`,
		Example: `  homeward export overlapping_branches --to dot | dot -Tsvg > network.svg
  homeward export merger --to mermaid > network.mmd
  homeward export my.yaml --to containerlab > my.clab.yml
  homeward export overlapping_branches --to nftables > arr.sh    # then on lhr.1: sh arr.sh lhr.1`,
		RunE: func(cmd *cobra.Command, args []string) error {
			doc, err := open(args[0])
			if err != nil {
				return err
			}
			ch, err := parseChanges(sets, 0, []string{name})
			if err != nil {
				return err
			}
			vs, err := prepare(doc, ch)
			if err != nil {
				return err
			}
			known, err := export.To(cmd.OutOrStdout(), to, vs[0].plan)
			if !known {
				return usagef("--to %s: want one of %s", to, formats)
			}
			if errors.Is(err, export.ErrInexpressible) {
				return lacking(err)
			}
			return err
		},
	}
	fl := c.Flags()
	fl.StringVar(&to, "to", "", "format: "+formats)
	fl.StringVar(&name, "variant", spec.Base, "which variant")
	fl.StringArrayVar(&sets, "set", nil, "change the file: SELECTOR=VALUE, may be repeated")
	_ = c.MarkFlagRequired("to")
	_ = c.RegisterFlagCompletionFunc("to", cobra.FixedCompletions(export.Formats(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("variant", completeVariants)
	return c
}
