package run

import (
	"context"
	"errors"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Servers come up one after the other, and before the branches: a tunnel probed
// meanwhile would be found broken, and would be degraded for minutes. So they
// begin without probes, and probing begins when everything is up. They end the
// other way round: an answer may arrive at another server than the one that
// asked, and be lost with it.

// unprobe has a server probe nothing.
func unprobe(c *hub.Config) {
	c.OnRamps = slices.Clone(c.OnRamps)
	for i := range c.OnRamps {
		c.OnRamps[i].Probing = nil
	}
}

// probed says whether a server probes anything.
func probed(c hub.Config) bool {
	return slices.ContainsFunc(c.OnRamps, func(o hub.OnRamp) bool { return o.Probing != nil })
}

// probing has every server probe what its configuration says.
func (r *runner) probing(ctx context.Context) error {
	for i, a := range r.fleet.all() {
		c := r.plan.Servers[i].Config
		if !probed(c) {
			continue
		}
		if err := a.Reconfigure(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// quieten ends all probing, that of branch routers and of the servers that run.
func (r *runner) quieten() (err error) {
	if r.chooser != nil {
		err = r.chooser.Close()
	}
	if !slices.ContainsFunc(r.plan.Servers, func(s plan.Server) bool { return probed(s.Config) }) {
		return err
	}
	return errors.Join(err, faulty{r}.Reconfigure(unprobe))
}
