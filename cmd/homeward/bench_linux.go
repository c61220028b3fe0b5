package main

import (
	"bytes"
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/homeward-lab/homeward/emu/labbench"
	"github.com/homeward-lab/homeward/emu/pathbench"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/topologies/export"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

func benchLab(ctx context.Context) ([]figure.Row, error) {
	return labbench.Bench{Pump: pump.Options{Exe: "/proc/self/exe", Args: []string{pumpCommand}}, Star: []string{starCommand}}.Run(ctx)
}

// starCommand is the hidden subcommand whose process bench lab kills.
const starCommand = "star"

func newStar() *cobra.Command {
	return &cobra.Command{
		Use: starCommand + " NODES [empty]", Hidden: true, Args: cobra.RangeArgs(1, 2),
		Short: "Bring up a star and be killed (started by bench lab)",
		RunE: func(_ *cobra.Command, args []string) error {
			if err := labbench.StarMain(os.Stdin, os.Stdout, args); err != nil {
				return judgeless(err)
			}
			return nil
		},
	}
}

func benchDataplane(ctx context.Context) ([]figure.Row, error) {
	doc, err := load.Bytes("bench.yaml", []byte(pathbench.Scenario))
	if err != nil {
		return nil, err
	}
	return pathbench.Bench{
		Lab: ownCommands(),
		Compile: func(servers int) (*plan.Plan, error) {
			s, err := doc.Resolve(spec.Base, nil)
			if err != nil {
				return nil, err
			}
			s.Datacenters[0].Servers = servers
			return plan.CompileVariant(s, spec.Base)
		},
		Script: func(p *plan.Plan) ([]byte, error) {
			var script bytes.Buffer
			err := export.NFTables(&script, p)
			return script.Bytes(), err
		},
	}.Run(ctx)
}
