package run

import (
	"context"

	"github.com/homeward-lab/homeward/emu/uplink"
	"github.com/homeward-lab/homeward/reports/record"
)

// sweep takes back what runs before this one have left on the machine, because
// they were killed: connections to the outside, and nothing else of a lab.
func (r *runner) sweep(ctx context.Context) {
	if _, err := uplink.Sweep(ctx, uplink.Options{}); err != nil {
		r.event(record.Event{Kind: "error", Text: err.Error()})
	}
}

// uplink connects a host to the outside, as its file asks.
func (r *runner) uplink(ctx context.Context, i int) error {
	u := r.plan.Uplinks[i]
	c, err := uplink.Connect(ctx, u, r.lab.NS(u.Node), uplink.Options{})
	if err != nil {
		return err
	}
	r.manifest.Features["uplink"] = "CNI plugins of the machine's"
	r.onDown(c.Close)
	return nil
}
