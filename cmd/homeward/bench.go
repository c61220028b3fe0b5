package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/dataplane/hub/hubbench"
)

func newBench() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "bench [hub|lab]", Short: "Measure, each figure beside its baseline in the same run", GroupID: "run",
		Args: cobra.MaximumNArgs(1), ValidArgs: []string{"hub", "lab"},
		Long: `Bench prints each figure beside a baseline measured in the same run, interleaved,
and their ratio: absolute times say little about a shared machine. Results are
compared for equality before speed is. Without an argument it measures hub.

hub: one packet through the hub, without I/O, beside a plain route look-up.
lab: how much an impaired link exceeds a delay of 5 ms at 20,000 packets a
second, beside the machine's timers; the processor time for each packet; what a
link costs to make, beside making it first and moving it then; and labs of 100
and 1,000 nodes, up and down, beside the same hosts and links by mininet 2.3 (no
switch, no controller) where Debian's package is installed. It needs the right
to make network namespaces, and takes minutes.`,
		Example: "  homeward bench hub\n  homeward bench lab --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			rows, err := bench(cmd.Context(), append(args, "hub")[0])
			if err != nil {
				return err
			}
			return printRows(cmd.OutOrStdout(), rows, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func bench(ctx context.Context, what string) (rows []hubbench.Row, err error) {
	switch what {
	case "hub":
		rows, err = hubbench.Run(ctx)
	case "lab":
		rows, err = benchLab(ctx)
	case "dataplane", "sim":
		return nil, lackingf("bench %s: this version measures hub and lab", what)
	default:
		return nil, usagef("bench %s: want hub or lab", what)
	}
	if err != nil {
		return nil, judgeless(err)
	}
	return rows, nil
}

func printRows(w io.Writer, rows []hubbench.Row, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "id\tvalue\tbaseline\tratio\tgoal\t")
	for _, r := range rows {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t\n", r.ID, r.Figure(), r.BaselineFigure(), r.RatioFigure(), r.Verdict())
	}
	return tw.Flush()
}
