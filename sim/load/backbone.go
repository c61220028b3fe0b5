package load

import (
	"cmp"
	"slices"

	"github.com/homeward-lab/homeward/sim/maxmin"
)

// lines is what crosses the backbone in a bin, in bits per second by pair of
// datacenters: lower index times their number plus the higher.
type lines struct {
	n           int
	wanted, got []float64
}

func (l *lines) pair(a, b int) int { return min(a, b)*l.n + max(a, b) }

func sum(all []float64) (s float64) {
	for _, x := range all {
		s += x
	}
	return s
}

// backbone finds what crosses it: a reply goes to the datacenter that draws its
// origin's AS, and its address may be another's (SEMANTICS 5.1).
func (r *run) backbone() error {
	var peak *lines
	var wantedAll, gotAll float64
	for i, b := range r.bins {
		l, err := r.cross(i)
		if err != nil {
			return err
		}
		wanted, got := sum(l.wanted), sum(l.got)
		if peak == nil || wanted > sum(peak.wanted) {
			peak = l
		}
		wantedAll, gotAll = wantedAll+wanted*(b.to-b.from), gotAll+got*(b.to-b.from)
		// Users whose flows cross find so much less, for as long.
		if wanted > 0 {
			r.lost[causeBackbone] += r.m.users * r.crossing(i, wanted) * (1 - got/wanted) * (b.to - b.from) / 60
		}
	}
	r.elsewhere()
	r.set("backbone", sum(peak.got)/1e9)
	r.set("backbone_full", 1-ratio(gotAll, wantedAll))
	if wantedAll == 0 {
		r.set("backbone_full", 0)
	}
	for k, wanted := range peak.wanted {
		if wanted > 0 {
			r.out.Backbone = append(r.out.Backbone, Pair{r.id(k / peak.n), r.id(k % peak.n), peak.got[k] / 1e9, wanted / 1e9})
		}
	}
	slices.SortFunc(r.out.Backbone, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(b.Wanted, a.Wanted), cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B))
	})
	for _, p := range r.out.Backbone[:min(mostReasons, len(r.out.Backbone))] {
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

// cross is what wants to cross in a bin, and gets to.
func (r *run) cross(bin int) (*lines, error) {
	m, n := r.m, len(r.m.centers)
	l := &lines{n: n, wanted: make([]float64, n*n), got: make([]float64, n*n)}
	land := r.phases[r.bins[bin].phase].land
	want := func(from, to int, bits float64) {
		if from != to && from < n {
			l.wanted[l.pair(from, to)] += bits
		}
	}
	for i := range m.works {
		w, d := &m.works[i], &r.demands[i]
		by := make([]float64, n+1) // share of destinations that land there
		for k, node := range w.origins {
			by[m.at(land, source{node: node})] += w.popular[k]
		}
		// Replies go from where their origin lands to where their flow left, and on to
		// where it landed.
		replies := func(d *demand, place, out, c int, share float64) {
			bits := d.rate[bin][place] * share * w.size.mean * 8
			for o, share := range by {
				want(o, out, bits*share)
			}
			for _, rank := range sortedKeys(d.extra[bin]) {
				x := d.extra[bin][rank][place] * share * w.size.mean * 8
				want(m.at(land, source{node: w.origins[rank-1]}), out, x)
				bits += x
			}
			want(out, c, bits)
		}
		if parts := r.exits.pairs[i]; parts != nil {
			for k := range parts {
				for place := range n * n {
					replies(&parts[k], place, place%n, place/n, w.mix[k].share)
				}
			}
			continue
		}
		for c := range m.centers {
			replies(d, c, c, c, 1)
		}
	}
	return l, r.share(l)
}

// share gives the pairs what the lines have room for, by max-min fairness: each
// pair has a line of the class backbone, and each datacenter one of the class edge.
func (r *run) share(l *lines) error {
	m := r.m
	pair, edge := float64(m.s.Links["backbone"].Rate), float64(m.s.Links["edge"].Rate)
	copy(l.got, l.wanted)
	ends, full := make([]float64, l.n), false
	for k, x := range l.wanted {
		ends[k/l.n] += x
		ends[k%l.n] += x
		full = full || pair > 0 && x > pair
	}
	if !full && (edge == 0 || slices.Max(ends) <= edge) {
		return nil
	}
	var capacity []float64
	if edge > 0 {
		capacity = slices.Repeat([]float64{edge}, l.n)
	}
	var flows []maxmin.Flow
	var pairs []int
	var on [][]int32
	for k, x := range l.wanted {
		if x == 0 {
			continue
		}
		var over []int32
		if edge > 0 {
			over = append(over, int32(k/l.n), int32(k%l.n))
		}
		if pair > 0 {
			over, capacity = append(over, int32(len(capacity))), append(capacity, pair)
		}
		pairs, on = append(pairs, k), append(on, over)
	}
	n, err := maxmin.New(capacity)
	if err != nil {
		return err
	}
	for i, k := range pairs {
		flows = append(flows, n.Add(on[i], l.wanted[k]))
	}
	n.Settle()
	for i, k := range pairs {
		l.got[k] = n.Rate(flows[i])
		if l.got[k] < l.wanted[k]*(1-1e-9) && len(r.out.why["backbone_full"]) < mostReasons {
			r.because("backbone_full", "%s-%s wants %.3g Gbit/s and gets %.3g", r.id(k/l.n), r.id(k%l.n), l.wanted[k]/1e9, l.got[k]/1e9)
		}
	}
	return nil
}

// elsewhere is the share of flows that leave where they did not land, and how far
// that is.
func (r *run) elsewhere() {
	n, away, far, all := len(r.m.centers), 0.0, 0.0, 0.0
	ways, by := make([]float64, n*n), map[int]float64{}
	for i, b := range r.bins {
		for w, parts := range r.exits.pairs {
			for k := range parts {
				for place := range n * n {
					x := parts[k].total(i, place) * r.m.works[w].mix[k].share * (b.to - b.from)
					if all += x; x == 0 || place/n == place%n {
						continue
					}
					if ways[place] == 0 {
						ways[place] = roundTrip(r.m.centers[place/n].at, r.m.centers[place%n].at)
					}
					away, far, by[place] = away+x, far+x*ways[place], by[place]+x
				}
			}
		}
	}
	most := sortedKeys(by)
	slices.SortStableFunc(most, func(a, b int) int { return cmp.Compare(by[b], by[a]) })
	for _, place := range most[:min(mostReasons, len(most))] {
		for _, name := range []string{"elsewhere", "detour"} {
			r.because(name, "%.3g of all flows land at %s and leave from %s, %.0f ms there and back", by[place]/all, r.id(place/n), r.id(place%n), ways[place])
		}
	}
	r.set("elsewhere", ratio(away, all))
	r.set("detour", ratio(far, all))
}
