package load

import (
	"cmp"
	"slices"

	"github.com/homeward-lab/homeward/topologies/place"
)

// traffic is what datacenters carry over the run.
func (r *run) traffic() {
	m := r.m
	for c := range m.centers {
		d := Datacenter{
			ID: m.centers[c].ID, City: m.centers[c].at.City, Lat: m.centers[c].at.Lat, Lon: m.centers[c].at.Lon,
			Down: m.phases[len(m.phases)-1].down[c], Before: r.phases[0].users[c], Users: r.last().users[c],
			Utilisation: r.ports.utilisation[c], Blocked: r.ports.lost[c],
		}
		for i, b := range r.bins {
			rate, open, gbps := r.carried(i, c)
			d.Offered += rate * (b.to - b.from)
			d.Flows, d.FlowRate, d.Gbps = max(d.Flows, open), max(d.FlowRate, rate), max(d.Gbps, gbps)
		}
		r.out.Datacenters = append(r.out.Datacenters, d)
		for name, v := range map[string]float64{"flows": d.Flows, "flow_rate": d.FlowRate, "gbps": d.Gbps, "utilisation": d.Utilisation} {
			r.set(name+"."+d.ID, v)
		}
		r.values["state"] = max(r.values["state"], d.Flows/float64(m.centers[c].Servers))
	}
	offered, lost := 0.0, 0.0
	for i, b := range r.bins {
		at := Moment{At: b.from, Unreached: r.phases[b.phase].users[m.nowhere()]}
		for c := range m.centers {
			rate, open, gbps := r.carried(i, c)
			at.Rate, at.Flows, at.Gbps = at.Rate+rate, at.Flows+open, at.Gbps+gbps
			if m.phases[b.phase].silent[c] {
				at.Unreached += r.phases[b.phase].users[c]
			}
		}
		if r.ports.perBin != nil {
			at.Blocked = r.ports.perBin[i] / (b.to - b.from)
			lost += r.ports.perBin[i]
		}
		offered += at.Rate * (b.to - b.from)
		r.out.Timeline = append(r.out.Timeline, at)
	}
	r.set("offered", offered/m.end)
	r.set("carried", (offered-lost)/m.end)
	r.set("blocked", ratio(lost, offered))
	r.lost[causePorts] = r.ports.lostMinutes
	all := 0.0
	for _, c := range causes() {
		r.set("lost."+c, r.lost[c])
		all += r.lost[c]
	}
	r.set("lost_minutes", all)
}

// carried is what a datacenter has in a bin: new flows per second, flows open, by
// Little's law, and bits from origins.
func (r *run) carried(bin, at int) (rate, open, gbps float64) {
	for i := range r.m.works {
		w := &r.m.works[i]
		x := r.demands[i].total(bin, at)
		rate += x
		open += x * w.holding.mean
		gbps += x * w.size.mean * 8 / 1e9
	}
	return rate, open, gbps
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// ways are how far users are from where they land, at the end of the run.
func (r *run) ways() {
	m, end := r.m, r.last()
	down := m.phases[len(m.phases)-1].down
	type extra struct{ ms, users float64 }
	var all []extra
	sum, users := 0.0, 0.0
	for at, cells := range end.cells[:len(m.centers)] {
		for _, c := range cells {
			nearest := -1
			for k := range m.centers {
				if !down[k] && (nearest < 0 || r.metres[c.zone][k] < r.metres[c.zone][nearest]) {
					nearest = k
				}
			}
			ms := roundTrip(m.zones[c.zone], m.centers[at].at) - roundTrip(m.zones[c.zone], m.centers[nearest].at)
			all = append(all, extra{max(ms, 0), c.users})
			sum, users = sum+max(ms, 0)*c.users, users+c.users
		}
	}
	r.set("extra_rtt", ratio(sum, users))
	slices.SortStableFunc(all, func(a, b extra) int { return cmp.Compare(a.ms, b.ms) })
	seen := 0.0
	for _, e := range all {
		if seen += e.users; seen >= 0.95*users {
			r.set("extra_rtt_p95", e.ms)
			break
		}
	}
}

// roundTrip between places, in milliseconds, over cables as they are.
func roundTrip(a, b place.Place) float64 {
	return 2 * stretch(a, b) * place.Delay(a, b).Seconds() * 1e3
}
