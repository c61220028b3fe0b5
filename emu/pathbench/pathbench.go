// Package pathbench measures servers' dataplanes for `homeward bench dataplane`:
// what a small packet costs on its way through one server, and what TCP reaches
// over a whole path, each way to build a server beside the others.
//
// Its law is that of all benches: a number is printed beside what it is compared
// with, measured in the same run and interleaved, and results are checked before
// speed is. Every way has namespaces of its own, so that nothing of one slows
// another, and nothing of them stays.
package pathbench

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Scenario is the network that is measured; its server count is 1 for single
// packets and 2 for the whole path, where packets are handed over.
const Scenario = `version: 1
name: bench
seed: 7
datacenters: [{id: lhr, servers: 1, egress: [198.51.100.0/30]}]
sites: [{id: shop, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [http, echo]}]
traffic: [{id: one, from: shop.1.till, to: web, tcp: 80}]
checks: [{id: ok, expect: "one.ok == 1"}]
`

// Bench says how to measure. All fields but Rounds and Length are required.
type Bench struct {
	// Compile makes a plan of Scenario with so many servers.
	Compile func(servers int) (*plan.Plan, error)
	// Script is the do-it-yourself baseline for a plan (topologies/export).
	Script func(*plan.Plan) ([]byte, error)
	// Lab says how labs start their children.
	Lab run.Options
	// Rounds, of which medians are taken; 0 means 7.
	Rounds int
	// Length of one measurement; 0 means 300 ms.
	Length time.Duration
}

// Run measures. What cannot run here is named in a baseline, never guessed.
func (b Bench) Run(ctx context.Context) ([]figure.Row, error) {
	b.Rounds, b.Length = cmp.Or(b.Rounds, 7), cmp.Or(b.Length, 300*time.Millisecond)
	var rows []figure.Row
	for _, part := range []func(context.Context) ([]figure.Row, error){b.kernelRows, b.packetRows, b.bulkRows} {
		more, err := part(ctx)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
		if err := context.Cause(ctx); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// closers are closed in reverse.
type closers []func() error

func (c closers) close() error {
	var errs []error
	for i := len(c) - 1; i >= 0; i-- {
		errs = append(errs, c[i]())
	}
	return errors.Join(errs...)
}
