package fault

import (
	"fmt"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// tellAnew has customers' routers take routes back. What the datacenters make of it
// they hear from the sessions (Hear). The lock is held.
func (e *Engine) tellAnew(h *Handle, untold []plan.Learned) error {
	change := func(by int) error {
		for _, l := range untold {
			e.untold[l] += by
		}
		for i := range e.plan.Customers {
			s := &e.plan.Customers[i]
			mine := func(l plan.Learned) bool {
				return slices.ContainsFunc(s.Sessions, func(x plan.Session) bool { return x.OnRamp == l.OnRamp })
			}
			if !slices.ContainsFunc(untold, mine) {
				continue
			}
			if err := e.lab.Announce(s.Node, s.Told(func(l plan.Learned) bool { return e.untold[l] > 0 })); err != nil {
				return err
			}
		}
		return nil
	}
	h.undoes(func() error { return change(-1) })
	return change(1)
}

// Hear takes what a datacenter's session with a customer's router says of a route,
// and has it go into every datacenter's tables, unless that has lost the relay.
func (e *Engine) Hear(datacenter string, l plan.Learned, priority int, gone bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed && e.relay.Hear(datacenter, l, priority, gone) {
		e.spread("")
	}
}

// freeze has datacenters lose the relay. The lock is held.
func (e *Engine) freeze(h *Handle) {
	change := func(by int) {
		for _, name := range h.Fault.Datacenters {
			e.relay.Freeze(name, by)
		}
		e.spread(h.Fault.ID)
	}
	change(1)
	h.undoes(func() error { change(-1); return nil })
}

// spread puts what the relay has into the tables of every datacenter's servers, each
// after its propagation: what it has by then. The lock is held.
func (e *Engine) spread(fault string) {
	for _, d := range e.plan.Datacenters {
		time.AfterFunc(d.Propagation, func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.closed {
				return
			}
			err := e.lab.Reconfigure(func(c *hub.Config) { e.relay.Configure(c, d.Name) })
			if err != nil {
				e.fail(fmt.Errorf("fault %s: routes of %s: %w", fault, d.Name, err))
			}
		})
	}
}
