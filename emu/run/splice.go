package run

import (
	"fmt"
	"maps"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// A link that is a plain wire costs nothing and carries superpackets. So it stays
// one until somebody asks for more, and becomes one again when nobody does.

// spliced are the links that are led through the pump although they were built as
// wires of the kernel's. The lock of asked guards it.
type spliced struct {
	links map[string]*wire.Splice
	// watch are told of each new one.
	watch map[int]func(*wire.Splice)
	last  int
}

// carries says whether the pump knows a link.
func (r *runner) carries(link string) bool {
	if r.spliced.links[link] != nil {
		return true
	}
	for _, c := range wire.Cuts(r.plan) {
		if c.Link.ID == link {
			return true
		}
	}
	return false
}

// built is what a link that the pump does not carry does by itself.
func (r *runner) built(link string, d impair.Direction) impair.Config {
	for i := range r.plan.Links {
		if l := &r.plan.Links[i]; l.ID == link {
			return l.Impair(d)
		}
	}
	return impair.Config{}
}

// splice has the pump know a link that was built as a wire of the kernel's. The
// lock of asked is held.
func (r *runner) splice(l *plan.Link) error {
	if err := r.carrying(); err != nil {
		return err
	}
	at := 2 + 2*(len(wire.Cuts(r.plan))+len(r.spliced.links)) // lo is 1
	s, err := wire.MakeSplice(l, at, r.lab.NS)
	if err != nil {
		return err
	}
	if err := r.carrier.Add(s.Cut); err != nil {
		return err
	}
	if err := r.meter.Add(r.lab.NS, l, s.Ends()); err != nil {
		return err
	}
	if r.spliced.links == nil {
		r.spliced.links = map[string]*wire.Splice{}
	}
	r.spliced.links[l.ID] = s
	for _, e := range s.Ends() {
		if t := r.taps[e.Node]; t != nil && e.Interface == hostInterface {
			if err := t.Beside(r.lab.NS(e.Node), e.Sees); err != nil {
				return fmt.Errorf("tap on %s: %w", e.Node, err)
			}
		}
	}
	for _, tell := range r.spliced.watch {
		tell(s)
	}
	return nil
}

// carrying starts the engine of a lab that came up without one.
func (r *runner) carrying() (err error) {
	if r.carrier != nil {
		return nil
	}
	if err := r.lab.Middle(); err != nil {
		return err
	}
	c, err := r.carry(nil)
	if err != nil {
		return err
	}
	r.onDown(c.Stop)
	if r.meter, err = pump.StartMeter(r.lab.NS, &plan.Plan{}); err != nil {
		return err
	}
	r.onDown(r.meter.Close)
	r.carrier = c
	r.raising.Lock()
	defer r.raising.Unlock()
	r.manifest.Features = maps.Clone(r.manifest.Features) // somebody may read it
	r.manifest.Features["wire"] = r.wireFeature()
	return nil
}

// lead has a spliced link go by the pump as long as it is to do anything that it
// does not do by itself. The lock of asked is held.
func (r *runner) lead(l *plan.Link) error {
	s := r.spliced.links[l.ID]
	if s == nil {
		return nil
	}
	for _, d := range []impair.Direction{impair.AB, impair.BA} {
		if !same(r.asked.config(l, d), r.built(l.ID, d)) {
			return s.Lead()
		}
	}
	return s.Release()
}

// OnSplice tells of every link that is spliced from now on, and of those that
// are, until cancel: what their ends send is seen on other interfaces.
func (l *Lab) OnSplice(tell func(*wire.Splice)) (cancel func()) {
	l.r.asked.mu.Lock()
	defer l.r.asked.mu.Unlock()
	s := &l.r.spliced
	for _, one := range s.links {
		tell(one)
	}
	if s.watch == nil {
		s.watch = map[int]func(*wire.Splice){}
	}
	s.last++
	id := s.last
	s.watch[id] = tell
	return func() {
		l.r.asked.mu.Lock()
		defer l.r.asked.mu.Unlock()
		delete(s.watch, id)
	}
}
