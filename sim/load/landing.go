package load

import (
	"slices"

	"github.com/homeward-lab/homeward/sim/asgraph"
	"github.com/homeward-lab/homeward/sim/catchment"
	"github.com/homeward-lab/homeward/topologies/place"
)

// cell is users of one zone at one datacenter.
type cell struct {
	zone  int
	users float64
}

// settled is where users are in a phase.
type settled struct {
	land []catchment.Landing // by node
	// cells by datacenter; the last is nowhere.
	cells [][]cell
	users []float64
}

// nowhere is the index after the datacenters.
func (m *Model) nowhere() int { return len(m.centers) }

// at is the datacenter of a source in a landing.
func (m *Model) at(land []catchment.Landing, s source) int {
	if site := land[s.node].Site; site != catchment.Nowhere {
		return int(site)
	}
	return m.nowhere()
}

// lander says where every node lands.
type lander interface {
	Land(catchment.Scenario, asgraph.Preference) ([]catchment.Landing, error)
}

// lander of a run: what a seed believes of the Internet.
func (m *Model) lander(seed uint64) (lander, error) {
	switch {
	case m.hosts != nil:
		return m.hosts, nil
	case m.s.Population.Noise > 0:
		return m.net.world.Doubt(m.net.sites, float64(m.s.Population.Noise), seed)
	}
	return m.net.finder, nil
}

// landings finds where users are, if all datacenters are up and in each phase.
// The guess is the same for every variant of a scenario.
func (m *Model) landings(seed uint64) (all *settled, phases []*settled, err error) {
	f, err := m.lander(seed)
	if err != nil {
		return nil, nil, err
	}
	p := catchment.Guess(seed)
	if all, err = m.land(f, make([]bool, len(m.centers)), p); err != nil {
		return nil, nil, err
	}
	for i, ph := range m.phases {
		var s *settled
		switch {
		case !slices.Contains(ph.down, true):
			s = all
		case i > 0 && slices.Equal(ph.down, m.phases[i-1].down):
			s = phases[i-1]
		default:
			if s, err = m.land(f, ph.down, p); err != nil {
				return nil, nil, err
			}
		}
		phases = append(phases, s)
	}
	return all, phases, nil
}

// land is where users are while some datacenters are down.
func (m *Model) land(f lander, down []bool, p asgraph.Preference) (*settled, error) {
	land, err := f.Land(down, p)
	if err != nil {
		return nil, err
	}
	s := &settled{land: land, cells: make([][]cell, len(m.centers)+1), users: make([]float64, len(m.centers)+1)}
	dense := make([]float64, len(s.cells)*len(m.zones))
	for _, src := range m.sources {
		at := m.at(land, src)
		dense[at*len(m.zones)+src.zone] += src.users
		s.users[at] += src.users
	}
	for at := range s.cells {
		for zone, n := range dense[at*len(m.zones) : (at+1)*len(m.zones)] {
			if n > 0 {
				s.cells[at] = append(s.cells[at], cell{zone, n})
			}
		}
	}
	return s, nil
}

// distances are metres from each zone to each datacenter, by zone.
func distances(zones, centers []place.Place) [][]float64 {
	all := make([][]float64, len(zones))
	for z, from := range zones {
		all[z] = make([]float64, len(centers))
		for c, to := range centers {
			all[z][c] = place.Distance(from, to)
		}
	}
	return all
}

func (m *Model) distances() [][]float64 {
	if m.net != nil {
		return m.net.metres
	}
	var centers []place.Place
	for _, c := range m.centers {
		centers = append(centers, c.at)
	}
	return distances(m.zones, centers)
}
