package load

import (
	"cmp"
	"math"
	"slices"
)

// bin is a time in which rates stay as they are.
type bin struct {
	from, to float64 // seconds
	phase    int
}

// leastBins divide a run besides what happens in it.
const leastBins = 24

// bins divide the run wherever something begins or ends, and evenly besides.
func (m *Model) bins() []bin {
	edges := []float64{0, m.end}
	for i := range leastBins {
		edges = append(edges, m.end*float64(i)/leastBins)
	}
	for _, p := range m.phases {
		edges = append(edges, p.from)
	}
	for _, w := range m.works {
		edges = append(edges, seconds(w.For.D()))
		for _, c := range w.Crowds {
			edges = append(edges, seconds(c.At.D()), seconds(c.At.D()+c.For.D()))
		}
	}
	slices.SortFunc(edges, cmp.Compare[float64])
	edges = slices.Compact(edges)
	var all []bin
	for i := 1; i < len(edges) && edges[i] <= m.end; i++ {
		phase := 0
		for k, p := range m.phases {
			if p.from <= edges[i-1] {
				phase = k
			}
		}
		all = append(all, bin{edges[i-1], edges[i], phase})
	}
	return all
}

// swing is how many times its mean a zone's rate is in the middle of a bin, by the
// local time of its longitude.
func (w *work) swing(lon float64, b bin) float64 {
	if w.Diurnal == 0 {
		return 1
	}
	hour := w.Clock + (b.from+b.to)/2/3600 + lon/15
	return 1 + float64(w.Diurnal)*math.Cos(2*math.Pi*(hour-w.Peak)/24)
}

// crowd is by how much of the usual rate a zone has more in a bin, toward any
// destination and toward single ones, by rank from 1.
func (w *work) crowd(country string, b bin) (any float64, to map[int]float64) {
	for _, c := range w.Crowds {
		at := seconds(c.At.D())
		if b.from < at || b.from >= at+seconds(c.For.D()) || c.Country != "" && c.Country != country {
			continue
		}
		if c.To == 0 {
			any += c.Times - 1
			continue
		}
		if to == nil {
			to = map[int]float64{}
		}
		to[c.To] += c.Times - 1
	}
	return any, to
}

// demand is what users of a workload want at each place, flows per second. Places
// are datacenters, or pools of addresses.
type demand struct {
	// rate by bin and place: toward destinations by their popularity.
	rate [][]float64
	// extra toward single destinations, by rank from 1.
	extra []map[int][]float64 // by bin
}

// demand finds it: place says of a phase where users of a zone count who land at a
// datacenter, of so many places; negative is nowhere.
func (m *Model) demand(w *work, bins []bin, phases []*settled, places int, place func(phase, at, zone int) int) demand {
	d := demand{rate: make([][]float64, len(bins)), extra: make([]map[int][]float64, len(bins))}
	for i, b := range bins {
		d.rate[i] = make([]float64, places)
		if b.from >= seconds(w.For.D()) {
			continue
		}
		usual, special := m.zoneRates(w, b)
		for rank := range special {
			if d.extra[i] == nil {
				d.extra[i] = map[int][]float64{}
			}
			d.extra[i][rank] = make([]float64, places)
		}
		for at, cells := range phases[b.phase].cells[:len(m.centers)] {
			for _, c := range cells {
				to := place(b.phase, at, c.zone)
				if to < 0 {
					continue
				}
				d.rate[i][to] += c.users * usual[c.zone]
				for rank, x := range special {
					d.extra[i][rank][to] += c.users * x[c.zone]
				}
			}
		}
	}
	return d
}

// zoneRates are flows per second of one user of each zone in a bin: as popularity
// says, and more toward single destinations.
func (m *Model) zoneRates(w *work, b bin) (usual []float64, special map[int][]float64) {
	usual, special = make([]float64, len(m.zones)), map[int][]float64{}
	for z, p := range m.zones {
		if w.from != nil && !w.from[z] {
			continue
		}
		s := w.Rate * w.swing(p.Lon, b)
		any, to := w.crowd(p.Country, b)
		usual[z] = s * (1 + any)
		for rank, x := range to {
			if special[rank] == nil {
				special[rank] = make([]float64, len(m.zones))
			}
			special[rank][z] = s * x
		}
	}
	return usual, special
}

// total is the rate of a bin at a datacenter, toward all destinations.
func (d *demand) total(bin, at int) float64 {
	sum := d.rate[bin][at]
	for _, rank := range sortedKeys(d.extra[bin]) {
		sum += d.extra[bin][rank][at]
	}
	return sum
}

// toward is the rate of a bin at a datacenter toward one destination, by rank from 0.
func (d *demand) toward(bin, at, rank int, share float64) float64 {
	x := d.rate[bin][at] * share
	if e := d.extra[bin][rank+1]; e != nil {
		x += e[at]
	}
	return x
}
