package load

import (
	"cmp"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/sim/stat"
)

// portTotals is what ports did to flows.
type portTotals struct {
	utilisation []float64 // by datacenter, the high-water mark
	lost        []float64 // flows, by datacenter
	perBin      []float64
	lostMinutes float64
}

// slices plays the ports.
func (r *run) slices() error {
	m := r.m
	r.ports = portTotals{utilisation: make([]float64, len(m.centers)), lost: make([]float64, len(m.centers)), perBin: make([]float64, len(r.bins))}
	worst := 0.0
	for c := range m.centers {
		n := 0
		for _, e := range m.centers[c].Egress {
			n += 1 << (e.Prefix.Addr().BitLen() - e.Prefix.Bits())
		}
		r.values["addresses"] += float64(n)
		groups := egress.AddressesFor(m.centers[c].Servers)
		ports := n / max(groups, 1) * egress.SliceSize
		for i := range m.works {
			w := &m.works[i]
			for _, p := range w.mix {
				for k := range min(len(w.popular), 3) {
					load := 0.0
					for b := range r.bins {
						load = max(load, r.demands[i].toward(b, c, k, w.popular[k])*p.share*(w.holding.mean+p.keep)/float64(m.centers[c].Servers))
					}
					if ports == 0 {
						continue
					}
					b := stat.ErlangB(ports, load)
					worst = max(worst, b)
					u := min(load/float64(ports), 1)
					r.ports.utilisation[c] = max(r.ports.utilisation[c], u)
				}
			}
		}
	}
	r.set("erlang", worst)
	peak := slices.MaxFunc(r.ports.utilisation, cmp.Compare[float64])
	r.set("ports_peak", peak)
	return nil
}
