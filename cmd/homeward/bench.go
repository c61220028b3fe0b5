package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/dataplane/hub/hubbench"
	"github.com/homeward-lab/homeward/reports/benchpage"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/sim/simbench"
)

func newBench() *cobra.Command {
	var asJSON bool
	var flows int
	var report string
	c := &cobra.Command{
		Use: "bench [hub|dataplane|lab|sim]", Short: "Measure, each figure beside its baseline in the same run", GroupID: "run",
		Args: cobra.MaximumNArgs(1), ValidArgs: []string{"hub", "dataplane", "lab", "sim"},
		Long: `Bench prints each figure beside a baseline measured in the same run, interleaved,
and how many times better it is: absolute times say little about a shared machine. Results are
compared for equality before speed is. Without an argument it measures hub.
Ctrl-C prints what has been measured, and says that it is partial.

hub: one packet through the hub, without I/O, beside a plain route look-up.
dataplane: what a packet of 60 bytes costs through one server, and what TCP
reaches from a branch to an origin, by the kernel's eBPF dataplane, the Go hub,
and servers made of conntrack, marks and rules, beside plain routing in
namespaces of its own; the programs by themselves. It needs root. arr is the mean
of both directions, out of the GRE tunnel and translated, and back into it, while
what is routed has no tunnel; up and down are each; redirect_peer is the least that
any program at the uplink could do with the same packets, and helpers what the
kernel's own functions to push and pop a tunnel's header add to that. hub_xdp and
hub_pps are the hub by AF_XDP. Small packets pass by the queue of the server's link
but for those of queued, and TCP does not but for arr_peer. Of TCP, often is routing
over as many links as a hand-over makes them, and handover is a flow that is handed
over beside one at home where it lands.
lab: how much an impaired link exceeds a delay of 5 ms at 20,000 packets a
second, beside the machine's timers; the processor time for each packet; what a
link costs to make, beside making it first and moving it then; and labs of 100
and 1,000 nodes, up and down, beside the same hosts and links by mininet 2.3 (no
switch, no controller) where Debian's package is installed; and how long the
kernel clears up behind one that was killed, beside its own up time; empty is that
for as many namespaces with nothing in them, the least that it can be. It needs the
right to make network namespaces, and takes minutes.
sim: an event, and a packet on one link of a chain of routers, beside ns-3 3.37
where Debian's package and g++ are, with equal arrivals to the nanosecond; flows
that share links, without their packets, beside SimGrid 3.32, each as long to
1e-4; packets through hubs in virtual time; what a flow takes. --flows measures this
many TCP connections alone, all open at once: a million wants 4 GiB.`,
		Example: "  homeward bench hub\n  homeward bench lab --json\n  homeward bench sim --flows 1000000",
		RunE: func(cmd *cobra.Command, args []string) error {
			what := append(args, "hub")[0]
			if cmd.Flags().Changed("flows") && (what != "sim" || flows < 1 || flows > maxFlows) {
				return usagef("--flows is of bench sim: want 1 to %d", maxFlows)
			}
			begin(cmd.Context())
			rows, ended := bench(cmd.Context(), what, flows)
			if ended != nil {
				ended = partly(cmd.Context(), rows, ended)
			}
			if len(rows) == 0 {
				return ended
			}
			if report != "" {
				if err := writeBench(report, what, rows, ended); err != nil {
					return judgeless(err)
				}
			}
			if err := printRows(cmd.OutOrStdout(), rows, asJSON); err != nil {
				return err
			}
			return ended
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&report, "report", "", "also write a page with a table and a plot")
	c.Flags().IntVar(&flows, "flows", 0, "of sim: measure this many TCP connections, all open at once")
	return c
}

// partly says that a bench ended before its last row, and why.
func partly(ctx context.Context, rows []figure.Row, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = judgeless(cause) // whatever broke because of it
	}
	if len(rows) == 0 {
		return err
	}
	return judgeless(fmt.Errorf("partial, %s measured, none after %s: %w", count(len(rows), "row"), rows[len(rows)-1].ID, err))
}

// writeBench writes the figures as a page, which says if there should be more.
func writeBench(file, what string, rows []figure.Row, ended error) error {
	var page bytes.Buffer
	machine := fmt.Sprintf("Measured %s with %s on %s/%s, %s.", time.Now().Format(time.DateTime), runtime.Version(), runtime.GOOS, runtime.GOARCH, count(runtime.NumCPU(), "processor"))
	if ended != nil {
		machine += " " + strings.ToUpper(ended.Error()[:1]) + ended.Error()[1:] + "."
	}
	if err := benchpage.Write(&page, "homeward bench "+what, machine, rows); err != nil {
		return err
	}
	return os.WriteFile(file, page.Bytes(), 0o644)
}

// maxFlows of one bench, and of a plan.
const maxFlows = 1_000_000

func bench(ctx context.Context, what string, flows int) (rows []figure.Row, err error) {
	switch what {
	case "hub":
		rows, err = hubbench.Run(ctx)
	case "lab":
		rows, err = benchLab(ctx)
	case "sim":
		rows, err = simbench.Bench{Load: plainPlan, Flows: flows}.Run(ctx)
	case "dataplane":
		rows, err = benchDataplane(ctx)
	default:
		return nil, usagef("bench %s: want hub, dataplane, lab or sim", what)
	}
	if err != nil {
		err = judgeless(err)
	}
	return rows, err
}

func printRows(w io.Writer, rows []figure.Row, asJSON bool) error {
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
