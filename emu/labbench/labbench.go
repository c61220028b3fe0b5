// Package labbench measures the lab for `homeward bench lab`: how exactly an
// impaired link delays, how many packets it can carry, what a link costs to
// make, and how long a whole lab takes to come up and to go.
//
// Its law is that of all benches: a number is printed beside what it is compared
// with, measured in the same run and interleaved, and results are checked before
// speed is. It brings up labs of its own and leaves nothing.
package labbench

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Goals, and how they are measured.
const (
	goalP50    = 100  // µs beyond the delay
	goalP99    = 300  // µs
	goalPacket = 1000 // ns of a processor for each packet: a million a second
	goalWiring = 40   // times faster than create-then-move

	delay = 5 * time.Millisecond
	rate  = 20000 // packets a second
)

// Bench says how to measure. Pump is required: how its child is started; and so
// is Star.
type Bench struct {
	Pump pump.Options
	// Star are the arguments with which the same program calls StarMain; the number
	// of nodes follows.
	Star []string
	// Rounds, of which medians are taken; 0 means 5.
	Rounds int
	// Length of the packets' part of a round; 0 means a second.
	Length time.Duration
	// Short leaves out what takes minutes: a thousand nodes.
	Short bool
}

// Run measures.
func (b Bench) Run(ctx context.Context) ([]figure.Row, error) {
	b.Rounds, b.Length = cmp.Or(b.Rounds, 5), cmp.Or(b.Length, time.Second)
	rows, err := b.wireRows(ctx)
	if err != nil {
		return rows, err
	}
	wiring, err := b.wiringRow(ctx)
	if err != nil {
		return rows, err
	}
	labs, err := b.labRows(ctx)
	return append(append(rows, wiring), labs...), err
}

// wireRows are the delay beside the machine's timers, and the price of a packet.
func (b *Bench) wireRows(ctx context.Context) ([]figure.Row, error) {
	var wire, floor [2][]float64 // 50th and 99th percentile, µs
	var price []float64          // ns
	sound := true
	for range b.Rounds {
		f, err := timerFloor(b.Length / 2)
		if err != nil {
			return nil, err
		}
		d, err := b.delayed(ctx)
		if err != nil {
			return nil, err
		}
		n, err := b.flooded(ctx)
		if err != nil {
			return nil, err
		}
		for i := range wire {
			wire[i], floor[i] = append(wire[i], d.over[i]), append(floor[i], f[i])
		}
		sound = sound && d.sound
		price = append(price, n)
	}
	var rows []figure.Row
	for i, at := range []struct {
		id   string
		goal float64
	}{{"lab.delay_p50_us", goalP50}, {"lab.delay_p99_us", goalP99}} {
		rows = append(rows, figure.Cost(at.id, median(wire[i]), "µs").Beside("timer floor", median(floor[i])).Bound(at.goal).Checked(sound))
	}
	return append(rows, priceRows(median(price))...), nil
}

// priceRows are what a packet costs, and how many that makes a second when a
// processor does nothing else: the kernel's part of sending and receiving it
// counts, as it takes that processor's time, too.
func priceRows(ns float64) []figure.Row {
	return []figure.Row{
		figure.Cost("lab.wire_packet_ns", ns, "ns").Bound(goalPacket),
		figure.Rate("lab.wire_mpps", 1e3/ns, "Mpps a processor").Bound(1e3 / float64(goalPacket)),
	}
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// addresses of the two hosts of every lab here.
var left, right = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")

// pair is a plan of two hosts with some links between them, the first of which
// has addresses and does this to packets.
func pair(links int, im spec.Impairment) *plan.Plan {
	p := &plan.Plan{Scenario: "bench", Seed: 1, Nodes: []plan.Node{{ID: "left", Kind: plan.KindHost}, {ID: "right", Kind: plan.KindHost}}}
	for i := range links {
		l := plan.Link{ID: fmt.Sprintf("link%d", i), MTU: 1500}
		for side, e := range map[byte]*plan.Endpoint{1: &l.A, 2: &l.B} {
			*e = plan.Endpoint{Node: map[byte]string{1: "left", 2: "right"}[side], Interface: fmt.Sprintf("eth%d", i), MAC: net.HardwareAddr{2, side, 0, 0, byte(i >> 8), byte(i)}}
		}
		if i == 0 {
			l.AB, l.BA = im, im
			l.A.Addresses, l.A.Neighbors = []netip.Prefix{netip.PrefixFrom(left, 24)}, []netip.Addr{right}
			l.B.Addresses, l.B.Neighbors = []netip.Prefix{netip.PrefixFrom(right, 24)}, []netip.Addr{left}
		}
		p.Links = append(p.Links, l)
	}
	return p
}
