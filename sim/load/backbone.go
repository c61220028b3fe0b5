package load

import (
	"cmp"
	"slices"

	"github.com/homeward-lab/homeward/sim/maxmin"
)

// lines is what crosses the backbone in a bin, in bits per second by pair of
// datacenters, the lower index first.
type lines struct {
	wanted, got map[[2]int]float64
}

// backbone finds what crosses it: a reply goes to the datacenter that draws its
// origin's AS, and its address may be another's (SEMANTICS 5.1).
func (r *run) backbone() error {
	peak, at := 0.0, 0
	var wantedAll, gotAll float64
	for i, b := range r.bins {
		l, err := r.cross(i)
		if err != nil {
			return err
		}
		r.lines = append(r.lines, l)
		wanted, got := total(l.wanted), total(l.got)
		if wanted > peak {
			peak, at = wanted, i
		}
		wantedAll, gotAll = wantedAll+wanted*(b.to-b.from), gotAll+got*(b.to-b.from)
		// Users whose flows cross find so much less, for as long.
		if wanted > 0 {
			r.lost[causeBackbone] += r.m.s.Population.Users * r.crossing(i, wanted) * (1 - got/wanted) * (b.to - b.from) / 60
		}
	}
	l := r.lines[at]
	r.set("backbone", total(l.got)/1e9)
	r.set("backbone_full", 1-ratio(gotAll, wantedAll))
	if wantedAll == 0 {
		r.set("backbone_full", 0)
	}
	for _, k := range sortedPairs(l.wanted) {
		p := Pair{r.id(k[0]), r.id(k[1]), l.got[k] / 1e9, l.wanted[k] / 1e9}
		r.out.Backbone = append(r.out.Backbone, p)
	}
	slices.SortStableFunc(r.out.Backbone, func(a, b Pair) int { return cmp.Compare(b.Wanted, a.Wanted) })
	for _, p := range r.out.Backbone[:min(10, len(r.out.Backbone))] {
		r.because("backbone", "%s-%s: %.3g Gbit/s of %.3g wanted", p.A, p.B, p.Gbps, p.Wanted)
	}
	return nil
}

// crossing is the share of all bits that crosses.
func (r *run) crossing(bin int, wanted float64) float64 {
	bits := 0.0
	for c := range r.m.centers {
		_, _, gbps := r.carried(bin, c)
		bits += gbps * 1e9
	}
	return min(ratio(wanted, bits), 1)
}

func total(all map[[2]int]float64) (sum float64) {
	for _, k := range sortedPairs(all) {
		sum += all[k]
	}
	return sum
}

// cross shares the backbone among the pairs of a bin.
func (r *run) cross(bin int) (lines, error) {
	m := r.m
	l := lines{map[[2]int]float64{}, map[[2]int]float64{}}
	land := r.phases[r.bins[bin].phase].land
	quiet := m.phases[r.bins[bin].phase].silent
	for i := range m.works {
		w, d := &m.works[i], &r.demands[i]
		by := make([]float64, len(m.centers)+1) // share of destinations that land there
		for k, node := range w.origins {
			by[m.at(land, source{node: node})] += w.popular[k]
		}
		for c := range m.centers {
			if quiet[c] {
				continue
			}
			bits := d.rate[bin][c] * w.size.mean * 8
			for o, share := range by[:len(m.centers)] {
				l.want(o, c, bits*share)
			}
			for _, rank := range sortedKeys(d.extra[bin]) {
				l.want(m.at(land, source{node: w.origins[rank-1]}), c, d.extra[bin][rank][c]*w.size.mean*8)
			}
		}
	}
	return l, r.share(&l)
}

// want adds what crosses from one datacenter to another; to nowhere nothing does.
func (l *lines) want(a, b int, bits float64) {
	if a != b && bits > 0 {
		l.wanted[[2]int{min(a, b), max(a, b)}] += bits
	}
}

// share gives the pairs what the lines have room for, by max-min fairness: each
// pair has a line of the class backbone, and each datacenter one of the class edge.
func (r *run) share(l *lines) error {
	m := r.m
	pair, edge := float64(m.s.Links["backbone"].Rate), float64(m.s.Links["edge"].Rate)
	pairs := sortedPairs(l.wanted)
	if pair == 0 && edge == 0 || len(pairs) == 0 {
		for _, k := range pairs {
			l.got[k] = l.wanted[k]
		}
		return nil
	}
	var capacity []float64
	if edge > 0 {
		for range m.centers {
			capacity = append(capacity, edge)
		}
	}
	if pair > 0 {
		for range pairs {
			capacity = append(capacity, pair)
		}
	}
	n, err := maxmin.New(capacity)
	if err != nil {
		return err
	}
	flows := make([]maxmin.Flow, len(pairs))
	for i, k := range pairs {
		var on []int32
		if edge > 0 {
			on = append(on, int32(k[0]), int32(k[1]))
		}
		if pair > 0 {
			on = append(on, int32(len(capacity)-len(pairs)+i))
		}
		flows[i] = n.Add(on, l.wanted[k])
	}
	n.Settle()
	for i, k := range pairs {
		l.got[k] = n.Rate(flows[i])
		if l.got[k] < l.wanted[k]*(1-1e-9) {
			r.because("backbone_full", "%s-%s wants %.3g Gbit/s and gets %.3g", r.id(k[0]), r.id(k[1]), l.wanted[k]/1e9, l.got[k]/1e9)
		}
	}
	return nil
}
