package html

import (
	"slices"

	"github.com/homeward-lab/homeward/reports/picture"
	"github.com/homeward-lab/homeward/reports/record"
)

// stallEdges bound the classes of the distribution, ms; the last has no end.
var stallEdges = [...]int64{50, 100, 200, 500, 1000, 2000, 5000}

// stalls is how long flows of one traffic in one run went without payload.
type stalls struct {
	Variant, Engine, Traffic string
	Longest                  [4]int64 // p50, p90, p99, max, ns
	Classes                  []int    // flows by class of stallEdges
	Total                    int
}

// stalled are the distributions of runs in which something broke; without a
// fault a stall is nothing to look at.
func stalled(recs []*record.Records, traffic []string) []stalls {
	var all []stalls
	for _, name := range traffic {
		for _, rec := range recs {
			if !slices.ContainsFunc(rec.Events, func(e record.Event) bool { return e.Kind == "fault" }) {
				continue
			}
			s := stalls{Variant: rec.Run.Variant, Engine: rec.Run.Engine, Traffic: name, Classes: make([]int, len(stallEdges)+1)}
			var longest []int64
			for _, f := range picture.OfTraffic(rec.Flows, name) {
				if f.StallNs > 0 {
					longest = append(longest, f.StallNs)
					s.Classes[stallClass(f.StallNs)]++
				}
			}
			if s.Total = len(longest); s.Total > 0 {
				s.Longest = quantiles(longest)
				all = append(all, s)
			}
		}
	}
	return all
}

func stallClass(ns int64) int {
	for i, edge := range stallEdges {
		if ns < edge*1e6 {
			return i
		}
	}
	return len(stallEdges)
}

// stallHeads name the classes.
func stallHeads() []string {
	return []string{"< 50 ms", "< 100 ms", "< 200 ms", "< 500 ms", "< 1 s", "< 2 s", "< 5 s", "longer"}
}
