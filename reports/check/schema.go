package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// EnvSpec is what a scenario's checks can speak of.
type EnvSpec struct {
	// Traffic are the ids of traffic; each is an object of measures.
	Traffic []string
	// Variants are all variants, base included; Vs must be one of them.
	Variants []string
	// Drops are the names of all drop reasons: drops.<reason>, found in the
	// records as server counter "drop.<reason>". Passed in because this package
	// does not know the dataplane.
	Drops []string
	// Datacenters, Countries (in lower case) and Rules (ids of egress policies) are
	// what flows may leave by, and datacenters what they may come in by:
	// <traffic>.ingress.<datacenter> and .from.<datacenter>, .as.<country> and
	// .by.<rule>.
	Datacenters, Countries, Rules []string
	// Names are the hosts that some name stands for: <traffic>.at.<host>.
	Names []string
	// Counters are the server counters that hub.<counter> reaches, summed over
	// servers; nil means Counters().
	Counters []string
}

// Counters are the names of a hub's totals, as its counters are named in JSON.
func Counters() []string {
	return []string{"packets", "forwarded", "returned", "handed_over", "routed", "answered", "arr_failover", "probes", "held", "reassembly_timeouts", "relayed", "guests", "route_lookups",
		"flows_started", "flows_ended", "flows"}
}

// Kinds are the kinds of objects that somebody writes into a network's
// configuration, each reached as config.<kind>; config.objects is all of them.
func Kinds() []string {
	return []string{"onramps", "networks", "routes", "connectors", "vnets", "policies", "addresses", "groups"}
}

// typ is the type of a measure.
type typ string

const (
	integer typ = "int"
	number  typ = "float"
	boolean typ = "bool"
)

// def describes one measure.
type def struct {
	typ typ
	// grows: the value never shrinks (false → true never happens for
	// consistent, which counts as growing too: once broken, always broken).
	grows bool
	// of names the measure that this one is a part of, shown as "1 of 3".
	of   string
	unit string
}

// schema is every measure by its full dotted name.
type schema map[string]def

// globals are the objects that are not traffic.
func globals() []string {
	return []string{"all", "egress", "drops", "sessions", "route_lookups", "hub", "config", "backbone"}
}

// trafficMeasures are those of a traffic id, and of all.
func (e EnvSpec) trafficMeasures() schema {
	s := schema{
		"total": {typ: integer, grows: true}, "clients": {typ: integer, grows: true},
		"served":   {typ: integer, grows: true, of: "clients"},
		"bytes_up": {typ: integer, grows: true}, "bytes_down": {typ: integer, grows: true},
		"egress_pairs":       {typ: integer, grows: true},
		"dedicated":          {typ: integer, grows: true, of: "total"},
		"elsewhere":          {typ: integer, grows: true, of: "total"},
		"ruled":              {typ: integer, grows: true, of: "total"},
		"consistent":         {typ: boolean, grows: true},
		"misdelivered_share": {typ: number},
	}
	for _, r := range results() {
		s[string(r)] = def{typ: integer, grows: true, of: "total"}
	}
	for prefix, names := range map[string][]string{"ingress.": e.Datacenters, "from.": e.Datacenters, "as.": e.Countries, "by.": e.Rules, "at.": e.Names} {
		for _, name := range names {
			s[prefix+name] = def{typ: integer, grows: true, of: "total"}
		}
	}
	for _, time := range []string{"rtt_ms", "time_ms", "stall_ms"} {
		for _, q := range []string{"p50", "p90", "p99", "max", "mean"} {
			s[time+"."+q] = def{typ: number, grows: q == "max", unit: " ms"}
		}
	}
	return s
}

// newSchema lists the measures of spec; with vs, also those of another variant.
func newSchema(spec EnvSpec, vs bool) schema {
	s := schema{
		"egress.port_outside_slice": {typ: integer, grows: true},
		"egress.addresses":          {typ: integer, grows: true},
		"egress.announced":          {typ: integer, grows: true},
		"backbone.packets":          {typ: integer, grows: true},
		"backbone.bytes":            {typ: integer, grows: true},
		"sessions.total":            {typ: integer, grows: true},
		"sessions.refused":          {typ: integer, grows: true},
		"route_lookups.returning":   {typ: integer, grows: true},
		"drops.total":               {typ: integer, grows: true},
	}
	for _, kind := range append([]string{"objects"}, Kinds()...) {
		s["config."+kind] = def{typ: integer, grows: true}
	}
	for _, id := range append([]string{"all"}, spec.Traffic...) {
		for name, d := range spec.trafficMeasures() {
			if d.of != "" {
				d.of = id + "." + d.of
			}
			s[id+"."+name] = d
		}
	}
	for _, reason := range spec.Drops {
		s["drops."+reason] = def{typ: integer, grows: true}
	}
	for _, c := range spec.counters() {
		s["hub."+c] = def{typ: integer, grows: c != "flows"} // flows is how many there are now
	}
	if vs {
		for name, d := range maps.Clone(s) {
			if d.of != "" {
				d.of = "vs." + d.of
			}
			s["vs."+name] = d
		}
	}
	return s
}

func (e EnvSpec) counters() []string {
	if e.Counters == nil {
		return Counters()
	}
	return e.Counters
}

// below lists the names that may follow prefix and a dot, sorted; the top
// level for an empty prefix.
func (s schema) below(prefix string) []string {
	if prefix != "" {
		prefix += "."
	}
	var names []string
	for full := range s {
		if rest, ok := strings.CutPrefix(full, prefix); ok {
			name, _, _ := strings.Cut(rest, ".")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// suggest is a hint toward the nearest of names, or all of them if they are few.
func suggest(word string, names []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, n := range names {
		if d := distance(strings.ToLower(word), n); d < least {
			best, least = n, d
		}
	}
	const few = 12
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(names) > 0 && len(names) <= few:
		return "known here: " + strings.Join(names, ", ")
	}
	return ""
}

// distance is the number of single-character insertions, deletions,
// replacements and neighbour swaps between a and b.
func distance(a, b string) int {
	prev, row := []int(nil), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], prev[j-2]+1)
			}
		}
		prev, row = row, next
	}
	return row[len(b)]
}
