package main

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
)

// links are those that are more than a plain wire.
func (s *shown) links() *table {
	t := &table{title: "Links that are no plain wires, from the first end to the second and back", header: []string{"FROM", "TO", "UP", "DOWN"}}
	for i := range s.plan.Links {
		l := &s.plan.Links[i]
		if !l.Impaired() && !l.Shaped() {
			continue
		}
		up, down := impairment(l.Impair(impair.AB)), impairment(l.Impair(impair.BA))
		if up == down {
			down = "the same"
		}
		t.add(l.A.Node, l.B.Node, up, down)
	}
	return t
}

// impairment says in a line what a direction of a link does.
func impairment(c impair.Config) string {
	var all []string
	say := func(name, value string, is bool) {
		if is {
			all = append(all, name+" "+value)
		}
	}
	share := func(x float64) string { return strconv.FormatFloat(math.Round(x*1e6)/1e4, 'f', -1, 64) + "%" }
	round := func(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
	say("delay", round(c.Delay), c.Delay > 0)
	say("jitter", strings.TrimSpace(round(c.Jitter)+" "+string(c.Distribution)), c.Jitter > 0)
	say("loss", share(c.Loss), c.Loss > 0)
	say("in bursts of", strconv.FormatFloat(c.LossBurst, 'g', 3, 64), c.LossBurst > 0)
	say("reorder", share(c.Reorder), c.Reorder > 0)
	say("duplicate", share(c.Duplicate), c.Duplicate > 0)
	say("corrupt", share(c.Corrupt), c.Corrupt > 0)
	say("rate", c.Rate.String(), c.Rate > 0)
	say("queue", c.Queue.String(), c.Queue > 0)
	say("marks after", round(c.CEThreshold), c.CEThreshold > 0)
	say("rate by", "a trace", c.Trace != nil)
	if all == nil {
		return "plain"
	}
	return strings.Join(all, ", ")
}
