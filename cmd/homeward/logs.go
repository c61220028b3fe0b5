//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/reports/record"
)

func newLogs() *cobra.Command {
	return &cobra.Command{
		Use: "logs [LAB] [NODE]", Short: "Show what servers and hosts' programs have said", GroupID: "lab", Args: cobra.RangeArgs(0, 2),
		Long: `Logs prints the last that each server's process, and each program of a host
(run: in the file), has written. A server that is well says nothing.`,
		Example: `  sudo homeward logs overlapping_branches
  sudo homeward logs overlapping_branches lhr.1`,
		ValidArgsFunction: completeLabThen(1, func(n control.Names) []cobra.Completion { return n.Logs }),
		RunE: func(cmd *cobra.Command, args []string) error {
			lab, rest, err := labAndRest(cmd, args)
			if err != nil {
				return err
			}
			var asked control.NodeArgs
			if len(rest) > 0 {
				asked.Node = rest[0]
			}
			quiet := true
			err = lab.Call(cmd.Context(), control.Ask{Do: control.DoLogs, Args: asked, Each: func(raw json.RawMessage) error {
				var l control.Log
				if err := json.Unmarshal(raw, &l); err != nil {
					return err
				}
				for line := range strings.Lines(l.Text) {
					quiet = false
					if asked.Node == "" {
						line = l.Name + ": " + line
					}
					fmt.Fprintln(cmd.OutOrStdout(), strings.TrimRight(line, "\r\n"))
				}
				return nil
			}})
			if err == nil && quiet {
				fmt.Fprintln(cmd.ErrOrStderr(), "nothing was said: all is well, or nobody has anything to say")
			}
			return refusal(err)
		},
	}
}

func newEvents() *cobra.Command {
	var follow, asJSON bool
	c := &cobra.Command{
		Use: "events [LAB]", Short: "Show a lab's time line", GroupID: "lab", Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeLab,
		Long: `Events prints what has happened in the lab: flows that were set up and ended,
hand-overs, replies, drops with their reason; what somebody impaired, broke and
mended by hand. Times count from when the lab began. --follow goes on with what happens, until Ctrl-C or the lab's end.`,
		Example: `  sudo homeward events overlapping_branches
  sudo homeward events overlapping_branches --follow
  sudo homeward events --follow --json | jq -c 'select(.kind == "drop")'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			lab, rest, err := labAndRest(cmd, args)
			if err == nil && len(rest) > 0 {
				_, err = labNamed(cmd, rest[0]) // says what is wrong with it
			}
			if err != nil {
				return err
			}
			begin(cmd.Context())
			return events(cmd, lab, follow, asJSON)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens")
	c.Flags().BoolVar(&asJSON, "json", false, "print lines of JSON, as in events.jsonl")
	return c
}

func events(cmd *cobra.Command, lab *control.Lab, follow, asJSON bool) error {
	w := cmd.OutOrStdout()
	err := lab.Call(cmd.Context(), control.Ask{Do: control.DoEvents, Args: control.EventsArgs{Follow: follow}, Each: func(raw json.RawMessage) error {
		if asJSON {
			_, err := fmt.Fprintf(w, "%s\n", raw)
			return err
		}
		var e record.Event
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		return printEvent(w, &e)
	}})
	if follow && cmd.Context().Err() != nil {
		return &exit{code: exitInterrupted}
	}
	return refusal(err)
}

// printEvent writes an event as one line: when, where, what.
func printEvent(w io.Writer, e *record.Event) error {
	parts := []string{fmt.Sprintf("%10.3fs", time.Duration(e.AtNs).Seconds()), e.Node, e.Kind, e.Flow}
	if e.OnRamp != "" {
		parts = append(parts, "on "+e.OnRamp)
	}
	if e.Peer != "" {
		parts = append(parts, "to "+e.Peer)
	}
	if e.Reason != "" {
		parts = append(parts, "("+e.Reason+")")
	}
	if e.Text != "" {
		parts = append(parts, e.Text)
	}
	if e.By != "" {
		parts = append(parts, "by "+e.By)
	}
	kept := parts[:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	_, err := fmt.Fprintln(w, strings.Join(kept, "  "))
	return err
}
