package run

import (
	"strings"

	"github.com/homeward-lab/homeward/emu/cpe"
	"github.com/homeward-lab/homeward/reports/record"
)

// routers have the branch routers choose that have a choice.
func (r *runner) routers() error {
	var all []cpe.Router
	for i := range r.plan.Branches {
		if b := &r.plan.Branches[i]; b.Choice != nil {
			all = append(all, cpe.Router{Node: b.Node, NS: r.lab.NS(b.Node), Choice: b.Choice})
		}
	}
	if all == nil {
		return nil
	}
	c, err := cpe.Start(all, func(s cpe.Switch) {
		r.event(record.Event{AtNs: r.since(s.At), Kind: "chosen", Node: s.Node, OnRamp: strings.Join(s.Ways, " "), Text: s.String()})
	})
	if err != nil {
		return err
	}
	r.chooser = c
	r.closers = append(r.closers, c.Close)
	return nil
}
