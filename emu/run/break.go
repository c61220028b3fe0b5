package run

import (
	"context"
	"fmt"
	"sync"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/emu/fault"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// hands are who breaks and mends by hand, by fault.
type hands struct {
	mu sync.Mutex
	by map[string]string
}

func (h *hands) of(fault string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.by[fault]
}

func (h *hands) set(fault, by string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by == nil {
		h.by = map[string]string{}
	}
	h.by[fault] = by
}

// Fault is what a fault would happen to now. Where an address is depends on what has
// happened to it, and not on what the file would do.
func (l *Lab) Fault(f spec.Fault) (plan.Fault, error) {
	now := *l.Plan()
	now.Faults = l.r.faults.Moved()
	f.At = unit.Duration(len(now.Faults))
	d, err := now.Fault(f)
	d.At = 0
	return d, err
}

// Break has a fault happen now, until it is mended: the file's words, on a lab
// that is up. The time line says by whom; empty means by itself.
func (l *Lab) Break(ctx context.Context, f spec.Fault, by string) (*fault.Handle, error) {
	d, err := l.Fault(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.On, err)
	}
	l.r.hands.set(f.ID, by)
	return l.r.faults.Start(ctx, d)
}

// Mend heals a fault, and looks whether all is as it was before.
func (l *Lab) Mend(h *fault.Handle, by string) error {
	l.r.hands.set(h.Fault.ID, by)
	return h.Heal()
}

// Broken are the faults that have happened and not healed.
func (l *Lab) Broken() []*fault.Handle { return l.r.faults.Active() }
