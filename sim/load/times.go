package load

import (
	"cmp"
	"slices"
)

// Time is a quantile of how long something takes users.
type Time struct {
	// What it is: "round trip" to where a user lands at the end of the run, or "stall",
	// how long who was cut off by failures had no way.
	What string `json:"what"`
	// Percent of users for whom it takes at most Ms.
	Percent int     `json:"percent"`
	Ms      float64 `json:"ms"`
}

// part is users for whom something takes as long.
type part struct{ ms, users float64 }

// quantiles of parts, by every twentieth.
func quantiles(what string, all []part) (out []Time) {
	slices.SortStableFunc(all, func(a, b part) int { return cmp.Compare(a.ms, b.ms) })
	users := 0.0
	for _, p := range all {
		users += p.users
	}
	i, seen := 0, 0.0
	for percent := 0; percent <= 100 && len(all) > 0; percent += 5 {
		for i < len(all)-1 && seen+all[i].users < users*float64(percent)/100*(1-1e-12) {
			seen += all[i].users
			i++
		}
		out = append(out, Time{what, percent, all[i].ms})
	}
	return out
}

// times are how far users are from where they land, and how long those who were cut
// off had no way.
func (r *run) times() {
	m, end := r.m, r.last()
	var trips []part
	for at, cells := range end.cells[:len(m.centers)] {
		for _, c := range cells {
			trips = append(trips, part{roundTrip(m.zones[c.zone], m.centers[at].at), c.users})
		}
	}
	r.out.Times = quantiles("round trip", trips)
	if len(m.phases) == 1 {
		return
	}
	by := map[float64]float64{}
	for _, s := range m.sources {
		stall := 0.0
		for i, p := range m.phases {
			until := m.end
			if i+1 < len(m.phases) {
				until = m.phases[i+1].from
			}
			if at := m.at(r.phases[i].land, s); at == m.nowhere() || p.silent[at] {
				stall += until - p.from
			}
		}
		if stall > 0 {
			by[stall*1000] += s.users
		}
	}
	var stalls []part
	for _, ms := range sortedKeys(by) {
		stalls = append(stalls, part{ms, by[ms]})
	}
	r.out.Times = append(r.out.Times, quantiles("stall", stalls)...)
}
