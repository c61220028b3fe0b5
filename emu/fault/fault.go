// Package fault breaks a running lab, and mends it.
//
// What a fault happens to is decided by the plan (plan.Fault). This is what
// happens, for every engine to mean the same:
//
//   - cut: no packet passes the links, in either direction, from the moment on;
//     what is on its way still arrives. The ends keep their carrier and are told
//     nothing, as when a line breaks behind equipment that stays lit.
//
//   - blackhole: as cut, in one direction: up is from the link's end A to B,
//     away from hosts and toward the middle of the Internet.
//
//   - flap: cut for half of Every, then whole for the other half, and so on.
//
//   - degrade: what comes from now on is treated as Impairment says, in both
//     directions, instead of as the link did; what is on its way is not.
//
//   - mtu of on-ramps: both ends of the tunnel take the MTU at once, as if their
//     own discovery had found it (RFC 4459): router and servers refuse what is
//     longer toward its sender, which learns (RFC 1191). MTU of links: both ends
//     take it, and nobody else is told. Whoever sends what is too big hears it
//     from the router before the link: of a tunnel's packets that is the branch
//     router, or any server, which tell those that sent what is inside. A server
//     knows the MTU of its own link.
//
//   - partition: as cut, of every link between what is selected and the rest.
//
//   - pause: a server does nothing, and forgets nothing: what arrives waits, as far
//     as there is room, until it goes on. A router forwards nothing.
//
//   - kill: a server is gone in the middle of whatever it did, with its flows.
//     When it heals, it starts anew and knows nothing. A router is a router
//     without power: as cut, of all its links.
//
//   - restart: a kill that heals at once, or after For.
//
//   - withdraw: the datacenter no longer announces an address. Where routers speak
//     BGP they find out by that; elsewhere the next nearest datacenter that
//     announces it takes what is sent there at once. If none does, it is dropped
//     where it enters the Internet.
//
//   - drain: the datacenter withdraws all addresses; Wait later its servers stop in
//     order: their sessions end and are recorded. Healing is in reverse: they start
//     anew, then the addresses are announced.
//
//   - withdraw of an on-ramp's: what its router told by BGP is taken back. That
//     goes to a central relay, and from there into every datacenter's tables after
//     its propagation (SEMANTICS 2.7).
//
//   - freeze: the datacenter has lost the relay. Its tables stay as they are; what
//     it missed it has when it hears of it again.
//
//   - reassign: a server's buckets are the others' of its datacenter from now on. It
//     keeps the flows that it has, whose packets the new homes hand to it (SEMANTICS
//     5.3), and its slices; new flows are the others'. If all of a datacenter's
//     servers are reassigned, all keep what they have. Healing gives them back.
//
// A datacenter notices that a server gives no sign of life (kill, pause, and the
// stop of a drain at once, since it is no surprise): plan.Detection later, its
// edge routes nothing to it any more, and every other server gets a configuration
// in which it is not live, so that its buckets have other owners and what it held
// is nobody's. When it is back, it is live again; what the others took over
// meanwhile stays reachable by the second hop (hub.Server.Was). A datacenter
// without a live server withdraws everything.
//
// Its law: what a fault changed is as it was when it has healed, and that is
// looked up, not assumed; what was not healed in time goes with the lab.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/thread"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Lab is what faults happen to. Its methods are safe for concurrent use.
type Lab interface {
	// NS is the namespace of a node.
	NS(node string) *netns.NS
	// Pause and Resume stop a server's process where it is, and let it go on.
	Pause(server string) error
	Resume(server string) error
	// Kill ends a server's process at once; Stop ends it in order. Revive starts
	// a new one without flows, and returns when it serves.
	Kill(server string) error
	Stop(server string) error
	Revive(server string) error
	// Reconfigure changes the configuration of every server and puts it in force
	// on those that run; a paused one gets it when it is resumed, a killed one when
	// it is revived.
	Reconfigure(change func(*hub.Config)) error
	// Sessions are those that live on a server now.
	Sessions(server string) ([]hub.Session, error)
	// Degrade has one direction of an impaired link do this, whatever is asked of
	// it otherwise; nil ends that.
	Degrade(link string, d impair.Direction, c *impair.Config) error
	// Announce makes these what a router that speaks BGP announces.
	Announce(node string, origins []bgp.Origin) error
	// Event takes a line of the time line.
	Event(record.Event)
}

