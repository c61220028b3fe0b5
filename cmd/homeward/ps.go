//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/control"
)

func newPs() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "ps", Short: "List the labs that are up", GroupID: "lab", Args: cobra.NoArgs,
		Long: `Ps lists the labs that are up: name, scenario, nodes, age and state.

States: starting, ready, traffic (it runs now), degraded (a server has ended),
stopping, silent (the keeper does not answer).`,
		Example: `  sudo homeward ps
  sudo homeward ps --json | jq -r '.[].name'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			labs, err := standing(cmd)
			if err != nil {
				return err
			}
			infos := make([]control.Info, 0, len(labs))
			for _, l := range labs {
				i, err := infoOf(cmd.Context(), l)
				if errors.Is(err, control.ErrKeeperGone) {
					continue // it goes at this moment
				}
				if err != nil {
					i = control.Info{Name: l.Name, State: "silent"}
				}
				infos = append(infos, i)
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(infos)
			}
			if len(infos) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), noLab())
				return nil
			}
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "NAME\tSCENARIO\tNODES\tAGE\tSTATE")
			for _, i := range infos {
				fmt.Fprintf(tw, "%s\t%s/%s\t%d\t%s\t%s\n", i.Name, i.Scenario, i.Variant, i.Nodes, age(i.Started), stateText(i))
			}
			return tw.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// age of a lab, in its largest two units.
func age(since time.Time) string {
	if since.IsZero() {
		return "?"
	}
	d := time.Since(since)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

func stateText(i control.Info) string {
	if len(i.Lost) == 0 || i.State == control.Stopping { // then all end
		return string(i.State)
	}
	return fmt.Sprintf("%s: %s ended", i.State, strings.Join(slices.Sorted(maps.Keys(i.Lost)), ", "))
}
