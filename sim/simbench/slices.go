package simbench

import (
	"context"
	"fmt"
	"math"

	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/sim/load"
	"github.com/homeward-lab/homeward/sim/stat"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// A datacenter as full as an address can be: 31 servers, one slice each, a load that
// is refused now and then, times of a heavy tail.
const (
	sliceServers = 31
	sliceErlang  = 1900.0
	sliceFlows   = 5_000_000
	sliceSigma   = 1.5
	goalSlices   = 5_000_000
)

// slices is flows that want ports toward one destination, beside Erlang's formula
// B, which says how many of them find none: in steady state that does not depend on
// how long each holds its port.
func (b *Bench) slices(ctx context.Context) ([]figure.Row, error) {
	rate := sliceServers * sliceErlang
	g := load.Group{Servers: sliceServers, Seed: 1}
	g.Hold(spec.Draw{Kind: spec.LogNormal, A: math.Exp(-sliceSigma * sliceSigma / 2), B: sliceSigma}, 0)
	rate /= g.Mean
	g.Rate, g.Until = []float64{rate}, []float64{float64(b.work(sliceFlows)) / rate}
	var speed, off []float64 // off the formula: of refused tries, 0 on the mean
	var truth, refused, tries float64
	for i := range b.Rounds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var p *load.Played
		g.Seed = uint64(i + 1) // rounds are independent, which batches of one are not
		took, err := timed(func() (err error) { p, err = g.Play(); return err })
		if err != nil {
			return nil, err
		}
		truth = g.Formula(rate, p.Ports)
		speed = append(speed, float64(p.Flows[0])/took.Seconds())
		off = append(off, float64(p.Refused[0])/float64(p.Tries[0])-truth)
		refused, tries = refused+float64(p.Refused[0]), tries+float64(p.Tries[0])
	}
	row := figure.Rate("sim.slice_flows_per_s", median(speed), "flows/s").Bound(goalSlices)
	row.Baseline = fmt.Sprintf("Erlang B %.3g, played %.3g", truth, refused/tries)
	if e, err := stat.Mean(off, 0.99); err == nil {
		row.Baseline += fmt.Sprintf(" ± %.1g", e.Half)
		row = row.Checked(e.Holds(0))
	}
	return []figure.Row{row}, nil
}
