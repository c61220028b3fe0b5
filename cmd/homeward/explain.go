package main

import (
	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/reports/explain"
)

func newExplain() *cobra.Command {
	return &cobra.Command{
		Use: "explain DIR FLOW", Short: "Tell the life of one flow: each hop, each decision, and why", GroupID: "run", Args: cobra.ExactArgs(2), ValidArgsFunction: completeFlows,
		Long: `Explain reads the results of one run and tells what happened to one flow.

DIR is a results directory (--out) or one run's in it (SCENARIO/VARIANT/ENGINE).
FLOW is a traffic id and number (same#1), a session id, or addresses
("tcp 10.0.1.5:40000"); VARIANT:FLOW chooses among several runs.`,
		Example: `  homeward explain out/DIR routes_only:same#2
  homeward explain out/DIR/overlapping_branches/base/emu-hub "tcp 10.0.1.5:40000"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := explain.Flow(cmd.OutOrStdout(), args[0], args[1]); err != nil {
				return usage(err)
			}
			return nil
		},
	}
}
