//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/topologies/plan"
)

func newInspect() *cobra.Command {
	var asJSON, all bool
	c := &cobra.Command{
		Use: "inspect [LAB] [NODE]", Short: "Show a lab's nodes, addresses, routes and live flows", GroupID: "lab", Args: cobra.RangeArgs(0, 2),
		Long: `Inspect asks the kernel and the servers what is there now. Of a lab it shows
every node with its addresses, and the live flows of its servers; of one node
its interfaces and routes, and a server's flows and counters.`,
		Example: `  sudo homeward inspect overlapping_branches
  sudo homeward inspect overlapping_branches shop.1.router
  sudo homeward inspect lhr.1 --json | jq '.[].flows'`,
		ValidArgsFunction: completeLabThen(1, nodeCompletions),
		RunE: func(cmd *cobra.Command, args []string) error {
			lab, rest, err := labAndRest(cmd, args)
			if err != nil {
				return err
			}
			var asked control.NodeArgs
			if len(rest) > 0 {
				asked.Node = rest[0]
			}
			nodes := []control.Node{}
			err = lab.Call(cmd.Context(), control.Ask{Do: control.DoInspect, Args: asked, Each: func(raw json.RawMessage) error {
				var n control.Node
				err := json.Unmarshal(raw, &n)
				nodes = append(nodes, n)
				return err
			}})
			if err != nil {
				return refusal(err)
			}
			switch {
			case asJSON:
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(nodes)
			case asked.Node != "":
				printNode(cmd.OutOrStdout(), &nodes[0], all)
			default:
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", lab.Name, count(len(nodes), "node"))
				printLab(cmd.OutOrStdout(), nodes, all)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: of every node all there is")
	c.Flags().BoolVar(&all, "all", false, "every row")
	c.MarkFlagsMutuallyExclusive("json", "all")
	return c
}

// addressesShown is how many addresses of a node are shown unless all are asked for.
const addressesShown = 5

func printLab(w io.Writer, nodes []control.Node, all bool) {
	t := table{title: "Nodes", header: []string{"node", "kind", "addresses", "flows", "problem"}, loose: map[int]bool{2: true, 3: true}}
	flows := flowTable()
	for i := range nodes {
		n := &nodes[i]
		live := ""
		if n.Kind == plan.KindServer {
			live = fmt.Sprint(len(n.Flows))
		}
		has := addresses(n)
		if more := len(has) - addressesShown; more > 0 && !all {
			has = append(has[:addressesShown:addressesShown], fmt.Sprintf("… and %d more", more))
		}
		t.add(n.ID, string(n.Kind), strings.Join(has, " "), live, n.Problem)
		addFlows(flows, n)
	}
	t.print(w, all)
	flows.print(w, all)
}

func printNode(w io.Writer, n *control.Node, all bool) {
	fmt.Fprintf(w, "%s: %s", n.ID, n.Kind)
	for _, part := range []struct{ word, is string }{{"site", n.Site}, {"datacenter", n.Datacenter}, {"account", n.Account}} {
		if part.is != "" {
			fmt.Fprintf(w, ", %s %s", part.word, part.is)
		}
	}
	fmt.Fprintln(w)
	if n.Problem != "" {
		fmt.Fprintln(w, "problem:", n.Problem)
	}
	faces := table{title: "Interfaces", header: []string{"interface", "state", "mtu", "mac", "addresses"}}
	for _, f := range n.Interfaces {
		state := "down"
		if f.Up {
			state = "up"
		}
		faces.add(f.Name, state, fmt.Sprint(f.MTU), f.MAC, strings.Join(f.Addresses, " "))
	}
	faces.print(w, true)
	routes := table{title: "Routes", header: []string{"to", "hops"}}
	for _, r := range n.Routes {
		routes.add(r.To, strings.Join(r.Hops, ", "))
	}
	routes.print(w, true)
	flows := flowTable()
	addFlows(flows, n)
	flows.print(w, all)
	counters := table{title: "Counters", header: []string{"counter", "total"}}
	for _, name := range sortedNames(n.Counters) {
		if n.Counters[name] != 0 {
			counters.add(name, fmt.Sprint(n.Counters[name]))
		}
	}
	counters.print(w, true)
}

func addresses(n *control.Node) []string {
	var all []string
	for _, f := range n.Interfaces {
		if f.Name != "lo" {
			all = append(all, f.Addresses...)
		}
	}
	return all
}

func flowTable() *table {
	return &table{title: "Live flows", header: []string{"on-ramp", "flow", "leaves as", "home", "replies go to", "bytes up", "bytes down"}, loose: map[int]bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: true}}
}

func addFlows(t *table, n *control.Node) {
	for _, s := range n.Flows {
		leaves := s.Offramp
		if s.EgressIP != "" {
			leaves = fmt.Sprintf("%s:%d", s.EgressIP, s.EgressPort)
		}
		t.add(s.OnRamp, fmt.Sprintf("%s %s:%d > %s:%d", strings.ToLower(s.Protocol), s.SourceIP, s.SourcePort, s.OriginIP, s.OriginPort),
			leaves, n.ID, s.ReturnOnRamp, fmt.Sprint(s.BytesSent), fmt.Sprint(s.BytesReceived))
	}
}

func sortedNames(m map[string]int64) []string { return slices.Sorted(maps.Keys(m)) }
