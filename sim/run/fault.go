package run

import (
	"errors"
	"fmt"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// faults are the plan's, at work. What each does is what the lab's do (emu/fault).
type faults struct {
	world  *world
	all    []*breakage
	entity engine.Entity
	// taken are who holds what only one fault can have at a time.
	taken map[string]string
	// withdrawn are announcements, once for each fault that withdrew them; out are
	// servers that their edge routes nothing to.
	withdrawn []plan.Announcement
	out       map[string]bool
	// untold are routes that customers' routers have withdrawn, once for each fault
	// that has; relay is what the datacenters know of what they tell.
	untold  map[plan.Learned]int
	relay   *plan.Relay
	applied map[string][]plan.KernelRoute // by node: what differs from the plan
	// learned are the steps of addresses that moved, so far.
	learned []plan.MoveStep
	end     vt.Instant // when the last has happened and healed
}

// breakage is one fault.
type breakage struct {
	plan *plan.Fault
	// active: it has happened and not healed. cut: its links are muted now.
	active, cut bool
	// down are the servers that it stopped.
	down []*server
	// step is the next of the plan's moves, held what was told of the address.
	step int
	held []hub.Held
}

// What an event of a fault's means, in the lowest bits of its argument; the rest
// is the fault's index.
const (
	happens uint32 = iota
	heals
	turns
	drains
	moves
	relays    // the index is a datacenter's
	faultBits = 3
)

// schedule has the plan's faults happen, from the start of traffic on.
func (w *world) schedule(base vt.Instant, late Late) {
	f := &w.faults
	*f = faults{world: w, entity: w.entity(), taken: map[string]string{}, out: map[string]bool{}, untold: map[plan.Learned]int{}, relay: plan.NewRelay(w.plan), applied: map[string][]plan.KernelRoute{}}
	for i := range w.plan.Faults {
		p := &w.plan.Faults[i]
		f.all = append(f.all, &breakage{plan: p})
		happened := base.Add(p.At.D() + of(late.Faults, i))
		f.at(happened, i, happens)
		end := happened
		if p.For > 0 || p.Do == spec.Restart {
			end = max(happened, base.Add(p.At.D()+p.For.D()+of(late.Heals, i)))
			f.at(end, i, heals)
		}
		for _, s := range p.Moves {
			end = max(end, happened.Add(s.At))
		}
		f.end = max(f.end, end)
	}
}

func (f *faults) at(at vt.Instant, i int, what uint32) {
	f.world.engine.At(at, classFault, f.entity, kindFault, uint32(i)<<faultBits|what)
}

// handle takes an event of a fault's.
func (f *faults) handle(arg uint32) {
	if arg&(1<<faultBits-1) == relays {
		if err := f.inform(f.world.plan.Datacenters[arg>>faultBits].Name); err != nil {
			f.world.fail(err)
		}
		return
	}
	i, b := int(arg>>faultBits), f.all[arg>>faultBits]
	var err error
	switch arg & (1<<faultBits - 1) {
	case happens:
		b.active = true
		f.tell(b, "fault", journal.Happened(b.plan))
		err = f.happen(i, b)
	case heals:
		b.active = false
		if err = f.heal(b); err == nil {
			f.tell(b, "healed", journal.Healed(b.plan))
		}
	case turns:
		if b.active {
			f.mute(b, !b.cut)
			f.turn(i, b)
		}
	case drains:
		if b.active {
			err = f.stop(b)
		}
	case moves:
		err = f.move(b)
	}
	if err != nil {
		f.world.fail(fmt.Errorf("fault %s: %w", b.plan.ID, err))
	}
}

func (f *faults) tell(b *breakage, kind, text string) {
	f.world.event(record.Event{Node: b.plan.On, Kind: kind, Fault: b.plan.ID, Text: text})
}

// happen does what the fault does.
func (f *faults) happen(i int, b *breakage) error {
	switch b.plan.Do {
	case spec.Cut, spec.Partition, spec.Blackhole:
		f.mute(b, true)
	case spec.Flap:
		f.mute(b, true)
		f.turn(i, b)
	case spec.Degrade:
		return f.degrade(b, true)
	case spec.LowerMTU:
		return f.lower(b, true)
	case spec.Pause, spec.Kill, spec.Restart:
		f.mute(b, true) // a router is its links, for all that others can tell
		return f.silence(b)
	case spec.Move, spec.Release, spec.Allocate:
		for _, s := range b.plan.Moves {
			f.at(f.world.engine.Now().Add(s.At), i, moves)
		}
	case spec.Freeze:
		f.freeze(b, 1)
	case spec.Reassign:
		return f.reassign(b, true)
	case spec.Withdraw, spec.Drain:
		f.tellAnew(b, 1)
		for _, d := range b.plan.Datacenters {
			for _, p := range b.plan.Prefixes {
				f.withdrawn = append(f.withdrawn, plan.Announcement{Datacenter: d, Prefix: p})
			}
		}
		if b.plan.Do == spec.Drain {
			f.at(f.world.engine.Now().Add(b.plan.Wait.D()), i, drains)
		}
		return f.reroute()
	default:
		return fmt.Errorf("no fault is called %q", b.plan.Do)
	}
	return nil
}

// heal undoes it, in reverse.
func (f *faults) heal(b *breakage) error {
	var errs []error
	for _, s := range slices.Backward(b.down) {
		errs = append(errs, f.back(b, s))
	}
	b.down = nil
	f.mute(b, false)
	switch b.plan.Do {
	case spec.Degrade:
		errs = append(errs, f.degrade(b, false))
	case spec.LowerMTU:
		errs = append(errs, f.lower(b, false))
	case spec.Freeze:
		f.freeze(b, -1)
	case spec.Reassign:
		errs = append(errs, f.reassign(b, false))
	case spec.Withdraw, spec.Drain:
		f.tellAnew(b, -1)
		for _, d := range b.plan.Datacenters {
			for _, p := range b.plan.Prefixes {
				k := slices.Index(f.withdrawn, plan.Announcement{Datacenter: d, Prefix: p})
				f.withdrawn = slices.Delete(f.withdrawn, k, k+1)
			}
		}
		errs = append(errs, f.reroute())
	}
	return errors.Join(errs...)
}
