package run

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// asked is what links are to do: as the plan says or somebody by hand; what a
// fault says goes before both as long as it lasts.
type asked struct {
	mu   sync.Mutex
	ways map[way]*wish
	// planned are the links as the plan in force has them.
	planned map[string]*plan.Link
}

// follow makes a plan the one in force.
func (a *asked) follow(p *plan.Plan) {
	a.planned = map[string]*plan.Link{}
	for i := range p.Links {
		a.planned[p.Links[i].ID] = &p.Links[i]
	}
}

// way is one direction of a link.
type way struct {
	link string
	d    impair.Direction
}

type wish struct {
	// hand is nil where the plan holds, and degraded where no fault does.
	hand     *spec.Impairment
	degraded *impair.Config
	by       string
	since    time.Time
	// before are the counters when the direction was changed last.
	before impair.Counters
	silent uint64
}

func (a *asked) of(w way) *wish {
	if a.ways == nil {
		a.ways = map[way]*wish{}
	}
	if a.ways[w] == nil {
		a.ways[w] = &wish{}
	}
	return a.ways[w]
}

// Wire is one direction of a link that is, or was, more than a plain wire.
type Wire struct {
	Link      *plan.Link
	Direction impair.Direction
	// Asked is what it does to packets, but for what a fault does: Degraded then.
	Asked    spec.Impairment
	Degraded bool
	// By is who asked for it by hand, and Since when; empty where the plan holds.
	By    string
	Since time.Time
	// Since it was changed last: packets that came, those lost as asked, those
	// lost unasked, those marked, and how long a sample of those that passed took.
	Packets, Lost, Unasked, Marked uint64
	Measured                       record.Times
}

// Wires are both directions of all links that the lab carries packets across by
// itself, those of the plan first.
func (l *Lab) Wires() ([]Wire, error) {
	a := &l.r.asked
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.r.carrier == nil {
		return nil, nil
	}
	counts, err := l.r.carrier.Counts()
	if err != nil {
		return nil, err
	}
	seen := l.r.meter.Measured() // in the same order
	all := make([]Wire, len(counts))
	for i, c := range counts {
		w, link := a.of(way{c.Link, c.Direction}), a.planned[c.Link]
		all[i] = Wire{
			Link: link, Direction: c.Direction, Asked: w.words(link, c.Direction), Degraded: w.degraded != nil, By: w.by, Since: w.since,
			Packets: c.Model.Packets - w.before.Packets,
			Lost:    c.Model.Lost + c.Model.Overflowed - w.before.Lost - w.before.Overflowed,
			Unasked: c.Unasked() - w.silent, Marked: c.Model.Marked - w.before.Marked, Measured: times(seen[i].Fresh),
		}
	}
	return all, nil
}

// words are those in force without faults.
func (w *wish) words(l *plan.Link, d impair.Direction) spec.Impairment {
	switch {
	case w.hand != nil:
		return *w.hand
	case d == impair.BA:
		return l.BA
	}
	return l.AB
}

// config is what a direction of a link is to do now.
func (a *asked) config(l *plan.Link, d impair.Direction) impair.Config {
	w := a.of(way{l.ID, d})
	if w.degraded != nil {
		return *w.degraded
	}
	return l.ImpairedAs(w.words(l, d))
}

// Change is what somebody asks of links by hand.
type Change struct {
	Links []*plan.Link
	// Directions that change.
	Directions []impair.Direction
	// With has the values of Words; what Words has not stays as it is.
	With  spec.Impairment
	Words []string
	// None has the links do again what the plan says.
	None bool
	By   string
}

// step is a Change of one direction.
type step struct {
	link *plan.Link
	d    impair.Direction
	w    *wish
	now  spec.Impairment
}

