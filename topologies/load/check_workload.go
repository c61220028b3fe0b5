package load

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const (
	maxDestinations = 100_000
	maxASes         = 200_000
	minASes         = 100
	maxUsers        = 1e10
	// maxWorkload is how long flows may begin.
	maxWorkload = 7 * 24 * time.Hour
	maxRetries  = 20
)

// workProtocols are the words of Workload.Mix.
func workProtocols() []string { return []string{"tcp", "udp", "dns", "icmp"} }

// population checks who uses the network.
func (r *resolver) population() {
	p := r.s.Population
	if p == nil {
		return
	}
	const path = "population"
	if !(p.Users > 0) || p.Users > maxUsers {
		if r.present(path + ".users") {
			if r.refused(path+".users") == "" {
				r.fail(path+".users", "", "users %v, want more than 0 and at most %.0f", p.Users, float64(maxUsers))
			}
		} else {
			r.missing(path, "users", "no users, want how many there are at once, such as users: 1_000_000")
		}
	}
	if p.ASes != 0 && (p.ASes < minASes || p.ASes > maxASes) || r.zero(path+".ases") {
		r.fail(path+".ases", "", "ases %d, want %d to %d", p.ASes, minASes, maxASes)
	}
	if p.Transit < 0 || p.Transit > 16 || r.zero(path+".transit") {
		r.fail(path+".transit", "", "transit %d, want 1 to 16", p.Transit)
	}
	sum := 0.0
	for _, code := range slices.Sorted(maps.Keys(p.Countries)) {
		w, at := p.Countries[code], path+".countries."+code
		sum += w
		if place.People(code) == 0 {
			hint := ""
			if place.People(strings.ToUpper(code)) > 0 {
				hint = strings.ToUpper(code)
			}
			r.fail(at, hint, "no country %q with people, want two letters such as GB", clip(code))
		} else if !(w >= 0) {
			r.fail(at, "", "weight %v, want 0 or more", w)
		}
	}
}

// workloads checks drawn traffic.
func (r *resolver) workloads(ix *names) {
	for i := range r.s.Workload {
		w := &r.s.Workload[i]
		path := item("workload", i)
		if w.ID != "" && !r.twice[path] {
			path = "workload." + w.ID
		}
		r.workEnds(ix, path, w)
		if !(w.Rate > 0) {
			if !r.present(path + ".rate") {
				r.missing(path, "rate", "no rate, want flows per second of each host or user, such as rate: 0.1")
			} else if r.refused(path+".rate") == "" {
				r.fail(path+".rate", "", "rate %v, want more than 0", w.Rate)
			}
		}
		r.mix(path, w)
		r.tries(path, w)
		r.day(path, w)
		r.crowds(path, w)
	}
}

// workEnds checks who opens flows, and to whom.
func (r *resolver) workEnds(ix *names, path string, w *spec.Workload) {
	switch {
	case w.From != spec.FromPopulation:
		r.translated(ix, path+".from", r.end(ix, path, "from", w.From))
	case r.s.Population == nil && !r.lostIn("population"):
		r.fail(path+".from", "", "there is no population, want one such as population: {users: 1_000_000}, or hosts such as shop.*.till")
	}
	if w.To != spec.ToInternet {
		r.end(ix, path, "to", w.To)
		if w.Popularity != (spec.Popularity{}) {
			r.fail(path+".popularity", "", "popularity is of drawn destinations, want to: %s beside it", spec.ToInternet)
		}
	}
}

// mix checks the protocols.
func (r *resolver) mix(path string, w *spec.Workload) {
	sum := 0.0
	for _, word := range slices.Sorted(maps.Keys(w.Mix)) {
		at := path + ".mix." + word
		if !slices.Contains(workProtocols(), word) {
			r.fail(at, suggest(word, workProtocols()), "no protocol %q, want one of %s", clip(word), oneOf(workProtocols()))
		} else if share := w.Mix[word]; !(share >= 0) {
			r.fail(at, "", "share %v, want 0 or more", share)
		}
		sum += w.Mix[word]
	}
	if len(w.Mix) > 0 && sum == 0 && r.refused(path+".mix") == "" {
		r.fail(path+".mix", "", "no protocol has a share, want one that does")
	}
}

// tries checks what refused flows do, and for how long flows begin.
func (r *resolver) tries(path string, w *spec.Workload) {
	if w.Retries < 0 || w.Retries > maxRetries {
		r.fail(path+".retries", "", "retries %d, want 0 to %d", w.Retries, maxRetries)
	}
	if w.Backoff != 0 && w.Retries == 0 {
		r.fail(path+".backoff", "", "backoff without retries, want retries: 3 beside it")
	}
	if w.For.D() > maxWorkload {
		r.fail(path+".for", "", "for %v, want at most %v", w.For, unit.Duration(maxWorkload))
	}
}

// day checks how the rate follows the hour.
func (r *resolver) day(path string, w *spec.Workload) {
	for _, h := range []struct {
		word string
		hour float64
	}{{"peak", w.Peak}, {"clock", w.Clock}} {
		if !(h.hour >= 0) || h.hour >= 24 {
			r.fail(path+"."+h.word, "", "%s %v, want an hour from 0 to less than 24", h.word, h.hour)
		}
	}
	if w.Diurnal != 0 && w.From != spec.FromPopulation {
		r.fail(path+".diurnal", "", "diurnal follows the local time of a population, want from: %s", spec.FromPopulation)
	}
}

// crowds checks bursts.
func (r *resolver) crowds(path string, w *spec.Workload) {
	for i, c := range w.Crowds {
		at := item(path+".crowds", i)
		if c.For <= 0 {
			r.missing(at, "for", "a crowd for how long? want for: 5m")
		}
		if !(c.Times > 1) {
			if r.present(at + ".times") {
				r.fail(at+".times", "", "times %v, want more than 1", c.Times)
			} else {
				r.missing(at, "times", "a crowd of how many? want times: 3")
			}
		}
		if c.Country != "" && place.People(c.Country) == 0 {
			r.fail(at+".country", "", "no country %q with people, want two letters such as GB", clip(c.Country))
		}
		if c.Country != "" && w.From != spec.FromPopulation {
			r.fail(at+".country", "", "a crowd's country is of a population, want from: %s", spec.FromPopulation)
		}
		n := w.Popularity.Number
		if n == 0 {
			n = spec.Destinations
		}
		if c.To != 0 && (w.To != spec.ToInternet || c.To < 0 || c.To > n) {
			r.fail(at+".to", "", "destination %d, want the rank of a drawn one, 1 to %d, with to: %s", c.To, n, spec.ToInternet)
		}
	}
}