// Engine breaks one lab. Its methods are safe for concurrent use.
type Engine struct {
	plan *plan.Plan
	lab  Lab

	mu sync.Mutex
	// links by id, open are the nodes' sockets.
	links map[string]*plan.Link
	open  map[string]*wire.Routes
	// muted counts who mutes an interface; taken are who holds what only one
	// fault can have at a time.
	muted map[iface]int
	taken map[string]string
	// withdrawn counts who withdrew a prefix in a datacenter; out are servers that
	// their edge routes nothing to. applied are the routes that differ from the plan.
	withdrawn map[plan.Announcement]int
	out       map[string]bool
	applied   map[string]map[netip.Prefix]plan.KernelRoute
	// learned are the steps of addresses that moved, so far.
	learned []plan.MoveStep
	// untold are routes that customers' routers have withdrawn, by so many faults;
	// relay is what the datacenters know of what they tell.
	untold map[plan.Learned]int
	relay  *plan.Relay
	// announced is what edges announce that is not the plan's.
	announced map[string][]bgp.Origin
	// silent are servers without a sign of life, and the timers that will notice.
	silent map[string]*time.Timer
	active []*Handle
	// moved are the faults that have had an address move, in order.
	moved  []plan.Fault
	closed bool
	fail   func(error)
}

type iface struct{ node, name string }

// New returns an engine for a lab that is up. fail takes errors of what happens
// by itself: a server that is noticed to be gone.
func New(p *plan.Plan, lab Lab, fail func(error)) *Engine {
	e := &Engine{
		plan: p, lab: lab, fail: fail, links: map[string]*plan.Link{}, open: map[string]*wire.Routes{},
		muted: map[iface]int{}, taken: map[string]string{}, withdrawn: map[plan.Announcement]int{}, out: map[string]bool{},
		applied: map[string]map[netip.Prefix]plan.KernelRoute{}, announced: map[string][]bgp.Origin{}, untold: map[plan.Learned]int{}, relay: plan.NewRelay(p), silent: map[string]*time.Timer{},
	}
	for i := range p.Links {
		e.links[p.Links[i].ID] = &p.Links[i]
	}
	return e
}

// Handle is a fault that has happened.
type Handle struct {
	Fault  plan.Fault
	engine *Engine
	// undo are what heals it, in reverse.
	undo []func() error
	stop func() // ends what it does by itself; nil if nothing
	// done is closed when it has done all of it; nil if that was at once.
	done chan struct{}
	once func() error
}

// ErrClosed is returned for faults of a lab that goes down.
var ErrClosed = errors.New("the lab goes down")

// Start has a fault happen now. If it cannot happen, nothing stays of it.
func (e *Engine) Start(ctx context.Context, f plan.Fault) (*Handle, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	h := &Handle{Fault: f, engine: e}
	h.once = sync.OnceValue(h.heal)
	e.tell(&f, "fault", journal.Happened(&f))
	if err := e.happen(ctx, h); err != nil {
		return nil, fmt.Errorf("fault %s: %w", f.ID, errors.Join(err, h.revert()))
	}
	e.active = append(e.active, h)
	return h, nil
}

// Heal mends the fault, and looks whether all is as it was. It is idempotent.
func (h *Handle) Heal() error { return h.once() }

