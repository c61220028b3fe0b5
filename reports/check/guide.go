package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Measure is what checks can ask for, told to who writes them.
type Measure struct {
	// Name is dotted; those that only their last word tells apart are one:
	// all.rtt_ms.{max,p50}.
	Name string
	// Type is int, float or bool.
	Type  string
	About string
}

// Guide tells every measure of spec's scenario, sorted by name. Those of a
// traffic are told once, as those of all.
func Guide(spec EnvSpec) []Measure {
	spec.Traffic = nil
	s := newSchema(spec, false)
	var guide []Measure
	done := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(s)) {
		said := name
		if parts := strings.Split(name, "."); len(parts) == 3 {
			group := parts[0] + "." + parts[1]
			if done[group] {
				continue
			}
			done[group] = true
			said = group + "." + alternatives(s.below(group))
		}
		guide = append(guide, Measure{Name: said, Type: string(s[name].typ), About: s[name].about})
	}
	return guide
}

// alternatives are words that may stand in one place: {a,b}, the first few of many.
func alternatives(words []string) string {
	const few = 5
	switch {
	case len(words) == 1:
		return words[0]
	case len(words) > few:
		return fmt.Sprintf("{%s,…}", strings.Join(words[:few], ","))
	}
	return "{" + strings.Join(words, ",") + "}"
}
