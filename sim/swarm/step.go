package swarm

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Step is something that happens to the network. What it is on may be gone from a
// shrunk case: then nothing happens.
type Step struct {
	// At is when, from the start of traffic, For how long.
	At  time.Duration `json:"at"`
	For time.Duration `json:"for,omitempty"`
	// Do is what: one of the Do constants.
	Do string `json:"do"`
	// On is what it happens to: a link by a selector, a server, an on-ramp, an
	// account.
	On string `json:"on,omitempty"`
	// N is chance.
	N uint64 `json:"n,omitempty"`
}

// What can happen.
const (
	DoCut     = "cut"     // the links that On selects, For a while
	DoRestart = "restart" // the server On loses its state
	DoJunk    = "junk"    // noise from outside comes to the server On
	DoReplay  = "replay"  // a packet seen before comes to the server On again, from outside and damaged
	DoForge   = "forge"   // hand-overs and contexts from outside come to the server On

	// New configurations. Servers get them one after the other, over For.
	DoARR     = "arr"     // the on-ramp On has ARR, or not any more
	DoLive    = "live"    // the server On takes part, or not any more
	DoRamp    = "ramp"    // the on-ramp On is gone
	DoRoutes  = "routes"  // one route fewer
	DoBlocked = "blocked" // the account On is not allowed to ping any more
	DoEpoch   = "epoch"   // nothing is new but the epoch
)

// configures reports whether a step is a new configuration.
func (s *Step) configures() bool {
	switch s.Do {
	case DoARR, DoLive, DoRamp, DoRoutes, DoBlocked, DoEpoch:
		return true
	}
	return false
}

// action is what happens at one instant.
type action struct {
	Step
	server int // of a configuration
	mends  bool
}

// agenda spreads steps over time: what heals, and the servers that are configured
// one after the other.
func agenda(steps []Step, servers int) []action {
	var all []action
	for _, s := range steps {
		switch {
		case s.Do == DoCut:
			mend := action{Step: s, mends: true}
			mend.At += s.For
			all = append(all, action{Step: s}, mend)
		case s.configures():
			for i := range servers {
				a := action{Step: s, server: (i + int(s.N%uint64(servers))) % servers}
				a.At += s.For * time.Duration(i) / time.Duration(servers)
				all = append(all, a)
			}
		default:
			all = append(all, action{Step: s})
		}
	}
	slices.SortStableFunc(all, func(a, b action) int { return cmp.Compare(a.At, b.At) })
	return all
}

// driver makes things happen.
type driver struct {
	check  *checker
	plan   *plan.Plan
	world  *run.World
	base   vt.Instant
	agenda []action
	next   int
}

// server is the number of a server; -1 if there is none of that name.
func (d *driver) server(node string) int {
	return slices.IndexFunc(d.plan.Servers, func(s plan.Server) bool { return s.Node == node })
}

func (d *driver) do(a *action) {
	if a.configures() {
		d.configure(a)
		return
	}
	if a.Do == DoCut {
		for _, l := range d.plan.LinksNamed(a.On) {
			_ = d.world.Cut(l.ID, !a.mends) // the plan's links are the world's
		}
		return
	}
	i := d.server(a.On)
	if i < 0 {
		return
	}
	rng := rand.New(rand.NewPCG(a.N, 0))
	switch a.Do {
	case DoRestart:
		d.check.lost(i)
		if err := d.world.Restart(i, d.check.truth[i], d.check.attached()); err != nil {
			d.check.failf(RuleStuck, "server %s does not start: %v", a.On, err)
		}
	case DoJunk:
		for range 5 {
			d.outside(i, noise(rng), anything)
		}
	case DoReplay:
		for range 5 {
			d.outside(i, d.check.damaged(rng), anything)
		}
	case DoForge:
		for _, p := range forgeries(rng, &d.check.truth[i]) {
			d.outside(i, p, refused)
		}
	}
}

func (d *driver) outside(server int, packet []byte, may trust) {
	d.check.outside = may
	d.world.Outside(server, packet)
	d.check.outside = inside
}

// configure gives one server its new configuration.
func (d *driver) configure(a *action) {
	c := d.check.truth[a.server]
	c.Epoch++
	if !edit(&c, a) {
		return
	}
	if _, err := hub.New(c); err != nil {
		return // what is drawn may leave a route without its on-ramp
	}
	d.check.configured(a.server, c)
	if err := d.world.Reconfigure(a.server, c); err != nil {
		d.check.failf(RuleStuck, "server %d refuses its configuration: %v", a.server, err)
	}
	d.check.settled()
}

// edit changes a configuration, which shares its lists with others; false if the
// step's object is not there.
func edit(c *hub.Config, a *action) bool {
	switch a.Do {
	case DoARR, DoRamp:
		i := slices.IndexFunc(c.OnRamps, func(o hub.OnRamp) bool { return o.Name == a.On })
		if i < 0 {
			return false
		}
		c.OnRamps = slices.Clone(c.OnRamps)
		if a.Do == DoRamp {
			c.OnRamps = slices.Delete(c.OnRamps, i, i+1)
		} else {
			c.OnRamps[i].ARR = a.N&1 == 1 && !legacy(c, &c.OnRamps[i])
		}
	case DoLive:
		if !slices.ContainsFunc(c.Servers, func(s hub.Server) bool { return s.Name == a.On }) {
			return false
		}
		c.Change(a.On, func(s *hub.Server) { s.Live = a.N&1 == 1 })
	case DoRoutes:
		if len(c.Routes) == 0 {
			return false
		}
		i := int(a.N % uint64(len(c.Routes)))
		c.Routes = slices.Delete(slices.Clone(c.Routes), i, i+1)
	case DoBlocked:
		i := slices.IndexFunc(c.Tenants, func(t hub.Tenant) bool { return t.Name == a.On })
		if i < 0 {
			return false
		}
		c.Tenants = slices.Clone(c.Tenants)
		c.Tenants[i].Policies = policy.Policies{Firewall: []policy.Rule{{ID: "no_ping", Action: policy.Block, Match: policy.Match{Protocol: []uint8{1}}}}}
	}
	return true
}

func legacy(c *hub.Config, o *hub.OnRamp) bool {
	return slices.ContainsFunc(c.Tenants, func(t hub.Tenant) bool { return t.ID == o.Tenant && t.Legacy })
}

// addr is for addresses that are constants here.
func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
