package resident

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/emu/fault"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// damage is what was broken by hand and is not mended.
type damage struct {
	mu     sync.Mutex
	n      map[string]int // faults without an id so far, by what they do
	faults []*broken
}

type broken struct {
	control.Broken
	handle *fault.Handle
	lab    *run.Lab
	timer  *time.Timer // nil if it waits for somebody
}

// breakIt has a fault happen now.
func (k *keeper) breakIt(_ context.Context, c *control.Call, lab *run.Lab) error {
	var args control.BreakArgs
	if err := c.Args(&args); err != nil {
		return err
	}
	p := lab.Plan()
	d := &k.damage
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.meant(p, args.Fault, k.start.Name)
	if err != nil {
		return err
	}
	if _, err := lab.Fault(f); err != nil {
		hint := ""
		if near := spec.Nearest(f.On, p.Breakable()[f.Do]); near != "" {
			hint = "; did you mean " + near + "?"
		}
		return control.Usagef("%v%s", err, hint)
	}
	b, err := k.happen(lab, f, args.By)
	if run.Lacks(err) {
		return control.Lackf("%v", err)
	}
	if err != nil {
		return err
	}
	return c.Send(b.Broken)
}

// happen has a fault happen now, and heal when its time is over. The lock of
// damage is held.
func (k *keeper) happen(lab *run.Lab, f spec.Fault, by string) (*broken, error) {
	// Whoever asked may go; the fault stays.
	handle, err := lab.Break(context.Background(), f, by)
	if err != nil {
		return nil, err
	}
	b := &broken{Broken: control.Broken{Fault: handle.Fault.Fault, What: what(&handle.Fault), By: by, Since: time.Now()}, handle: handle, lab: lab}
	switch {
	case f.Do == spec.Restart && f.For == 0:
		b.Heals = b.Since
		return b, lab.Mend(handle, by)
	case f.For > 0:
		b.Heals = b.Since.Add(f.For.D())
		b.timer = time.AfterFunc(f.For.D(), func() { k.healed(b) })
	}
	k.damage.faults = append(k.damage.faults, b)
	return b, nil
}

// meant is the fault that is to happen, with an id that no other has. The lock
// is held.
func (d *damage) meant(p *plan.Plan, f spec.Fault, lab string) (spec.Fault, error) {
	if f.Do == "" {
		i := slices.IndexFunc(p.Faults, func(of plan.Fault) bool { return of.ID == f.ID })
		if i < 0 {
			return f, control.NoSuch("fault", f.ID, "the file of lab "+lab, fileFaults(p))
		}
		if d.has(f.ID) {
			return f, control.Usagef("%s has happened already and is not mended (homeward mend %s %s)", f.ID, lab, f.ID)
		}
		theirs := p.Faults[i].Fault
		if f.For > 0 {
			theirs.For = f.For
		}
		return theirs, nil
	}
	if d.n == nil {
		d.n = map[string]int{}
	}
	for {
		d.n[f.Do]++
		f.ID = fmt.Sprintf("%s-%d", f.Do, d.n[f.Do])
		if !slices.Contains(fileFaults(p), f.ID) {
			return f, nil
		}
	}
}

// has says whether a fault of that id is not mended. The lock is held.
func (d *damage) has(id string) bool {
	return slices.ContainsFunc(d.faults, func(b *broken) bool { return b.ID == id })
}

func fileFaults(p *plan.Plan) []string {
	var ids []string
	for _, f := range p.Faults {
		ids = append(ids, f.ID)
	}
	return ids
}

// what a fault is on, exactly.
func what(f *plan.Fault) []string {
	switch {
	case len(f.Servers)+len(f.Routers) > 0 && len(f.Datacenters) == 0:
		return slices.Concat(f.Servers, f.Routers)
	case len(f.Datacenters) > 0:
		return f.Datacenters
	case len(f.Links) > 0:
		return f.Links
	}
	return []string{f.On} // on-ramps, by their selector
}

// healed mends a fault whose time is over.
func (k *keeper) healed(b *broken) {
	if !k.damage.forget(b) {
		return
	}
	if err := b.lab.Mend(b.handle, ""); err != nil {
		k.store.Event(record.Event{AtNs: time.Since(k.began).Nanoseconds(), Node: b.On, Kind: "error", Text: err.Error()})
	}
}

// forget takes a fault off the list; false if it is not there any more.
func (d *damage) forget(b *broken) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.Index(d.faults, b)
	if i < 0 {
		return false
	}
	d.faults = slices.Delete(d.faults, i, i+1)
	if b.timer != nil {
		b.timer.Stop()
	}
	return true
}

func (d *damage) all() []*broken {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.faults)
}

// mend heals faults, the latest first, and tells of each.
func (k *keeper) mend(_ context.Context, c *control.Call, _ *run.Lab) error {
	var args control.MendArgs
	if err := c.Args(&args); err != nil {
		return err
	}
	all := k.damage.all()
	var ids []string
	for _, b := range all {
		ids = append(ids, b.ID)
	}
	for _, id := range args.IDs {
		if !slices.Contains(ids, id) {
			return control.NoSuch("fault", id, "what is broken in lab "+k.start.Name, ids)
		}
	}
	var errs []error
	for _, b := range slices.Backward(all) {
		if len(args.IDs) > 0 && !slices.Contains(args.IDs, b.ID) || !k.damage.forget(b) {
			continue
		}
		if err := b.lab.Mend(b.handle, args.By); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := c.Send(b.Broken); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// broken tells what is broken, and what can be.
func (k *keeper) broken(_ context.Context, c *control.Call, lab *run.Lab) error {
	p := lab.Plan()
	out := control.Breakable{Broken: []control.Broken{}, On: p.Breakable()}
	for _, b := range k.damage.all() {
		out.Broken = append(out.Broken, b.Broken)
	}
	for _, f := range p.Faults {
		out.Faults = append(out.Faults, f.Fault)
	}
	return c.Send(out)
}
