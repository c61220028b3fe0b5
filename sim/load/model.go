// Package load is the flow level: who opens how many flows where, what they find
// there, and what that takes of addresses, ports, servers and lines, without their
// packets.
//
// It makes an Outcome of a scenario and a seed. Where users land is sim/catchment's,
// which server and port a flow gets is decided by the dataplane's own packages, how
// lines are shared is sim/maxmin's. It knows no file, plan or report.
//
// Its law: the same scenario and seed give the same outcome, on any machine; and
// what one datacenter, destination or country draws is its own, so that two
// variants of a scenario differ by what was changed alone.
package load

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/sim/catchment"
	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Model is a scenario made ready to run any number of times. It is read only: runs
// may be at once. Use New.
type Model struct {
	// Splitting has runs find blocking that is too rare to be seen; set it before the
	// first.
	Splitting bool

	s       *spec.Scenario
	atlas   *Atlas
	centers []center
	net     *network // nil without a population
	hosts   *hosts   // nil with one, and where no host has a workload
	users   float64
	works   []work
	phases  []phase
	end     float64 // seconds
	timers  hub.Timers
	hold    time.Duration // of BGP sessions
	// zones are the places where users are, cities.
	zones   []place.Place
	sources []source
	// pools of whole datacenters, and of what they have for single countries.
	pools, tagged []pool
	leaving       *leaving // nil where flows leave by shared addresses
}

// center is a datacenter.
type center struct {
	*spec.Datacenter
	at place.Place
}

// source is users of one AS, or a host.
type source struct {
	zone  int // an index of zones
	users float64
	node  int // of the graph; -1 a host, near a place
}

// work is a workload made ready.
type work struct {
	*spec.Workload
	size, holding *sampler
	from          []bool    // by zone, who opens its flows; nil is everybody
	popular       []float64 // share of each destination
	origins       []int     // node of each
	mix           []protocol
}

// protocol is a part of a workload's flows.
type protocol struct {
	name  string
	share float64
	// port is how long a flow takes its port.
	port *sampler
	// keep is how long a port stays taken after a flow's end, in seconds.
	keep float64
}

// Unsupported is a word of a scenario that the flow level does not know.
type Unsupported struct {
	// Path in the file.
	Path string
	// Why it is not, and what is.
	Why string
}

func (e *Unsupported) Error() string { return e.Path + ": " + e.Why }

// New makes a Model of a resolved scenario: variant and settings applied, defaults
// filled. The Internets that it needs are taken from the atlas, or drawn into it;
// nil draws for this Model alone. An error is an *Unsupported where the scenario
// has a word that the flow level does not play.
func New(s *spec.Scenario, a *Atlas) (*Model, error) {
	if a == nil {
		a = &Atlas{}
	}
	m := &Model{s: s, atlas: a, timers: plan.Timers(s.Timers), hold: plan.BGPHold(s.Timers)}
	if len(s.Workload) == 0 && (s.Population != nil || len(s.Sites) < 2) {
		return nil, &Unsupported{"workload", "the scenario has no workload, which the flow level plays; want one such as workload: [{id: work, from: population, to: internet, rate: 0.1}]"}
	}
	var ids []string
	var places []place.Place
	for i := range s.Datacenters {
		d := &s.Datacenters[i]
		at, ok := place.Lookup(cmp.Or(d.Place, d.ID))
		if !ok {
			return nil, fmt.Errorf("datacenters.%s: no place", d.ID)
		}
		m.centers = append(m.centers, center{d, at})
		ids, places = append(ids, d.ID), append(places, at)
	}
	if s.Population == nil {
		if len(s.Workload) == 0 {
			return m, nil // designs of sites alone
		}
		if err := m.settleHosts(); err != nil {
			return nil, err
		}
	} else {
		var err error
		if m.net, err = a.network(s.Population, ids, places); err != nil {
			return nil, err
		}
		if err := m.settle(); err != nil {
			return nil, err
		}
	}
	for i := range s.Workload {
		w, err := m.work(i)
		if err != nil {
			return nil, err
		}
		m.works = append(m.works, w)
		m.end = max(m.end, seconds(w.For.D()))
	}
	if err := m.makePools(); err != nil {
		return nil, err
	}
	if err := m.leave(); err != nil {
		return nil, err
	}
	return m, m.plan()
}

// settle divides the population among the ASes that have any way to the network.
func (m *Model) settle() error {
	w := m.net.world
	m.zones = w.Places
	weight := func(country string) float64 {
		if x, named := m.s.Population.Countries[country]; named {
			return x
		}
		return 1
	}
	// Whether an AS has a way does not depend on whom it prefers.
	ways, err := m.net.finder.Land(nil, 0)
	if err != nil {
		return err
	}
	sum := 0.0
	for v, n := range w.Users {
		n *= weight(m.zones[w.Home[v]].Country)
		if n > 0 && ways[v].Site != catchment.Nowhere {
			m.sources = append(m.sources, source{w.Home[v], n, v})
			sum += n
		}
	}
	if sum == 0 {
		return errors.New("population: no network with users has a way to any datacenter")
	}
	m.users = m.s.Population.Users
	for i := range m.sources {
		m.sources[i].users *= m.users / sum
	}
	return nil
}

