package run

import (
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// What customers' routers tell by BGP goes to a central relay, and from there into
// every datacenter's table after its propagation. A datacenter that has lost the
// relay keeps its table as it is, and has what it missed when it hears of it again
// (SEMANTICS 2.7, RT-15).

// tellAnew counts by how much more often routes of a fault are withdrawn.
func (f *faults) tellAnew(b *breakage, by int) {
	untold := b.plan.Untold()
	for _, l := range untold {
		f.untold[l] += by
	}
	if untold == nil {
		return
	}
	for i, d := range f.world.plan.Datacenters {
		f.at(f.world.engine.Now().Add(d.Propagation), i, relays)
	}
}

// freeze counts by how many more faults datacenters have lost the relay.
func (f *faults) freeze(b *breakage, by int) {
	for i, d := range f.world.plan.Datacenters {
		for _, name := range b.plan.Datacenters {
			if name == d.Name {
				f.frozen[name] += by
				f.at(f.world.engine.Now().Add(d.Propagation), i, relays)
			}
		}
	}
}

// relay puts what is told now into the tables of a datacenter's servers.
func (f *faults) relay(datacenter string) error {
	if f.frozen[datacenter] > 0 {
		return nil
	}
	return f.world.reconfigure(func(c *hub.Config) {
		f.world.plan.Relay(c, datacenter, func(l plan.Learned) bool { return f.untold[l] > 0 })
	})
}
