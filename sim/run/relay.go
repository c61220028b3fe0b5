package run

import (
	"slices"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// What customers' routers tell by BGP goes to a central relay, and from there into
// every datacenter's table after its propagation. A datacenter that has lost the
// relay keeps its table as it is, and has what it missed when it hears of it again
// (SEMANTICS 2.7, RT-15).

// tellAnew counts by how much more often routes of a fault are withdrawn, and has
// their routers say what they tell now.
func (f *faults) tellAnew(b *breakage, by int) {
	untold := b.plan.Untold()
	for _, l := range untold {
		f.untold[l] += by
	}
	for _, c := range f.world.customers {
		if slices.ContainsFunc(untold, func(l plan.Learned) bool { return l.OnRamp == c.session.OnRamp }) {
			c.tell(c.speaker.Told(func(l plan.Learned) bool { return f.untold[l] > 0 }))
		}
	}
}

// freeze counts by how many more faults datacenters have lost the relay.
func (f *faults) freeze(b *breakage, by int) {
	for _, name := range b.plan.Datacenters {
		f.relay.Freeze(name, by)
	}
	f.spread()
}

// hear takes what a datacenter's session says of a route.
func (f *faults) hear(datacenter string, l plan.Learned, priority int, gone bool) {
	if f.relay.Hear(datacenter, l, priority, gone) {
		f.spread()
	}
}

// spread puts what the relay has into every datacenter's tables, each after its
// propagation: what it has by then.
func (f *faults) spread() {
	for i, d := range f.world.plan.Datacenters {
		f.at(f.world.engine.Now().Add(d.Propagation), i, relays)
	}
}

// inform gives a datacenter's servers the routes that the relay has now.
func (f *faults) inform(datacenter string) error {
	return f.world.reconfigure(func(c *hub.Config) { f.relay.Configure(c, datacenter) })
}
