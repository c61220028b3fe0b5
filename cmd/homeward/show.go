package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/reports/picture"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

type showFlags struct {
	json     bool
	all      bool
	measures bool
	svg      string
	variant  string
	sets     []string
}

func newShow() *cobra.Command {
	var f showFlags
	c := &cobra.Command{
		Use: "show SCENARIO", Short: "Show what a scenario would build, as a table, JSON or a picture", GroupID: "write", Args: cobra.ExactArgs(1),
		ValidArgsFunction: completeScenarios(1),
		Long: `Show compiles one variant of a scenario and prints what would be built. The plan
is a pure function of the file: nothing is started and no privilege is needed.

Rows that differ in their number alone are one, under the selector that means
them all: shop.*.wan. --all writes each out, and adds every node and flow.

--measures lists instead what the file's checks can ask for, as in
same.rtt_ms.p99 < 60 or drops.null_routed == 0.`,
		Example: `  homeward show overlapping_branches
  homeward show overlapping_branches --variant routes_only --set shop.count=10
  homeward show hundred_branches --all | less
  homeward show overlapping_branches --measures   # what checks can ask for
  homeward show virtual_networks --svg vn.svg     # a picture, for a browser or a page
  homeward show my.yaml --json | jq .flows`,
		RunE: func(cmd *cobra.Command, args []string) error { return show(cmd, args[0], f) },
	}
	fl := c.Flags()
	fl.BoolVar(&f.all, "all", false, "every row, node and flow")
	fl.BoolVar(&f.measures, "measures", false, "what checks can ask for")
	fl.BoolVar(&f.json, "json", false, "print the whole plan as JSON")
	fl.StringVar(&f.svg, "svg", "", "write a picture of the network to this file; - is standard output")
	fl.StringVar(&f.variant, "variant", spec.Base, "which variant")
	fl.StringArrayVar(&f.sets, "set", nil, "change the file: SELECTOR=VALUE, may be repeated")
	c.MarkFlagsMutuallyExclusive("json", "svg", "all", "measures")
	_ = c.RegisterFlagCompletionFunc("variant", completeVariants)
	_ = c.MarkFlagFilename("svg", "svg")
	return c
}

func show(cmd *cobra.Command, name string, f showFlags) error {
	doc, err := open(name)
	if err != nil {
		return err
	}
	ch, err := parseChanges(f.sets, 0, []string{f.variant})
	if err != nil {
		return err
	}
	vs, err := prepare(doc, ch)
	if err != nil {
		return err
	}
	v, out := vs[0], cmd.OutOrStdout()
	switch {
	case f.measures:
		showMeasures(out, v)
		return nil
	case f.json:
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(v.plan)
	case f.svg == "-":
		return drawPlan(out, v.plan)
	case f.svg != "":
		var svg bytes.Buffer
		if err := drawPlan(&svg, v.plan); err != nil {
			return judgeless(err)
		}
		if err := os.WriteFile(f.svg, svg.Bytes(), 0o644); err != nil {
			return usagef("--svg: %w", err)
		}
		return nil
	}
	fmt.Fprint(out, v.plan.Scenario, "/", v.plan.Variant)
	if v.plan.Title != "" {
		fmt.Fprint(out, ": ", v.plan.Title)
	}
	fmt.Fprintf(out, "\nseed %d, plan %.16s, %s, %s\n", v.plan.Seed, v.plan.Fingerprint(), count(len(v.plan.Nodes), "node"), count(len(v.plan.Flows), "flow"))
	fmt.Fprintf(out, "to write: %s\n", objects(&v.plan.Objects))
	for _, t := range tables(v, f.all) {
		t.print(out, f.all)
	}
	return nil
}

// objects says what somebody has to write: "7 objects (6 on-ramps, 1 prefix)".
func objects(o *plan.Objects) string {
	total, parts := 0, []string(nil)
	for _, k := range []struct {
		n         int
		one, many string
	}{
		{o.OnRamps, "on-ramp", "on-ramps"}, {o.Networks, "prefix", "prefixes"}, {o.Routes, "route", "routes"}, {o.Connectors, "connector", "connectors"},
		{o.VNets, "virtual network", "virtual networks"}, {o.Policies, "policy", "policies"}, {o.Addresses, "egress address", "egress addresses"}, {o.Groups, "group", "groups"},
	} {
		total += k.n
		switch {
		case k.n == 1:
			parts = append(parts, "1 "+k.one)
		case k.n > 1:
			parts = append(parts, fmt.Sprint(k.n, " ", k.many))
		}
	}
	text := count(total, "object")
	if total > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}

// drawPlan writes the picture that the report would draw.
func drawPlan(w io.Writer, p *plan.Plan) error {
	title := p.Title
	if title == "" {
		title = p.Scenario
	}
	var facts []string
	for _, k := range []struct {
		kind plan.Kind
		noun string
	}{{plan.KindBranch, "site"}, {plan.KindDevice, "device"}, {plan.KindConnector, "connector"}, {plan.KindServer, "server"}, {plan.KindOrigin, "origin"}} {
		n := 0
		for i := range p.Nodes {
			if p.Nodes[i].Kind == k.kind {
				n++
			}
		}
		if n > 0 {
			facts = append(facts, count(n, k.noun))
		}
	}
	facts = append(facts, count(len(p.Flows), "flow"))
	return picture.Plain(journal.Topology(p)).Write(w, title, p.Scenario+"/"+p.Variant+" · "+strings.Join(facts, ", "))
}
