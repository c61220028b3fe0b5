//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/control"
	emurun "github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/check"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/spec"
)

func newCheck() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "check [LAB]", Short: "Judge a lab's checks over what has happened", GroupID: "lab", Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeLab,
		Long: `Check judges the checks of the lab's file over what has happened since it came
up: of each traffic its latest round, of counters and drops the totals. A check
that compares variants, or asks about traffic that was not sent yet, cannot be
judged.

Exit codes: 0 all hold, 1 one fell short, 5 one could not be judged.`,
		Example: `  sudo homeward traffic overlapping_branches && sudo homeward check overlapping_branches
  sudo homeward check --json | jq -r '.[] | select(.verdict != "pass") | .id'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			lab, err := labNamed(cmd, name)
			if err != nil {
				return err
			}
			return judgeLab(cmd, lab, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func judgeLab(cmd *cobra.Command, lab *control.Lab, asJSON bool) error {
	asked, records, err := recordsOf(cmd.Context(), lab)
	if err != nil {
		return refusal(err)
	}
	verdict, results := judgeAsked(asked, records)
	if asJSON {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		if err := enc.Encode(results); err != nil {
			return err
		}
	} else {
		printChecks(cmd.OutOrStdout(), results)
	}
	if code := check.ExitCode([]record.Summary{{Engine: emurun.Hub.Engine(), Verdict: verdict, Checks: results}}); code != exitOK {
		return &exit{code: code}
	}
	return nil
}

// recordsOf is all that a lab has on record, and the checks of its file.
func recordsOf(ctx context.Context, lab *control.Lab) (*control.Checks, *record.Records, error) {
	var asked control.Checks
	var records record.Records
	err := lab.Call(ctx, control.Ask{Do: control.DoRecords, Each: func(raw json.RawMessage) error {
		var r control.Recorded
		if err := json.Unmarshal(raw, &r); err != nil {
			return err
		}
		switch {
		case r.Checks != nil:
			asked = *r.Checks
		case r.Run != nil:
			records.Run = *r.Run
		case r.Flow != nil:
			records.Flows = append(records.Flows, *r.Flow)
		case r.Session != nil:
			records.Sessions = append(records.Sessions, *r.Session)
		case r.Event != nil:
			records.Events = append(records.Events, *r.Event)
		}
		return nil
	}})
	if err != nil {
		return nil, nil, err
	}
	return &asked, &records, nil
}

// judgeAsked judges what can be judged; what cannot is an error, never a pass.
func judgeAsked(asked *control.Checks, records *record.Records) (record.Verdict, []record.CheckResult) {
	checks, bad := compileChecks(&spec.Scenario{Traffic: trafficOf(asked.Traffic), Checks: asked.Checks}, []string{records.Run.Variant})
	var results []record.CheckResult
	for _, r := range check.EvaluateAll(checks, records, nil) {
		if id := untried(asked, checkText(asked.Checks, r.ID)); id != "" {
			r.Verdict, r.Detail = record.Error, fmt.Sprintf("%s was not sent yet (homeward traffic)", id)
		}
		if vs := vsOf(asked.Checks, r.ID); vs != "" {
			r.Verdict, r.Detail = record.Error, fmt.Sprintf("compares with variant %s, which is another lab (homeward run)", vs)
		}
		results = append(results, r)
	}
	for _, b := range bad {
		results = append(results, record.CheckResult{ID: b.Path, Verdict: record.Error, Detail: b.Msg})
	}
	return check.Judge(results, asked.ExpectFail, check.Saturated(records))
}

func trafficOf(ids []string) []spec.Traffic {
	out := make([]spec.Traffic, len(ids))
	for i, id := range ids {
		out[i].ID = id
	}
	return out
}

func checkText(checks []spec.Check, id string) string {
	for _, c := range checks {
		if c.ID == id {
			return checkInput(c).Expr
		}
	}
	return ""
}

func vsOf(checks []spec.Check, id string) string {
	for _, c := range checks {
		if c.ID == id {
			return c.Vs
		}
	}
	return ""
}

// untried is traffic that an expression asks about and that was not sent yet.
func untried(asked *control.Checks, expr string) string {
	for _, id := range asked.Untried {
		for _, word := range strings.FieldsFunc(expr, func(r rune) bool {
			return r != '_' && r != '.' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
		}) {
			if word == id || strings.HasPrefix(word, id+".") {
				return id
			}
		}
	}
	return ""
}

func printChecks(w io.Writer, results []record.CheckResult) {
	if len(results) == 0 {
		fmt.Fprintln(w, "the lab's file has no checks")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range results {
		verdict := string(r.Verdict)
		if r.Expected {
			verdict += " (expected)"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", verdict, r.ID, r.Detail)
	}
	tw.Flush()
}
