package models

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/asgraph"
	"github.com/homeward-lab/homeward/sim/catchment"
	"github.com/homeward-lab/homeward/sim/study"
	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Catchment makes models of who lands where.
type Catchment struct {
	Study   *spec.Study
	Resolve Resolve
	// Datacenters that measures speak of.
	Datacenters []string

	worlds worlds
}

// Measures implements study.Maker.
func (c *Catchment) Measures() []record.StudyMeasure {
	all := []record.StudyMeasure{
		{Name: "moved", Unit: "share", Text: "of users who land elsewhere than with every datacenter up"},
		{Name: "unreached", Unit: "share", Text: "of users who reach no datacenter"},
		{Name: "busiest", Unit: "share", Text: "of users who land in the datacenter that has most"},
		{Name: "extra_km", Unit: "km", Text: "beyond the nearest datacenter that is up, the mean over users"},
		{Name: "heir", Unit: "share", Text: "of the moved users who land in the datacenter that gets most of them"},
	}
	for _, id := range c.Datacenters {
		all = append(all, record.StudyMeasure{Name: "landing." + id, Unit: "share", Text: "of users who land in " + id})
	}
	return all
}

// Limits implements study.Maker.
func (c *Catchment) Limits() []string { return Limits() }

// Model implements study.Maker.
func (c *Catchment) Model(_ context.Context, p study.Point) (study.Model, error) {
	in, err := internet(c.Study, p)
	if err != nil {
		return nil, err
	}
	s, err := c.Resolve(p)
	if err != nil {
		return nil, err
	}
	m := &landing{Catchment: c, internet: in}
	if m.ids, m.places, err = where(s); err != nil {
		return nil, err
	}
	if m.down, err = downOf(m.ids, p.Down); err != nil {
		return nil, err
	}
	return m, nil
}

func downOf(ids, down []string) (catchment.Scenario, error) {
	s := make(catchment.Scenario, len(ids))
	for _, d := range down {
		i := slices.Index(ids, d)
		if i < 0 {
			return nil, fmt.Errorf("no datacenter %s to fail", d)
		}
		s[i] = true
	}
	return s, nil
}

// landing is one point.
type landing struct {
	*Catchment
	internet spec.StudyInternet
	ids      []string
	places   []place.Place
	down     catchment.Scenario
}

// Run implements study.Model.
func (m *landing) Run(_ context.Context, r study.Replica) (*study.Outcome, error) {
	w, err := m.worlds.of(m.internet.ASes, study.Draw(m.Study.Seed, "topology", r.Topology))
	if err != nil {
		return nil, err
	}
	sites, err := w.Attach(m.ids, m.places, catchment.Attach{Seed: study.Draw(m.Study.Seed, "neighbours", r.Topology)})
	if err != nil {
		return nil, err
	}
	guesses := catchment.Ensemble{Members: max(2, m.internet.Ensemble), Seed: study.Draw(m.Study.Seed, "guesses", r.Seed)}
	// The scenario comes first: it is of whom Find keeps who lands where.
	c, err := catchment.Find(w, sites, []catchment.Scenario{m.down, nil}, guesses)
	if err != nil {
		return nil, err
	}
	return m.outcome(w, sites, c, guesses.Members), nil
}

func (m *landing) outcome(w *catchment.World, sites []catchment.Site, c *catchment.Catchments, members int) *study.Outcome {
	n := len(sites)
	users, before := c.Users(0), c.Users(1)
	all := 0.0
	for _, u := range users {
		all += u
	}
	o := &study.Outcome{Measures: map[string]float64{"unreached": users[n] / all}, Tables: map[string]record.StudyTable{}, Why: map[string][]string{}}
	table := record.StudyTable{Keys: []string{"datacenter", "city", "lat", "lon"}, Columns: []string{"users", "users_before", "least", "greatest", "neighbours"}}
	busiest, moved, heir := 0, 0.0, n
	for i, s := range sites {
		o.Measures["landing."+s.ID] = users[i] / all
		if users[i] > users[busiest] {
			busiest = i
		}
		if m.down[i] {
			moved += before[i]
		} else if heir == n || users[i]-before[i] > users[heir]-before[heir] {
			heir = i
		}
		least, greatest := math.Inf(1), 0.0
		for k := range members {
			least, greatest = min(least, c.Member(0, k)[i]), max(greatest, c.Member(0, k)[i])
		}
		table.Rows = append(table.Rows, record.StudyRow{
			Key: []string{s.ID, s.At.City, degrees(s.At.Lat), degrees(s.At.Lon)}, Values: []float64{users[i], before[i], least, greatest, float64(len(s.Sessions))},
		})
	}
	o.Tables["datacenters"] = table
	o.Measures["busiest"] = users[busiest] / all
	o.Measures["moved"] = moved / all
	o.Why["busiest"] = []string{fmt.Sprintf("%s has %.1f %% of all users, of %d neighbours", sites[busiest].ID, 100*users[busiest]/all, len(sites[busiest].Sessions))}
	if moved > 0 && heir < n {
		o.Measures["heir"] = (users[heir] - before[heir]) / moved
		o.Why["heir"] = []string{fmt.Sprintf("%s takes %.1f million users, %.0f %% of those that have to move", sites[heir].ID, (users[heir]-before[heir])/1e6, 100*(users[heir]-before[heir])/moved)}
		o.Tables["takeover"] = m.takeover(sites, users, before)
	}
	m.distances(o, w, sites, c, all)
	return o
}

