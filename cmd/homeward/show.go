package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/topologies/plan"
)

func newShow() *cobra.Command {
	var asJSON bool
	var name string
	var sets []string
	c := &cobra.Command{
		Use: "show SCENARIO", Short: "Show what a scenario would build: nodes, links, tunnels, slices, flows", GroupID: "write", Args: cobra.ExactArgs(1),
		Long: `Show compiles one variant of a scenario and prints the plan. The plan is a pure
function of the file: nothing is started and no privilege is needed.`,
		Example: `  homeward show overlapping_branches
  homeward show overlapping_branches --variant routes_only --set shop.count=10
  homeward show my.yaml --json | jq .flows`,
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
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(vs[0].plan)
			}
			showPlan(cmd.OutOrStdout(), vs[0].plan)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the whole plan as JSON")
	c.Flags().StringVar(&name, "variant", "base", "which variant")
	c.Flags().StringArrayVar(&sets, "set", nil, "change the file: SELECTOR=VALUE, may be repeated")
	return c
}

func showPlan(w io.Writer, p *plan.Plan) {
	fmt.Fprintf(w, "%s/%s", p.Scenario, p.Variant)
	if p.Title != "" {
		fmt.Fprintf(w, ": %s", p.Title)
	}
	fmt.Fprintf(w, "\nseed %d, plan %s\n", p.Seed, p.Fingerprint())
	showNodes(w, p)
	showTunnels(w, p)
	showServers(w, p)
	showFlows(w, p)
}

func section(w io.Writer, title string, header ...string) *tabwriter.Writer {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s\n", title)
	fmt.Fprintf(tw, "  %s\n", strings.Join(header, "\t"))
	return tw
}

func showNodes(w io.Writer, p *plan.Plan) {
	links := map[string][]string{}
	for _, l := range p.Links {
		for _, e := range []struct{ at, to plan.Endpoint }{{l.A, l.B}, {l.B, l.A}} {
			addr := ""
			for _, a := range e.at.Addresses {
				addr += " " + a.String()
			}
			links[e.at.Node] = append(links[e.at.Node], e.at.Interface+addr+" → "+e.to.Node)
		}
	}
	tw := section(w, fmt.Sprintf("%d nodes, %d links", len(p.Nodes), len(p.Links)), "NODE", "KIND", "INTERFACES")
	for _, n := range p.Nodes {
		for i, l := range links[n.ID] {
			if i == 0 {
				fmt.Fprintf(tw, "  %s\t%s\t%s\n", n.ID, n.Kind, l)
			} else {
				fmt.Fprintf(tw, "  \t\t%s\n", l)
			}
		}
	}
	tw.Flush()
}

func showTunnels(w io.Writer, p *plan.Plan) {
	if len(p.Servers) == 0 {
		return
	}
	arr := map[string]bool{}
	for _, o := range p.Servers[0].Config.OnRamps {
		arr[o.Name] = o.ARR
	}
	tw := section(w, "on-ramps", "NAME", "OUTER ADDRESSES", "MTU", "RETURN")
	for _, b := range p.Branches {
		for _, t := range b.Tunnels {
			by := "routes"
			if arr[t.Name] {
				by = "ARR"
			}
			fmt.Fprintf(tw, "  %s\t%s → %s\t%d\t%s\n", t.Name, t.Local, t.Remote, t.MTU, by)
		}
	}
	tw.Flush()
}

func showServers(w io.Writer, p *plan.Plan) {
	tw := section(w, "servers", "SERVER", "HAND-OVER", "EGRESS SLICES")
	for _, s := range p.Servers {
		var slices []string
		for _, e := range s.Config.Egress {
			for i, owner := range e.Owner {
				if owner == s.Config.Self {
					slices = append(slices, fmt.Sprintf("%s:%d-%d", e.Addr, i*2048, i*2048+2047))
				}
			}
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\n", s.Node, s.Handover, strings.Join(slices, " "))
	}
	tw.Flush()
}

// flowsShown bounds the table; --json has all of them.
const flowsShown = 40

func showFlows(w io.Writer, p *plan.Plan) {
	tw := section(w, count(len(p.Flows), "flow"), "FLOW", "START", "CLIENT", "PROTO", "FROM", "TO", "SERVER")
	for i, f := range p.Flows {
		if i == flowsShown {
			fmt.Fprintf(tw, "  … and %d more (--json)\n", len(p.Flows)-i)
			break
		}
		fmt.Fprintf(tw, "  %s#%d\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Traffic, f.N, f.Start, f.Client, f.Proto, f.Src, f.Dst, f.Server)
	}
	tw.Flush()
}
