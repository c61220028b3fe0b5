package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/dataplane/hub/hubbench"
)

func newBench() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "bench [hub]", Short: "Measure, each figure beside its baseline in the same run", GroupID: "run",
		Args: cobra.MaximumNArgs(1), ValidArgs: []string{"hub"},
		Long: `Bench prints each figure beside a baseline measured in the same run, interleaved,
and their ratio: absolute times say little about a shared machine. Results are
compared for equality before speed is.

hub: one packet through the hub, without I/O, beside a plain route look-up.`,
		Example: "  homeward bench hub\n  homeward bench hub --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] != "hub" {
				switch args[0] {
				case "dataplane", "lab", "sim":
					return lackingf("bench %s: this version measures hub alone", args[0])
				}
				return usagef("bench %s: want hub", args[0])
			}
			rows, err := hubbench.Run(cmd.Context())
			if err != nil {
				return judgeless(err)
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(rows)
			}
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', tabwriter.AlignRight)
			fmt.Fprintln(tw, "id\tvalue\tbaseline\tratio\tgoal\t")
			for _, r := range rows {
				fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t\n", r.ID, r.Figure(), r.BaselineFigure(), r.RatioFigure(), r.Verdict())
			}
			return tw.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
