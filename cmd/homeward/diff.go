package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/reports/check"
	"github.com/homeward-lab/homeward/reports/compare"
	"github.com/homeward-lab/homeward/reports/record"
)

func newDiff() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "diff DIR [OTHER]", Short: "Say on what two results disagree: versions, seeds, machines, engines", GroupID: "run", Args: cobra.RangeArgs(1, 2),
		Long: `Diff compares results flow by flow: result, on-ramp, way back, datacenters, home
server, egress address and slice; and of each traffic the median round trip
(within the greater of 200 µs and 5 %) and completion time (within 10 %).
Where no link has a delay or a rate, times are not compared, and it says so.

With one directory it compares the engines in it, with two the runs of one
scenario and variant in both. It exits with 0 if they agree, 1 if not, and 5 if
that cannot be judged: times are not, where a lab's own measurements say that its
machine had no time for it; nor are flows that look alike and start at one moment,
where they came in another order.`,
		Example: `  homeward diff out/before out/after
  homeward diff out/both                    what the simulator and the lab disagree on
  homeward diff --json out/before out/after | jq .`,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := differences(args)
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
	return c
}

func differences(dirs []string) ([]*compare.Result, error) {
	a, err := record.Read(dirs[0])
	if err != nil {
		return nil, err
	}
	if len(dirs) == 1 {
		return compare.Engines(a)
	}
	b, err := record.Read(dirs[1])
	if err != nil {
		return nil, err
	}
	return compare.Results(a, b)
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
		all := slices.Concat(r.Differences, r.Unjudged)
		for i := range all {
			d := &all[i]
			fmt.Fprintf(w, "  %s\n", d)
			if d.Parted != [2]string{} && (i == 0 || all[i-1].Flow != d.Flow) {
				fmt.Fprintf(w, "    parted at: %s\n           or: %s\n", d.Parted[0], d.Parted[1])
			}
		}
		for _, u := range r.Untimed {
			fmt.Fprintf(w, "  times of %s: not compared\n", u)
		}
	}
}
