package hub

import (
	"errors"
	"fmt"
	"time"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/health"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Mid-flow failover (SEMANTICS 1.8). The tuple alone cannot tell a flow that
// moved from another site's, so on-ramps are grouped: a packet on any member of
// a group matches the flow, one on any other on-ramp never does (G2, ARR-12).

// Group is the on-ramps of one site (G1). Members are of one tenant and virtual
// network; only those with ARR take part (G6).
type Group struct {
	// Members in order, the primary first.
	Members []ident.OnRamp `json:"members"`
	// Repin is how long the member that a flow is pinned to must have been silent
	// before another that the client uses takes it over; 0 is at once (G3).
	Repin time.Duration `json:"repin"`
	// Failback says when a flow whose client uses the primary again goes back to
	// it (G4). Empty means immediate.
	Failback Failback `json:"failback,omitempty"`
	// HoldDown is how long a flow stays on a backup at least, with FailbackHoldDown.
	HoldDown time.Duration `json:"hold_down,omitempty"`
	// Predictive sends replies by the healthiest member while the one that the
	// flow is pinned to is down (G5).
	Predictive bool `json:"predictive"`
}

// Failback is when a flow goes back to the primary.
type Failback string

const (
	FailbackImmediate Failback = "immediate"
	FailbackHoldDown  Failback = "hold-down"
	FailbackNever     Failback = "never"
)

// group is a Group made ready.
type group struct {
	Group
	members []*onRamp
}

// pinned is what a grouped flow needs besides its on-ramp: when its client was
// last seen on that, and since when it is on it.
type pinned struct{ seen, since vt.Instant }

func (v *view) addGroups() error {
	var errs []error
	for i := range v.cfg.Groups {
		if err := v.addGroup(v.cfg.Groups[i]); err != nil {
			errs = append(errs, fmt.Errorf("group %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

func (v *view) addGroup(c Group) error {
	switch {
	case len(c.Members) < 2:
		return fmt.Errorf("want a primary and a backup, got %d members", len(c.Members))
	case c.Repin < 0 || c.HoldDown < 0:
		return errors.New("want times of 0 or more")
	}
	if err := known("failback", c.Failback, FailbackImmediate, FailbackHoldDown, FailbackNever); err != nil {
		return err
	}
	g := &group{Group: c}
	first := v.ramps[c.Members[0]]
	for _, id := range c.Members {
		r := v.ramps[id]
		switch {
		case r == nil || r.group != nil:
			return fmt.Errorf("on-ramp %d does not exist or is in another group", id)
		case r.Tenant != first.Tenant || r.VNet != first.VNet:
			return fmt.Errorf("on-ramp %q is of another tenant or virtual network than %q", r.Name, first.Name)
		case r.connected():
			return fmt.Errorf("on-ramp %q connects by itself: want tunnels and interconnects", r.Name)
		}
		if !r.ARR {
			continue // as if ungrouped (G6): it keeps its own scope
		}
		r.group = g
		g.members = append(g.members, r)
	}
	return nil
}

// follow notes by which member of its group a flow's client sends, and moves the
// flow to it if it has moved.
func (h *Hub) follow(now vt.Instant, w *work, i flow.Index, f *flow.Flow, out *Out) {
	p := h.pin(i)
	if w.ramp.ID == f.Return {
		p.seen = now
		return
	}
	old := h.v.ramps[f.Return]
	if old == nil || old.group != w.ramp.group || !h.moves(now, w.ramp, old, *p) {
		return
	}
	f.Return = w.ramp.ID
	*p = pinned{seen: now, since: now}
	h.count.Failovers++
	out.Events = append(out.Events, Event{Kind: Moved, At: now, Tuple: keyTuple(&f.Key), OnRamp: w.ramp.ID, Why: "from " + old.Name, Session: h.session(i, f)})
}

// moves decides whether a flow goes from one member to another that its client
// used just now (G3, G4).
func (h *Hub) moves(now vt.Instant, to, from *onRamp, p pinned) bool {
	g := to.group
	if h.Health(from.ID) == health.Down {
		return true
	}
	if to == g.members[0] {
		switch g.Failback {
		case FailbackNever:
			return false
		case FailbackHoldDown:
			return now.Sub(p.since) >= g.HoldDown
		}
		return true
	}
	return now.Sub(p.seen) >= g.Repin
}

// pin is what is kept of a grouped flow.
func (h *Hub) pin(i flow.Index) *pinned {
	if int(i) >= len(h.pins) {
		h.pins = append(h.pins, make([]pinned, int(i)+1-len(h.pins))...)
	}
	return &h.pins[i]
}

// healthiest is the member that replies leave by while the pinned one is down:
// the best of the group, in its order. If all are down, still the pinned one
// (G5).
func (h *Hub) healthiest(pinned *onRamp) *onRamp {
	best, state := pinned, health.Down
	for _, m := range pinned.group.members {
		if s := h.Health(m.ID); s < state {
			best, state = m, s
		}
	}
	return best
}
