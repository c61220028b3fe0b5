package main

import (
	"bytes"
	"context"

	"github.com/homeward-lab/homeward/dataplane/hub/hubbench"
	"github.com/homeward-lab/homeward/emu/labbench"
	"github.com/homeward-lab/homeward/emu/pathbench"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/topologies/export"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

func benchLab(ctx context.Context) ([]hubbench.Row, error) {
	return labbench.Bench{Pump: pump.Options{Exe: "/proc/self/exe", Args: []string{pumpCommand}}}.Run(ctx)
}

func benchDataplane(ctx context.Context) ([]hubbench.Row, error) {
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
