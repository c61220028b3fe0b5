package load

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/sim/asgraph"
	"github.com/homeward-lab/homeward/sim/catchment"
	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// hosts are who opens flows in a scenario without a population: a few machines that
// engines with packets have too. Where each lands is its plan's.
type hosts struct {
	nodes  []plan.Node // clients, of which each is a zone, and then origins
	places []place.Place
	// landing by node.
	landing []catchment.Landing
	centers []center
	// countries of addresses, as the plan's servers know them.
	countries []hub.Country
}

// country of an address, by the longest prefix.
func (h *hosts) country(a netip.Addr) (code string) {
	bits := -1
	for _, c := range h.countries {
		if c.Prefix.Contains(a) && c.Prefix.Bits() > bits {
			code, bits = c.Code, c.Prefix.Bits()
		}
	}
	return code
}

// Land implements lander: who lands at a datacenter that is down lands at the
// nearest that is not.
func (h *hosts) Land(down catchment.Scenario, _ asgraph.Preference) ([]catchment.Landing, error) {
	land := slices.Clone(h.landing)
	for v := range land {
		if down == nil || land[v].Site == catchment.Nowhere || !down[land[v].Site] {
			continue
		}
		land[v].Site = catchment.Nowhere
		for c := range h.centers {
			if !down[c] && (land[v].Site == catchment.Nowhere ||
				place.Distance(h.places[v], h.centers[c].at) < place.Distance(h.places[v], h.centers[land[v].Site].at)) {
				land[v].Site = int16(c)
			}
		}
	}
	return land, nil
}

// settleHosts makes the hosts of a scenario's workloads its users, as its plan has
// them: one user each.
func (m *Model) settleHosts() error {
	p, err := plan.Compile(m.s)
	if err != nil {
		return err
	}
	if len(m.s.Accounts) > 1 {
		return &Unsupported{"accounts", "the flow level plays hosts of one account"}
	}
	if len(m.s.Transit) > 0 && len(m.s.Faults) > 0 {
		return &Unsupported{"faults", "where hosts land after a fault is BGP's where the file has transit, and the flow level has no sessions; want a population, or no transit"}
	}
	m.hosts = &hosts{centers: m.centers}
	if len(p.Servers) > 0 {
		m.hosts.countries = p.Servers[0].Config.Countries
	}
	for _, kind := range []plan.Kind{plan.KindHost, plan.KindOrigin} {
		for _, n := range p.Nodes {
			if n.Kind == kind {
				m.hosts.add(n, m.centers)
			}
		}
		if kind == plan.KindHost {
			m.zones = slices.Clone(m.hosts.places)
			for v := range m.zones {
				m.sources = append(m.sources, source{zone: v, users: 1, node: v})
			}
		}
	}
	m.users = float64(len(m.sources))
	return nil
}

// add adds a machine.
func (h *hosts) add(n plan.Node, centers []center) {
	at, known := place.Lookup(n.Place)
	if !known {
		at = place.Place{Code: n.Place, City: n.ID, Lat: n.Lat, Lon: n.Lon}
	}
	l := catchment.Landing{Site: catchment.Nowhere}
	if c := slices.IndexFunc(centers, func(c center) bool { return c.ID == n.Datacenter }); c >= 0 {
		l.Site = int16(c)
	}
	h.nodes, h.places, h.landing = append(h.nodes, n), append(h.places, at), append(h.landing, l)
}

// ends finds the hosts that open a workload's flows, by zone, and to whom: the share
// of each destination, and its node.
func (m *Model) ends(w *spec.Workload, path string) (from []bool, popular []float64, origins []int, err error) {
	h := m.hosts
	from = make([]bool, len(m.zones))
	for v := range from {
		from[v] = spec.Matches(w.From, h.nodes[v].ID)
	}
	for v, n := range h.nodes {
		id := n.ID
		if n.Replica != "" {
			return nil, nil, nil, &Unsupported{"internet." + n.Replica + ".proxied", "the flow level knows no origins that the network serves itself"}
		}
		switch {
		case w.To == spec.ToInternet && n.Kind == plan.KindOrigin, w.To != spec.ToInternet && spec.Matches(w.To, id):
			if n.Kind != plan.KindOrigin {
				return nil, nil, nil, &Unsupported{path + ".to", fmt.Sprintf("%s is no host of internet, and the flow level plays flows to those", id)}
			}
			origins = append(origins, v)
		}
	}
	popular = slices.Repeat([]float64{1 / float64(max(len(origins), 1))}, len(origins))
	if w.To == spec.ToInternet {
		popular = w.Popularity.Popular(len(origins))
	}
	for i := range m.works {
		for _, o := range origins {
			if slices.Contains(m.works[i].origins, o) {
				return nil, nil, nil, &Unsupported{path + ".to", fmt.Sprintf("%s is a destination of workload %s too: their flows share ports, which the flow level counts for one workload", h.nodes[o].ID, m.works[i].ID)}
			}
		}
	}
	return from, popular, origins, nil
}

// destination names one for people.
func (m *Model) destination(w *work, rank int) string {
	if m.hosts == nil {
		return fmt.Sprintf("%s.%d", w.ID, rank+1)
	}
	return strings.Join([]string{w.ID, m.hosts.nodes[w.origins[rank]].ID}, ".")
}
