package check

import (
	"maps"
	"slices"

	"github.com/homeward-lab/homeward/reports/record"
)

// Numbers are the measures of a run that have a value, truths as 0 and 1: for who
// does arithmetic over many runs.
func Numbers(run *record.Records, spec EnvSpec) map[string]float64 {
	out := map[string]float64{}
	for name, x := range measure(run, spec) {
		switch v := x.v.(type) {
		case nil:
		case bool:
			out[name] = 0
			if v {
				out[name] = 1
			}
		default:
			out[name] = float(v)
		}
	}
	return out
}

// Names are all measures that a run can have, sorted, with their units.
func Names(spec EnvSpec) (names []string, units map[string]string) {
	s := newSchema(spec, false)
	units = map[string]string{}
	for name, d := range s {
		units[name] = d.unit
	}
	return slices.Sorted(maps.Keys(s)), units
}
