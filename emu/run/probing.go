package run

import (
	"context"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Servers come up one after the other, and before the branches: a tunnel probed
// meanwhile would be found broken, and would be degraded for minutes. So they
// begin without probes, and probing begins when everything is up.

// unprobed is a server that probes nothing yet.
func unprobed(s plan.Server) plan.Server {
	s.Config.OnRamps = slices.Clone(s.Config.OnRamps)
	for i := range s.Config.OnRamps {
		s.Config.OnRamps[i].Probing = nil
	}
	return s
}

// probing has every server probe what its configuration says.
func (r *runner) probing(ctx context.Context) error {
	for i, a := range r.fleet.all() {
		c := r.plan.Servers[i].Config
		if !slices.ContainsFunc(c.OnRamps, func(o hub.OnRamp) bool { return o.Probing != nil }) {
			continue
		}
		if err := a.Reconfigure(ctx, c); err != nil {
			return err
		}
	}
	return nil
}
