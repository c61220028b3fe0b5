package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// move lets datacenters learn, one step after another, that an address moves. It
// returns at once.
func (e *Engine) move(ctx context.Context, h *Handle) {
	f := h.Fault
	f.At = unit.Duration(len(e.moved))
	e.moved = append(e.moved, f)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var moving sync.WaitGroup
	h.stop = sync.OnceFunc(func() { cancel(); moving.Wait() })
	h.done = make(chan struct{})
	began := time.Now()
	moving.Go(func() {
		defer close(h.done)
		var held []hub.Held
		for i := range h.Fault.Moves {
			s := &h.Fault.Moves[i]
			if !until(ctx, began.Add(s.At)) {
				return
			}
			var err error
			more := i+1 < len(h.Fault.Moves) && h.Fault.Moves[i+1].At == s.At
			if held, err = e.step(h, s, held, !more); err != nil {
				e.fail(fmt.Errorf("fault %s: %w", h.Fault.ID, err))
				return
			}
			e.punctual(&h.Fault, s.Text(&h.Fault)+":", began.Add(s.At), toldMost)
		}
	})
}

// step lets the servers of one datacenter learn a step. It returns the flows that
// go on where the address was. Edges route by it with the last of the steps of a moment.
func (e *Engine) step(h *Handle, s *plan.MoveStep, held []hub.Held, last bool) ([]hub.Held, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return held, nil
	}
	err := e.lab.Reconfigure(func(c *hub.Config) {
		if !s.Concerns(e.plan, c.Self) {
			return
		}
		told := held
		if s.Datacenter != h.Fault.To {
			told = nil
		}
		s.Apply(c, told)
	})
	e.learned = append(e.learned, *s)
	if last {
		err = errors.Join(err, e.follow(h.Fault.To))
	}
	e.tell(&h.Fault, "step", s.Text(&h.Fault))
	if !s.Hands {
		return held, err
	}
	for i := range e.plan.Servers {
		x := &e.plan.Servers[i]
		if x.Datacenter != s.Datacenter || e.out[x.Node] {
			continue
		}
		sessions, asked := e.lab.Sessions(x.Node)
		err = errors.Join(err, asked)
		held = append(held, hub.Occupies(x.Config.Self, slices.Values(sessions), s.Entry.Addr)...)
	}
	return held, err
}

// follow has edges route by what their datacenters have learned, that of the datacenter
// which gets an address first: while it still sent to where the address was, and that
// already here, each would send the other its replies.
func (e *Engine) follow(to string) error {
	for i := range e.plan.Nodes {
		if n := &e.plan.Nodes[i]; n.Kind == plan.KindEdge && n.Datacenter == to {
			if err := e.apply(n, e.wanted(n)); err != nil {
				return fmt.Errorf("routes of %s: %w", n.ID, err)
			}
		}
	}
	return e.reroute()
}
