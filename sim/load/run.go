package load

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/homeward-lab/homeward/sim/asgraph"
	"github.com/homeward-lab/homeward/sim/catchment"
)

// run is one run while it goes.
type run struct {
	m       *Model
	seed    uint64
	bins    []bin
	all     *settled   // if every datacenter were up
	phases  []*settled // by phase
	demands []demand   // by work
	metres  [][]float64
	out     *Outcome
	ports   portTotals
	exits   *exits
	lost    map[string]float64
	values  map[string]float64
}

// Run plays the scenario once. The seed is one guess at how the Internet routes,
// and one course of chance.
func (m *Model) Run(seed uint64) (*Outcome, error) {
	r := &run{m: m, seed: seed, lost: map[string]float64{}, values: map[string]float64{}}
	r.out = &Outcome{Seed: seed, why: map[string][]string{}}
	err := r.designs()
	if err != nil || len(m.works) == 0 {
		r.tell()
		return r.out, err
	}
	r.bins, r.metres = m.bins(), m.distances()
	if r.all, r.phases, err = m.landings(seed); err != nil {
		return nil, err
	}
	for i := range m.works {
		r.demands = append(r.demands, m.demand(&m.works[i], r.bins, r.phases, len(m.centers), func(phase, at, _ int) int {
			if m.phases[phase].silent[at] {
				return -1 // nothing is answered there
			}
			return at
		}))
	}
	if err := r.slices(); err != nil {
		return nil, err
	}
	if err := r.backbone(); err != nil {
		return nil, err
	}
	r.people()
	r.traffic()
	r.ways()
	r.times()
	r.tell()
	return r.out, nil
}

// last is where users are at the end.
func (r *run) last() *settled { return r.phases[len(r.phases)-1] }

// id is a datacenter's, empty for nowhere.
func (r *run) id(at int) string {
	if at == r.m.nowhere() {
		return ""
	}
	return r.m.centers[at].ID
}

// set gives a measure its value.
func (r *run) set(name string, v float64) { r.values[name] = v }

// because notes why a measure is as it is.
func (r *run) because(name, format string, args ...any) {
	r.out.why[name] = append(r.out.why[name], fmt.Sprintf(format, args...))
}

// tell lists the measures in the order of Descriptions.
func (r *run) tell() {
	for _, d := range Descriptions() {
		var each []string
		switch d.Each {
		case "":
			if v, ok := r.values[d.Name]; ok {
				r.out.Measures = append(r.out.Measures, Measure{d.Name, v})
			}
		case "datacenter":
			for _, c := range r.m.centers {
				each = append(each, c.ID)
			}
		case "cause":
			each = causes()
		case "design":
			each = DesignNames()
		}
		for _, id := range each {
			if v, ok := r.values[d.Name+"."+id]; ok {
				r.out.Measures = append(r.out.Measures, Measure{d.Name + "." + id, v})
			}
		}
	}
}

// Causes of lost user-minutes.
const (
	causeUnreached  = "unreached"
	causeConverging = "converging"
	causePorts      = "ports"
	causeBackbone   = "backbone"
	causeEgress     = "egress"
)

func causes() []string {
	return []string{causeUnreached, causeConverging, causePorts, causeBackbone, causeEgress}
}

// people says where users are, who moved, and who could reach nobody.
func (r *run) people() {
	m, end := r.m, r.last()
	users := m.users
	r.set("users", users)
	r.set("unreached", end.users[m.nowhere()]/users)
	from := map[[2]int]float64{}
	moved := 0.0
	for _, s := range m.sources {
		a, b := m.at(r.all.land, s), m.at(end.land, s)
		if a != b {
			from[[2]int{a, b}] += s.users
			moved += s.users
		}
	}
	r.set("moved", moved/users)
	for _, k := range sortedPairs(from) {
		r.out.Takeover = append(r.out.Takeover, Takeover{r.id(k[0]), r.id(k[1]), from[k]})
	}
	slices.SortStableFunc(r.out.Takeover, func(a, b Takeover) int { return cmp.Compare(b.Users, a.Users) })
	for _, t := range r.out.Takeover[:min(mostReasons, len(r.out.Takeover))] {
		to := t.To
		if to == "" {
			to = "nowhere"
		}
		r.because("moved", "%.0f users of %s land at %s", t.Users, t.From, to)
	}
	by := r.cutOff()
	for i, p := range m.phases {
		if p.why != "" {
			r.because("lost.converging", "at %gs: %s", m.phases[i].from, p.why)
		}
	}
	for c := range m.centers {
		r.set("landing."+m.centers[c].ID, end.users[c]/users)
	}
	r.countries(end, by)
	if m.net != nil {
		r.networks(end)
	}
}

