package compare

import (
	"fmt"
	"maps"
	"slices"

	"github.com/homeward-lab/homeward/reports/record"
)

// made is what differs in how two runs came to be: seed and versions, and of one
// engine also the plan and what of the kernel was used. It is no disagreement, but
// may be the reason of one.
func made(a, b *record.Run) []Difference {
	var all []Difference
	differ := func(what, x, y string) {
		if x != y {
			all = append(all, Difference{What: what, A: x, B: y})
		}
	}
	differ("seed", fmt.Sprint(a.Seed), fmt.Sprint(b.Seed))
	eachOf(a.Versions, b.Versions, func(name, x, y string) {
		if a.Engine == b.Engine || x != "" && y != "" {
			differ(name, x, y)
		}
	})
	if a.Engine == b.Engine {
		differ("fingerprint", short(a.Fingerprint), short(b.Fingerprint))
		eachOf(a.Features, b.Features, differ)
	}
	return all
}

// eachOf calls f with every name that one of two maps has, in order.
func eachOf(a, b map[string]string, f func(name, x, y string)) {
	names := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		f(name, a[name], b[name])
	}
}

// short is as much of a fingerprint as people compare.
func short(fingerprint string) string { return fingerprint[:min(16, len(fingerprint))] }