// work makes a workload ready.
func (m *Model) work(i int) (work, error) {
	s := m.s.Workload[i].Filled()
	path := "workload." + s.ID
	w := work{Workload: &s, size: newSampler(s.Size.Draw)}
	if s.Holding.Given() {
		w.holding = newSampler(s.Holding.Draw)
	} else {
		w.holding = w.size.times(8 / float64(s.Speed))
	}
	w.mix = m.protocols(&w)
	switch {
	case m.hosts != nil:
		var err error
		w.from, w.popular, w.origins, err = m.ends(&s, path)
		return w, err
	case s.From != spec.FromPopulation:
		return work{}, &Unsupported{path + ".from", "in a scenario with a population the flow level plays its workloads alone; want from: population"}
	case s.To != spec.ToInternet:
		return work{}, &Unsupported{path + ".to", "the destinations of a population are drawn; want to: internet"}
	}
	w.popular = s.Popularity.Popular(spec.Destinations)
	w.origins = m.origins(len(w.popular))
	return w, nil
}

// protocols are the parts of a workload's mix, in the order of their names.
func (m *Model) protocols(w *work) []protocol {
	all := []protocol{
		{name: "dns", keep: seconds(m.timers.DNS)}, {name: "icmp", keep: seconds(m.timers.ICMP)},
		{name: "tcp", keep: seconds(m.timers.PortHold)}, {name: "udp", keep: seconds(m.timers.UDP)},
	}
	sum := 0.0
	for i := range all {
		all[i].share = w.Mix[all[i].name]
		sum += all[i].share
	}
	for i := range all {
		p := &all[i]
		p.share /= sum
		p.port = w.holding.plus(p.keep)
		if p.name == "tcp" {
			p.port = blend(w.holding, p.port, m.held(w.Close))
		}
	}
	return slices.DeleteFunc(all, func(p protocol) bool { return p.share == 0 })
}

// held is the share of TCP flows whose port is held after their end (SEMANTICS 5.5):
// of a translated pair all, whoever closed; of a proxy's own sockets those that it
// closed first, which it does when its client has.
func (m *Model) held(closes string) float64 {
	switch {
	case m.s.Datapath != spec.DatapathProxy || closes == "client":
		return 1
	case closes == "server":
		return 0
	}
	return 0.5
}

// origins are the ASes of drawn destinations, as users are spread: what people
// want is where people are. They are the Internet's and not a run's.
func (m *Model) origins(n int) []int {
	upTo, sum := make([]float64, len(m.sources)), 0.0
	for i, s := range m.sources {
		sum += s.users
		upTo[i] = sum
	}
	draws := newStream(cmp.Or(m.s.Population.Sample, 1), "origins")
	at := make([]int, n)
	for k := range at {
		x, _ := draws.words(forOrigin, uint64(k))
		i, _ := slices.BinarySearch(upTo, sum*unitOf(x))
		at[k] = m.sources[min(i, len(upTo)-1)].node
	}
	return at
}

// phase is a time in which the same datacenters are up.
type phase struct {
	from float64 // seconds
	down []bool
	// silent are those that no longer work and still draw users.
	silent []bool
	why    string
}

// plan makes phases of maintenance and faults.
func (m *Model) plan() error {
	first := phase{down: make([]bool, len(m.centers)), silent: make([]bool, len(m.centers))}
	for i, c := range m.centers {
		first.down[i] = c.Maintenance
	}
	var changes []change
	for i, f := range m.s.Faults {
		more, err := m.changes(i, f)
		if err != nil {
			return err
		}
		changes = append(changes, more...)
	}
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Compare(a.at, b.at) })
	m.phases = []phase{first}
	for _, c := range changes {
		last := &m.phases[len(m.phases)-1]
		if c.at > last.from {
			m.phases = append(m.phases, phase{from: c.at, down: slices.Clone(last.down), silent: slices.Clone(last.silent)})
			last = &m.phases[len(m.phases)-1]
		}
		last.down[c.center] = c.state == down || m.centers[c.center].Maintenance
		last.silent[c.center] = c.state == silent
		last.why = strings.TrimPrefix(last.why+", "+c.why, ", ")
	}
	m.phases = slices.DeleteFunc(m.phases, func(p phase) bool { return p.from >= m.end })
	return nil
}

// state of a datacenter.
type state uint8

const (
	up state = iota
	silent
	down
)

// change of a datacenter's state.
type change struct {
	at     float64
	center int
	state  state
	why    string
}

// changes are what a fault does, and undoes. Whoever loses power tells nobody: its
// neighbours' sessions last until their hold time is over (RFC 4271 4.2).
func (m *Model) changes(i int, f spec.Fault) ([]change, error) {
	path := fmt.Sprintf("faults[%d]", i)
	quiet := f.Do == spec.Kill || f.Do == spec.Pause
	known := quiet || f.Do == spec.Drain || f.Do == spec.Withdraw && f.Address == spec.TunnelAddress
	if !known || f.Pick != 0 {
		return nil, &Unsupported{path + ".do", fmt.Sprintf("the flow level knows kill, pause and drain of a datacenter, and withdraw of its tunnels, not %s", f.Do)}
	}
	id := strings.TrimSuffix(f.On, ".*")
	k := slices.IndexFunc(m.centers, func(c center) bool { return c.ID == id })
	if k < 0 {
		return nil, &Unsupported{path + ".on", fmt.Sprintf("the flow level breaks whole datacenters, such as %s, not %s", m.centers[0].ID, f.On)}
	}
	at, heals := seconds(f.At.D()), math.Inf(1)
	if f.For > 0 {
		heals = at + seconds(f.For.D())
	}
	text := f.ID + ": " + f.Do + " of " + id
	var all []change
	if quiet {
		all = append(all, change{at, k, silent, text})
		at, text = at+seconds(m.hold), id+" is noticed after the hold time"
	}
	if at < heals {
		all = append(all, change{at, k, down, text})
	}
	if !math.IsInf(heals, 1) {
		all = append(all, change{heals, k, up, f.ID + " is over"})
	}
	return all, nil
}

// hash is the seed that servers decide by.
func (m *Model) hash() uint64 { return cmp.Or(m.s.Seed, 1) }