// Reimpair changes what links do to packets that come from now on, but for what
// a fault does to them. A change that makes no sense for one of them is none.
func (l *Lab) Reimpair(c Change) error {
	a := &l.r.asked
	a.mu.Lock()
	defer a.mu.Unlock()
	var steps []step
	for _, of := range c.Links {
		link := a.planned[of.ID]
		for _, d := range c.Directions {
			s := step{link: link, d: d, w: a.of(way{link.ID, d})}
			if !c.None {
				s.now = s.w.words(link, d).With(c.With, c.Words)
			}
			if err := plan.Together(link.ImpairedAs(s.now)); err != nil {
				return fmt.Errorf("link %s: %w", link.ID, err)
			}
			steps = append(steps, s)
		}
	}
	for i := range steps {
		s := &steps[i]
		s.w.hand, s.w.by, s.w.since = &s.now, c.By, time.Now()
		if c.None {
			s.w.hand, s.w.by, s.w.since = nil, "", time.Time{}
		}
	}
	if err := l.r.force(steps); err != nil {
		return err
	}
	for _, of := range c.Links {
		link := a.planned[of.ID]
		up, down := said(a.of(way{link.ID, impair.AB}).words(link, impair.AB)), said(a.of(way{link.ID, impair.BA}).words(link, impair.BA))
		text := fmt.Sprintf("%s is %s up, %s down", link.ID, up, down)
		if up == down {
			text = fmt.Sprintf("%s is %s", link.ID, up)
		}
		l.r.event(record.Event{Kind: "impaired", Node: link.A.Node, Peer: link.B.Node, By: c.By, Text: text})
	}
	return nil
}

// reapply has links do what another plan says, but for what was asked by hand.
func (r *runner) reapply(next *plan.Plan) error {
	a := &r.asked
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.planned
	a.follow(next)
	var steps []step
	for i := range next.Links {
		l := &next.Links[i]
		was := before[l.ID]
		for _, d := range []impair.Direction{impair.AB, impair.BA} {
			w := a.of(way{l.ID, d})
			if now := l.Impair(d); w.hand == nil && !same(was.Impair(d), now) {
				steps = append(steps, step{link: l, d: d, w: w})
			}
		}
	}
	return r.force(steps)
}

// force puts wishes in force, and has what happens from now on counted anew.
// The lock of asked is held.
func (r *runner) force(steps []step) error {
	for _, s := range steps {
		c := r.asked.config(s.link, s.d)
		if !r.carries(s.link.ID) {
			if same(c, r.built(s.link.ID, s.d)) {
				continue // it does that by itself
			}
			if err := r.splice(s.link); err != nil {
				return err
			}
		}
		if err := r.carrier.Set(s.link.ID, s.d, c); err != nil {
			return err
		}
		r.meter.Afresh(s.link.ID, s.d, c)
	}
	for _, s := range steps {
		if err := r.lead(s.link); err != nil {
			return err
		}
	}
	if r.carrier == nil {
		return nil
	}
	counts, err := r.carrier.Counts()
	if err != nil {
		return err
	}
	for _, c := range counts {
		for _, s := range steps {
			if s.link.ID == c.Link && s.d == c.Direction {
				s.w.before, s.w.silent = c.Model, c.Unasked()
			}
		}
	}
	return nil
}

// degrade is a fault's doing: what it says goes before all else, until it says nil.
func (r *runner) degrade(link string, d impair.Direction, c *impair.Config) error {
	r.asked.mu.Lock()
	defer r.asked.mu.Unlock()
	l := r.asked.planned[link]
	w := r.asked.of(way{link, d})
	w.degraded = c
	return r.force([]step{{link: l, d: d, w: w}})
}

// longest is how long a packet may be under way by what is asked of links by hand.
func (a *asked) longest() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	most := time.Duration(0)
	for _, w := range a.ways {
		if w.hand != nil {
			most = max(most, w.hand.Delay.Fixed.D()+w.hand.Jitter.D())
		}
	}
	return most
}

// said are the words of an impairment in a sentence.
func said(im spec.Impairment) string {
	words := im.Words()
	if len(words) == 0 {
		return "plain"
	}
	text := make([]string, len(words))
	for i, w := range words {
		text[i] = w.String()
	}
	return strings.Join(text, " ")
}
