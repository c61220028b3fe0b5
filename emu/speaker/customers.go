package speaker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Heard is what a datacenter's end of a customer's session says of a route.
type Heard struct {
	Datacenter string
	plan.Learned
	// Priority is what the session's communities and AS path make of it (SEMANTICS
	// 2.7); Gone, that it is told no more.
	Priority int
	Gone     bool
}

// heard is the same as a relay's child says it.
type heard struct {
	Session     int               `json:"session"`
	Prefix      netip.Prefix      `json:"prefix"`
	Communities []route.Community `json:"communities,omitempty"`
	Path        []uint32          `json:"path,omitempty"`
	Gone        bool              `json:"gone,omitempty"`
}

// Customers starts the speakers of customers' routers, of the fleet's kind, and the
// network's ends of their sessions, which are GoBGP: tunnels and servers work by
// now, because the sessions go through them.
func (f *Fleet) Customers(o Options) error {
	begin := o.Kind.begin()
	for i := range f.plan.Relays {
		s := &f.plan.Relays[i]
		dc := f.plan.Datacenters[i].Name
		f.heard[dc] = map[plan.Learned]int{}
		r := &relay{fleet: f, datacenter: dc, speaker: s, tell: o.Heard, session: o.Session}
		c, err := startChild(&o, header{Speaker: *s, Hold: f.plan.Hold, Relay: true}, r.line)
		if c == nil {
			return fmt.Errorf("speaker of %s: %w", s.Node, err)
		}
		if err := f.add(s.Node+" relay", c, err); err != nil {
			return err
		}
	}
	for i := range f.plan.Customers {
		s := &f.plan.Customers[i]
		x, err := begin(&o, s, f.plan.Hold, func(c Change) { f.changed(o.Session, c) })
		if err := f.add(s.Node, x, err); err != nil {
			return err
		}
	}
	return nil
}

// relay follows a datacenter's ends of customers' sessions.
type relay struct {
	fleet      *Fleet
	datacenter string
	speaker    *plan.Speaker
	tell       func(Heard)
	session    func(Change)
}

// line takes what the child says that answers nothing.
func (r *relay) line(l line) {
	switch {
	case l.Heard != nil:
		x := &r.speaker.Sessions[l.Heard.Session]
		extra := -1
		for _, as := range l.Heard.Path {
			if as == x.ASN {
				extra++
			}
		}
		r.note(Heard{
			Datacenter: r.datacenter, Learned: plan.Learned{OnRamp: x.OnRamp, Prefix: l.Heard.Prefix},
			Priority: route.BGPPriority(l.Heard.Communities, max(extra, 0)), Gone: l.Heard.Gone,
		})
	case l.Session != nil:
		x := &r.speaker.Sessions[*l.Session]
		r.fleet.changed(r.session, Change{Node: r.speaker.Node, Neighbor: x.Node, Up: l.Up, Reason: l.Reason})
		if l.Up {
			return
		}
		for _, lost := range r.fleet.of(r.datacenter) {
			if lost.OnRamp == x.OnRamp {
				r.note(Heard{Datacenter: r.datacenter, Learned: lost, Gone: true})
			}
		}
	}
}

// note remembers what was heard, and tells it where it is news.
func (r *relay) note(h Heard) {
	r.fleet.mu.Lock()
	of := r.fleet.heard[r.datacenter]
	was, had := of[h.Learned]
	if h.Gone {
		delete(of, h.Learned)
	} else {
		of[h.Learned] = h.Priority
	}
	r.fleet.mu.Unlock()
	if r.tell != nil && (had == h.Gone || had && was != h.Priority) {
		r.tell(h)
	}
}

// of are the routes that a datacenter hears of.
func (f *Fleet) of(datacenter string) []plan.Learned {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.heard[datacenter]))
}

// unheard names the first route that a datacenter does not hear as planned.
func (f *Fleet) unheard() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	planned := plan.NewRelay(f.plan)
	for _, d := range f.plan.Datacenters {
		want, got := planned.Heard(d.Name), f.heard[d.Name]
		for l, priority := range want {
			if has, ok := got[l]; !ok || has != priority {
				return fmt.Errorf("%s hears of %v by on-ramp %d with priority %d, want %d", d.Name, l.Prefix, l.OnRamp, has, priority)
			}
		}
		for l := range got {
			if _, ok := want[l]; !ok {
				return fmt.Errorf("%s hears of %v by on-ramp %d, want nothing of it there", d.Name, l.Prefix, l.OnRamp)
			}
		}
	}
	return nil
}

// listens has a relay's child tell what each session says; nothing is told there.
func (g *gobgp) listens(paths []*apiutil.Path, _ time.Time) {
	for _, p := range paths {
		i := g.Speaker.By(p.PeerAddress)
		to, err := netip.ParsePrefix(p.Nlri.String())
		if i < 0 || err != nil {
			continue
		}
		h := &heard{Session: i, Prefix: to, Gone: p.Withdrawal}
		for _, a := range p.Attrs {
			switch a := a.(type) {
			case *packet.PathAttributeCommunities:
				for _, c := range a.Value {
					h.Communities = append(h.Communities, route.Community(c))
				}
			case *packet.PathAttributeAsPath:
				for _, segment := range a.Value {
					h.Path = append(h.Path, segment.GetAS()...)
				}
			}
		}
		g.say(line{Heard: h})
	}
}

// Told waits until every datacenter hears what the plan says, by the sessions that
// land there.
func (f *Fleet) Told(ctx context.Context) error {
	if err := f.until(ctx, f.unheard); err != nil {
		return errors.Join(errors.New("customers' sessions"), err)
	}
	return nil
}