func (h *Handle) heal() error {
	if h.stop != nil {
		h.stop()
	}
	e := h.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	e.active = slices.DeleteFunc(e.active, func(o *Handle) bool { return o == h })
	if e.closed {
		return nil // all of it goes with the lab
	}
	if err := h.revert(); err != nil {
		return fmt.Errorf("heal fault %s: %w", h.Fault.ID, err)
	}
	e.tell(&h.Fault, "healed", journal.Healed(&h.Fault))
	return nil
}

// revert undoes what was done, the last first. The lock is held.
func (h *Handle) revert() error {
	var errs []error
	for _, undo := range slices.Backward(h.undo) {
		errs = append(errs, undo())
	}
	h.undo = nil
	return errors.Join(errs...)
}

// undoes notes how a step is undone.
func (h *Handle) undoes(f func() error) { h.undo = append(h.undo, f) }

// Run has faults happen at their times, counted from base, and heals them after
// For. It returns when all that is to happen and heal before ctx ends has, with
// what went wrong.
func (e *Engine) Run(ctx context.Context, faults []plan.Fault, base time.Time) error {
	errs := make([]error, len(faults))
	var wait sync.WaitGroup
	for i, f := range faults {
		wait.Go(func() {
			thread.Controlling()
			errs[i] = e.life(ctx, f, base)
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func (e *Engine) life(ctx context.Context, f plan.Fault, base time.Time) error {
	if !until(ctx, base.Add(f.At.D())) {
		return nil
	}
	h, err := e.Start(ctx, f)
	if err != nil {
		return err
	}
	e.punctual(&h.Fault, "it has happened", base.Add(f.At.D()), toldMost)
	if h.done != nil {
		select {
		case <-h.done:
		case <-ctx.Done():
		}
	}
	if f.For == 0 && f.Do != spec.Restart {
		return nil
	}
	if !until(ctx, base.Add(f.At.D()+f.For.D())) {
		return nil
	}
	err = h.Heal()
	e.punctual(&h.Fault, "it has healed", base.Add(f.At.D()+f.For.D()), lateMost)
	return err
}

const (
	// lateMost is how much later than planned a fault may heal: a server that is begun
	// anew takes a part of that on a quiet machine. Flows that are lost beyond it say
	// nothing of the network.
	lateMost = 250 * time.Millisecond
	// toldMost is how much later than planned a fault may happen, and servers that run
	// learn something, which takes milliseconds: less than between two such moments of a
	// file.
	toldMost = 50 * time.Millisecond
)

// punctual says so where something was done later than it may be.
func (e *Engine) punctual(f *plan.Fault, what string, planned time.Time, most time.Duration) {
	if text := tardy(what, time.Since(planned), most); text != "" {
		e.lab.Event(record.Event{Kind: "saturated", Fault: f.ID, Node: f.On, Text: text})
	}
}

func tardy(what string, late, most time.Duration) string {
	if late <= most {
		return ""
	}
	return fmt.Sprintf("%s %v later than planned: this machine is too busy", what, late.Round(10*time.Millisecond))
}

// until sleeps; false if ctx ends first.
func until(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// Active are the faults that have happened and not healed, oldest first.
func (e *Engine) Active() []*Handle {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.active)
}

// Moved are the faults that have had an address move, be given up or be taken, in
// order: At counts them.
func (e *Engine) Moved() []plan.Fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.moved)
}

// Close ends everything that happens by itself; what is broken stays so, because
// the lab goes. Afterwards nothing starts and nothing heals. It is idempotent.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	stops := e.active
	e.active = nil
	for _, t := range e.silent {
		t.Stop()
	}
	e.mu.Unlock()
	for _, h := range stops {
		if h.stop != nil {
			h.stop()
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.open {
		r.Close()
	}
	clear(e.open)
	return nil
}

// tell writes a line of the time line.
func (e *Engine) tell(f *plan.Fault, kind, text string) {
	e.lab.Event(record.Event{Node: f.On, Kind: kind, Fault: f.ID, Text: text})
}
