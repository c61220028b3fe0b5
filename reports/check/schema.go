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
	// Drops are all drop reasons by name, and what each means: drops.<reason>,
	// found in the records as server counter "drop.<reason>". Passed in because
	// this package does not know the dataplane.
	Drops map[string]string
	// Datacenters, Countries (in lower case) and Rules (ids of egress policies) are
	// what flows may leave by, and datacenters what they may come in by:
	// <traffic>.ingress.<datacenter> and .from.<datacenter>, .as.<country> and
	// .by.<rule>.
	Datacenters, Countries, Rules []string
	// Names are the hosts that some name stands for: <traffic>.at.<host>.
	Names []string
}

// counters are a hub's totals, named as in JSON, which hub.<counter> sums over
// servers.
func counters() map[string]string {
	return map[string]string{
		"packets":             "packets that servers took",
		"forwarded":           "from an on-ramp to the Internet or an off-ramp",
		"returned":            "from the Internet or an off-ramp into an on-ramp",
		"handed_over":         "handed to another server",
		"delivered":           "decided by another server, into a tunnel attached here",
		"routed":              "from on-ramp to on-ramp (ARR-8)",
		"speaking":            "of BGP between a customer's router and the network",
		"answered":            "consumed, or answered with an ICMP error or reset",
		"arr_failover":        "moves of a flow to another on-ramp of its group (ARR-11)",
		"probes":              "tunnel probes sent",
		"held":                "fragments kept until their datagram is whole",
		"reassembly_timeouts": "datagrams of which a fragment did not come in time",
		"relayed":             "flows that another server was asked to open, for want of a port",
		"guests":              "flows that leave by another server than their home",
		"route_lookups":       "route look-ups for replies (ARR-2)",
		"flows_started":       "flows set up",
		"flows_ended":         "flows that ended",
		"flows":               "flows now",
	}
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
	// about says what is measured.
	about string
}

// schema is every measure by its full dotted name.
type schema map[string]def

// globals are the objects that are not traffic.
func globals() []string {
	return []string{"all", "egress", "drops", "sessions", "route_lookups", "hub", "config", "backbone", "links"}
}

// trafficMeasures are those of a traffic id, and of all.
func (e EnvSpec) trafficMeasures() schema {
	s := schema{
		"total":              {typ: integer, grows: true, about: "flows"},
		"clients":            {typ: integer, grows: true, about: "hosts that opened one"},
		"served":             {typ: integer, grows: true, of: "clients", about: "clients with at least one flow that is ok"},
		"bytes_up":           {typ: integer, grows: true, about: "payload that reached servers"},
		"bytes_down":         {typ: integer, grows: true, about: "payload that reached clients"},
		"egress_pairs":       {typ: integer, grows: true, about: "different egress addresses and ports"},
		"dedicated":          {typ: integer, grows: true, of: "total", about: "left by an address of their account's own"},
		"elsewhere":          {typ: integer, grows: true, of: "total", about: "left from another datacenter than they came in by"},
		"ruled":              {typ: integer, grows: true, of: "total", about: "left by an egress policy"},
		"consistent":         {typ: boolean, grows: true, about: "no flow's replies were seen on two nodes"},
		"misdelivered_share": {typ: number, about: "misdelivered of total"},
	}
	for r, about := range results() {
		s[string(r)] = def{typ: integer, grows: true, of: "total", about: about}
	}
	for _, part := range []struct {
		prefix string
		names  []string
		about  string
	}{
		{"ingress.", e.Datacenters, "came in by this datacenter"},
		{"from.", e.Datacenters, "left from this datacenter"},
		{"as.", e.Countries, "left by an address of this country"},
		{"by.", e.Rules, "left by this egress policy"},
		{"at.", e.Names, "ended at this host of a name"},
	} {
		for _, name := range part.names {
			s[part.prefix+name] = def{typ: integer, grows: true, of: "total", about: part.about}
		}
	}
	for time, about := range map[string]string{
		"rtt_ms":   "round trip, in ms",
		"time_ms":  "from start to end of flows that are ok, in ms",
		"stall_ms": "longest time without payload, in ms",
	} {
		for _, q := range []string{"p50", "p90", "p99", "max", "mean"} {
			s[time+"."+q] = def{typ: number, grows: q == "max", unit: " ms", about: about}
		}
	}
	return s
}

// newSchema lists the measures of spec; with vs, also those of another variant.
func newSchema(spec EnvSpec, vs bool) schema {
	s := schema{
		"egress.port_outside_slice": {typ: integer, grows: true, about: "packets that left with a port outside their server's slice, as taps saw them (SU-1)"},
		"egress.addresses":          {typ: integer, grows: true, about: "egress addresses in use"},
		"egress.announced":          {typ: integer, grows: true, about: "addresses of the blocks announced for them"},
		"backbone.packets":          {typ: integer, grows: true, about: "packets between datacenters"},
		"backbone.bytes":            {typ: integer, grows: true, about: "bytes between datacenters"},
		"links.marked":              {typ: integer, grows: true, about: "packets that impaired links marked as having met congestion (ECN)"},
		"links.took_ms.p50":         {typ: number, unit: " ms", about: "what half of the packets took at most through the slowest impaired link, in ms"},
		"links.took_ms.p99":         {typ: number, unit: " ms", about: "what 99 of a hundred packets took at most through the slowest impaired link, in ms"},
		"links.overflowed":          {typ: integer, grows: true, about: "packets that found the queue of a link full"},
		"sessions.total":            {typ: integer, grows: true, about: "records of the session log"},
		"sessions.refused":          {typ: integer, grows: true, about: "sessions that were not set up"},
		"route_lookups.returning":   {typ: integer, grows: true, about: "route look-ups for replies; none with ARR (ARR-2)"},
		"drops.total":               {typ: integer, grows: true, about: "packets that servers dropped"},
		"config.objects":            {typ: integer, grows: true, about: "all that somebody has to write"},
	}
	for _, kind := range Kinds() {
		s["config."+kind] = def{typ: integer, grows: true, about: kind + " that somebody has to write"}
	}
	measures := spec.trafficMeasures()
	for _, id := range append([]string{"all"}, spec.Traffic...) {
		for name, d := range measures {
			if d.of != "" {
				d.of = id + "." + d.of
			}
			s[id+"."+name] = d
		}
	}
	for reason, about := range spec.Drops {
		s["drops."+reason] = def{typ: integer, grows: true, about: about}
	}
	for c, about := range counters() {
		s["hub."+c] = def{typ: integer, grows: c != "flows", about: about} // flows is how many there are now
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
	const few = 32
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
