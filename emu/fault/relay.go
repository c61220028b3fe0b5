package fault

import (
	"fmt"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// tellAnew has customers' routers withdraw routes. The lock is held.
func (e *Engine) tellAnew(h *Handle, untold []plan.Learned) {
	change := func(by int) {
		for _, l := range untold {
			e.untold[l] += by
		}
		for _, d := range e.plan.Datacenters {
			e.relay(h.Fault.ID, d)
		}
	}
	change(1)
	h.undoes(func() error { change(-1); return nil })
}

// freeze has datacenters lose the relay. The lock is held.
func (e *Engine) freeze(h *Handle) {
	change := func(by int) {
		for _, d := range e.plan.Datacenters {
			if slices.Contains(h.Fault.Datacenters, d.Name) {
				e.frozen[d.Name] += by
				e.relay(h.Fault.ID, d)
			}
		}
	}
	change(1)
	h.undoes(func() error { change(-1); return nil })
}

// relay puts what is told into the tables of a datacenter's servers, after its
// propagation: what is told by then.
func (e *Engine) relay(fault string, d plan.Datacenter) {
	time.AfterFunc(d.Propagation, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.closed || e.frozen[d.Name] > 0 {
			return
		}
		err := e.lab.Reconfigure(func(c *hub.Config) {
			e.plan.Relay(c, d.Name, func(l plan.Learned) bool { return e.untold[l] > 0 })
		})
		if err != nil {
			e.fail(fmt.Errorf("fault %s: routes of %s: %w", fault, d.Name, err))
		}
	})
}