// cutOff counts users who reach nobody, and who are drawn to what no longer answers;
// by country too.
func (r *run) cutOff() map[string]float64 {
	m, by := r.m, map[string]float64{}
	for _, b := range r.bins {
		p := r.phases[b.phase]
		minutes := (b.to - b.from) / 60
		count := func(at int, cause string) {
			r.lost[cause] += p.users[at] * minutes
			for _, c := range p.cells[at] {
				by[m.zones[c.zone].Country] += c.users * minutes
			}
		}
		count(m.nowhere(), causeUnreached)
		for at, quiet := range m.phases[b.phase].silent {
			if quiet {
				count(at, causeConverging)
			}
		}
	}
	return by
}

// countries says where each country's users land.
func (r *run) countries(end *settled, lost map[string]float64) {
	m := r.m
	by := map[string][]float64{}
	for at, cells := range end.cells {
		for _, c := range cells {
			code := m.zones[c.zone].Country
			if by[code] == nil {
				by[code] = make([]float64, len(m.centers)+1)
			}
			by[code][at] += c.users
		}
	}
	for _, code := range sortedKeys(by) {
		one := Country{Code: code, Lost: lost[code]}
		for _, n := range by[code] {
			one.Users += n
		}
		for at, n := range by[code] {
			if n > 0 {
				one.Landings = append(one.Landings, Landing{r.id(at), n / one.Users})
			}
		}
		slices.SortStableFunc(one.Landings, func(a, b Landing) int { return cmp.Compare(b.Share, a.Share) })
		r.out.Countries = append(r.out.Countries, one)
	}
	slices.SortStableFunc(r.out.Countries, func(a, b Country) int { return cmp.Compare(b.Users, a.Users) })
}

// So many ASes are listed, and so many reasons told.
const (
	mostASes    = 100
	mostReasons = 10
	mostOfOne   = 3
)

// networks lists the ASes with most users.
func (r *run) networks(end *settled) {
	m := r.m
	order := slices.Clone(m.sources)
	slices.SortFunc(order, func(a, b source) int { return cmp.Or(cmp.Compare(b.users, a.users), cmp.Compare(a.node, b.node)) })
	for _, s := range order[:min(mostASes, len(order))] {
		at := m.zones[s.zone]
		l := end.land[s.node]
		rule := "no route"
		if l.Site != catchment.Nowhere {
			rule = fmt.Sprintf("route %v, %d ASes long", l.Class, l.Length)
		}
		r.out.ASes = append(r.out.ASes, AS{
			Number: uint32(m.net.world.Graph.ASN(asgraph.Node(s.node))), Country: at.Country, City: at.City, Lat: at.Lat, Lon: at.Lon, Users: s.users,
			Datacenter: r.id(m.at(end.land, s)), Before: r.id(m.at(r.all.land, s)), Rule: rule,
		})
	}
	said := map[string]int{}
	for _, s := range order {
		at := r.id(m.at(end.land, s))
		if at == "" || said[at] == mostOfOne {
			continue
		}
		said[at]++
		l, home := end.land[s.node], m.zones[s.zone]
		r.because("landing."+at, "%v of %s (%s) with %.0f users lands there by a route %v, %d ASes long",
			m.net.world.Graph.ASN(asgraph.Node(s.node)), home.City, home.Country, s.users, l.Class, l.Length)
	}
}

func sortedPairs(all map[[2]int]float64) [][2]int {
	keys := make([][2]int, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	return keys
}
