//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/control"
	emurun "github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/record"
)

func newTraffic() *cobra.Command {
	var asJSON bool
	var args control.TrafficArgs
	c := &cobra.Command{
		Use: "traffic [LAB] [ID...]", Short: "Send a lab's traffic now", GroupID: "lab", Args: cobra.ArbitraryArgs,
		Long: `Traffic sends the flows that the lab's file describes, or those of the named
traffic alone, and says what became of them. It can be sent as often as you
like; homeward check judges each traffic by its latest round.

The file's faults happen meanwhile, at their times; those without an end are
mended when the traffic is over, and what homeward break broke stays broken.

Exit code 1: a flow was not ok.`,
		Example: `  sudo homeward traffic overlapping_branches
  sudo homeward traffic overlapping_branches same ping
  sudo homeward traffic same --json | jq -r 'select(.result != "ok") | .client'`,
		ValidArgsFunction: completeLabThen(0, func(n control.Names) []cobra.Completion { return n.Traffic }),
		RunE: func(cmd *cobra.Command, words []string) error {
			lab, ids, err := labAndRest(cmd, words)
			if err != nil {
				return err
			}
			args.IDs = ids
			return traffic(cmd, lab, args, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each flow, as in flows.jsonl")
	c.Flags().BoolVar(&args.NoFaults, "no-faults", false, "nothing goes wrong")
	return c
}

func traffic(cmd *cobra.Command, lab *control.Lab, args control.TrafficArgs, asJSON bool) error {
	begin(cmd.Context())
	s := newScreen(cmd.ErrOrStderr())
	var flows []record.Flow
	err := lab.Call(cmd.Context(), control.Ask{Do: control.DoTraffic, Args: args, Each: func(raw json.RawMessage) error {
		var sent control.Sent
		if err := json.Unmarshal(raw, &sent); err != nil {
			return err
		}
		if sent.Flow != nil {
			flows = append(flows, *sent.Flow)
		} else if s.terminal {
			s.progress(lab.Name, emurun.StageFlows, sent.Done, sent.Total)
		}
		return nil
	}})
	s.clear()
	if err != nil {
		return refusal(err)
	}
	if asJSON {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetEscapeHTML(false)
		for _, f := range flows {
			if err := enc.Encode(f); err != nil {
				return err
			}
		}
	} else {
		printFlows(cmd.OutOrStdout(), flows)
	}
	for _, f := range flows {
		if f.Result != record.OK {
			return &exit{code: 1}
		}
	}
	return nil
}

// printFlows says how many flows of each traffic came to which end, and tells of
// those that are not ok.
func printFlows(w io.Writer, flows []record.Flow) {
	type tally struct {
		id     string
		n, ok  int
		median []int64
	}
	var all []*tally
	by := map[string]*tally{}
	for _, f := range flows {
		t := by[f.Traffic]
		if t == nil {
			t = &tally{id: f.Traffic}
			by[f.Traffic], all = t, append(all, t)
		}
		t.n++
		if f.Result == record.OK {
			t.ok++
			t.median = append(t.median, f.RTTNs)
		}
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "TRAFFIC\tOK\tOF\tMEDIAN RTT")
	for _, t := range all {
		fmt.Fprintf(tw, "%s\t%d\t%d\t%s\n", t.id, t.ok, t.n, middle(t.median))
	}
	tw.Flush()
	shown := 0
	for _, f := range flows {
		if f.Result == record.OK {
			continue
		}
		if shown++; shown > rowsShown {
			fmt.Fprintf(w, "… and more (--json)\n")
			return
		}
		fmt.Fprintf(w, "%s#%d %s: %s: %s\n", f.Traffic, f.N, f.Client, f.Result, f.Reason)
	}
}

func middle(ns []int64) string {
	if len(ns) == 0 {
		return "-"
	}
	return time.Duration(ns[len(ns)/2]).Round(time.Microsecond).String()
}
