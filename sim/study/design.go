package study

import (
	"math/rand/v2"
	"slices"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// Points are those of a study over datacenters, in the order of reports: cases, then
// knobs, the last fastest, then failures.
func Points(s *spec.Study, datacenters []string) []Point {
	var all []Point
	for _, c := range s.Cases {
		for _, values := range designed(s) {
			for _, down := range failing(s.Failures, datacenters) {
				all = append(all, Point{Case: c.Name, Values: values, Down: down})
			}
		}
	}
	return all
}

// designed are the combinations of the knobs' values.
func designed(s *spec.Study) [][]string {
	if len(s.Vary) == 0 {
		return [][]string{nil}
	}
	switch s.Design {
	case "latin":
		return latin(s)
	case "each":
		base := make([]string, len(s.Vary))
		for i, k := range s.Vary {
			base[i] = k.Try()[0]
		}
		all := [][]string{base}
		for i, k := range s.Vary {
			for _, v := range k.Try()[1:] {
				one := slices.Clone(base)
				one[i] = v
				all = append(all, one)
			}
		}
		return all
	}
	all := [][]string{nil}
	for _, k := range s.Vary {
		var next [][]string
		for _, values := range all {
			for _, v := range k.Try() {
				next = append(next, append(slices.Clone(values), v))
			}
		}
		all = next
	}
	return all
}

// latin is a Latin hypercube (McKay, Beckman, Conover 1979): each knob's range is cut
// into as many parts as there are points, and each part is visited once.
func latin(s *spec.Study) [][]string {
	n := s.Points
	all := make([][]string, n)
	for i := range all {
		all[i] = make([]string, len(s.Vary))
	}
	for k, knob := range s.Vary {
		r := rand.New(rand.NewPCG(s.Seed, Draw(s.Seed, "latin "+knob.Name(), 0)))
		for i, part := range r.Perm(n) {
			all[i][k] = knob.At((float64(part) + r.Float64()) / float64(n))
		}
	}
	return all
}

// failing are the sets of datacenters that are down: none, each, and each two.
func failing(f *spec.Failures, datacenters []string) [][]string {
	all := [][]string{nil}
	if f == nil {
		return all
	}
	of := f.Of
	if len(of) == 0 {
		of = datacenters
	}
	for _, d := range of {
		all = append(all, []string{d})
	}
	if f.Together < 2 {
		return all
	}
	for i, a := range of {
		for _, b := range of[i+1:] {
			all = append(all, []string{a, b})
		}
	}
	return all
}

// likely is how likely exactly these of all datacenters are down, when each fails by
// itself.
func likely(f *spec.Failures, down, all int) float64 {
	u := float64(f.MTTR) / float64(f.MTBF+f.MTTR)
	p := 1.0
	for i := range all {
		if i < down {
			p *= u
		} else {
			p *= 1 - u
		}
	}
	return p
}