// takeover is who has more users than with every datacenter up: with one down all of
// them are its own.
func (m *landing) takeover(sites []catchment.Site, users, before []float64) record.StudyTable {
	t := record.StudyTable{Keys: []string{"from", "to"}, Columns: []string{"users"}}
	from := ""
	for i, s := range sites {
		if m.down[i] {
			if from != "" {
				from += "+"
			}
			from += s.ID
		}
	}
	for k := range users {
		more := users[k] - before[k]
		if more <= 0 || k < len(sites) && m.down[k] {
			continue
		}
		to := "none"
		if k < len(sites) {
			to = sites[k].ID
		}
		t.Rows = append(t.Rows, record.StudyRow{Key: []string{from, to}, Values: []float64{more}})
	}
	t.SortBy("users")
	return t
}

// distances is how far users go beyond the nearest datacenter, where each city's
// users land, and which networks and rules decided most.
func (m *landing) distances(o *study.Outcome, w *catchment.World, sites []catchment.Site, c *catchment.Catchments, all float64) {
	near := make([]float64, len(w.Places))
	for h, p := range w.Places {
		near[h] = math.Inf(1)
		for i, s := range sites {
			if !m.down[i] {
				near[h] = min(near[h], place.Distance(p, s.At))
			}
		}
	}
	extra := 0.0
	land := make([][]float64, len(w.Places))
	type far struct {
		node   asgraph.Node
		site   int
		metres float64
		users  float64
	}
	var worst []far
	for v := range asgraph.Node(w.Graph.Len()) {
		h, u := w.Home[v], w.Users[v]
		if u == 0 {
			continue
		}
		if land[h] == nil {
			land[h] = make([]float64, len(sites)+1)
		}
		for _, s := range c.Of(v) {
			land[h][s.Site] += u * s.P
			if s.Site == len(sites) {
				continue
			}
			d := place.Distance(w.Places[h], sites[s.Site].At) - near[h]
			extra += d * u * s.P
			worst = append(worst, far{v, s.Site, d, u * s.P})
		}
	}
	o.Measures["extra_km"] = extra / all / 1000
	slices.SortStableFunc(worst, func(a, b far) int {
		switch x, y := a.metres*a.users, b.metres*b.users; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	for _, f := range worst[:min(8, len(worst))] {
		p := w.Places[w.Home[f.node]]
		o.Why["extra_km"] = append(o.Why["extra_km"], fmt.Sprintf("AS %d in %s, %.1f million users, lands in %s, %.0f km beyond the nearest", w.Graph.ASN(f.node), p.City, f.users/1e6, sites[f.site].ID, f.metres/1000))
	}
	cities := record.StudyTable{Keys: []string{"city", "lat", "lon", "datacenter"}, Columns: []string{"users", "share"}}
	for h, by := range land {
		sum, most := 0.0, 0
		for s, u := range by {
			if sum += u; u > by[most] {
				most = s
			}
		}
		if sum < 5e5 {
			continue // too small to be seen on a map
		}
		p, id := w.Places[h], "none"
		if most < len(sites) {
			id = sites[most].ID
		}
		cities.Rows = append(cities.Rows, record.StudyRow{Key: []string{p.City, degrees(p.Lat), degrees(p.Lon), id}, Values: []float64{sum, by[most] / sum}})
	}
	o.Tables["cities"] = cities
}

func degrees(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }
