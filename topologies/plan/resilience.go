package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Choice is how a branch router chooses among its on-ramps (SEMANTICS 1.8): it
// keeps the route To over those of Ways that are not down.
type Choice struct {
	// Select is spec.PrimaryBackup, the first that is not down, or spec.ECMP, all
	// of them. If all are down, it is as if none were.
	Select string `json:"select"`
	// To is the route that it keeps.
	To netip.Prefix `json:"to"`
	// Ways in order of preference.
	Ways []Way `json:"ways"`
}

// Way is an on-ramp that a router may choose.
type Way struct {
	OnRamp string `json:"onramp"`
	Hop    Hop    `json:"hop"`
	// Inner is the router's address inside, Peer the servers'.
	Inner netip.Addr `json:"inner"`
	Peer  netip.Addr `json:"peer"`
	// Probing is how the router finds out whether the way is down, by pinging
	// Peer through it; nil means that it never does.
	Probing *hub.Probing `json:"probing,omitempty"`
}

// Detection is how long after its last packet a way is known to be down, at the
// latest: the next probe and two repetitions fail.
func Detection(p *hub.Probing) time.Duration { return p.Interval + 2*p.Timeout }

// Defaults of SEMANTICS 1.8 and 2.8, before the scale.
const (
	repinAfter  = 200 * time.Millisecond
	holdDown    = 30 * time.Second
	probeWait   = 300 * time.Millisecond
	probeWindow = 5 * time.Minute
	probeBurst  = time.Second
	// leastWait for the answer to a probe, whatever the scale: a busy machine
	// does not answer sooner, and a lab must not take that for a failure.
	leastWait = 50 * time.Millisecond
)

// intervals of probes by rate. The documentation names the rates and gives no
// numbers. Down is three failures within a second, of which two are repeated at
// once: mid is the interval at which one lost packet in a row of probes is as
// old as that second; low and high are a decade and two octaves from it.
var intervals = [...]struct {
	rate     string
	interval time.Duration
}{{"low", 10 * time.Second}, {"mid", time.Second}, {"high", 250 * time.Millisecond}}

// probing is how a tunnel is probed that says so, nil of the defaults.
func (b *builder) probing(h *spec.Health) *hub.Probing {
	if h == nil {
		h = &spec.Health{}
	}
	t := b.s.Timers
	interval := time.Second
	for _, r := range intervals {
		if r.rate == h.Rate {
			interval = r.interval
		}
	}
	wait := max(scaled(t, 0, probeWait), leastWait)
	return &hub.Probing{
		Request: h.Type == "request", Interval: scaled(t, 0, interval), Timeout: wait, Window: scaled(t, 0, probeWindow),
		// Three failures that follow each other as fast as they can are a burst.
		Burst: max(scaled(t, 0, probeBurst), 2*wait),
	}
}

// resilience gives a site's on-ramps their probes and their group, and its router
// its choice.
func (b *builder) resilience(r *branch, s *spec.Site) {
	order := b.preference(s)
	for _, o := range s.OnRamps {
		grouped := s.Group != nil && slices.Contains(order[:1+len(s.Group.Backups)], o.ID)
		i := b.rampOf(r.Site + "." + o.ID)
		if i < 0 || o.Type == string(tunnel.Interconnect) || o.Health == nil && !grouped {
			continue
		}
		b.ramps[i].Peer = r.wayOf(b.ramps[i].Name).inner
		b.ramps[i].Probing = b.probing(o.Health)
	}
	if s.Group != nil {
		b.group(r, s.Group)
	}
	b.choose(r, s, order)
}

// preference is a site's on-ramps in order of preference: the group's, then the file's.
func (b *builder) preference(s *spec.Site) []string {
	var ids []string
	if s.Group != nil {
		ids = append([]string{s.Group.Primary}, s.Group.Backups...)
	}
	for _, o := range s.OnRamps {
		if !slices.Contains(ids, o.ID) {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

func (b *builder) rampOf(name string) int {
	return slices.IndexFunc(b.ramps, func(r ramp) bool { return r.Name == name })
}

func (r *branch) wayOf(name string) way {
	return r.ways[slices.IndexFunc(r.ways, func(w way) bool { return w.name == name })]
}

// group joins on-ramps (SEMANTICS 1.8, G1).
func (b *builder) group(r *branch, g *spec.Group) {
	t := b.s.Timers
	made := hub.Group{
		Repin: scaled(t, g.RepinAfter, repinAfter), Failback: hub.Failback(cmp.Or(g.Failback, string(hub.FailbackImmediate))),
		Predictive: g.Predictive == nil || *g.Predictive,
	}
	if g.Repin == "immediate" {
		made.Repin = 0
	}
	if made.Failback == hub.FailbackHoldDown {
		made.HoldDown = scaled(t, g.HoldDown, holdDown)
	}
	for _, id := range append([]string{g.Primary}, g.Backups...) {
		if i := b.rampOf(r.Site + "." + id); i >= 0 {
			made.Members = append(made.Members, b.ramps[i].ID)
		}
	}
	b.groups = append(b.groups, made)
}

// choose says how a site's router chooses.
func (b *builder) choose(r *branch, s *spec.Site, order []string) {
	slices.SortStableFunc(r.ways, func(x, y way) int {
		at := func(w way) int {
			return slices.IndexFunc(order, func(id string) bool { return r.Site+"."+id == w.name })
		}
		return cmp.Compare(at(x), at(y))
	})
	if s.CPE == nil || len(r.ways) < 2 {
		return
	}
	c := &Choice{Select: cmp.Or(s.CPE.Select, spec.PrimaryBackup), To: defaultOf(r.inside())}
	for _, w := range r.ways {
		way := Way{OnRamp: w.name, Hop: w.hop, Inner: w.inner, Peer: w.peer}
		if s.CPE.Detect != spec.DetectNone {
			i := slices.IndexFunc(s.OnRamps, func(o spec.OnRamp) bool { return r.Site+"."+o.ID == w.name })
			way.Probing = b.probing(s.OnRamps[i].Health)
		}
		c.Ways = append(c.Ways, way)
	}
	r.Choice = c
}
