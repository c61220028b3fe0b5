package check

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// results are the outcomes of a flow, and what each says.
func results() map[record.Result]string {
	return map[record.Result]string{
		record.OK:           "whose client got the whole of its own answer",
		record.Misdelivered: "of which a packet reached a host that it was not for",
		record.Lost:         "without an answer in time",
		record.Refused:      "refused by the origin",
		record.Reset:        "reset",
		record.Failed:       "that could not be tried, or got a wrong answer",
	}
}

// value is a measure's value, or why it has none.
type value struct {
	v   any // int, float64 or bool
	err error
}

// values are the measures of one run by full name. What a schema knows and
// values does not has no value.
type values map[string]value

// with adds another run's measures under a prefix, in a copy.
func (v values) with(prefix string, other values) values {
	all := maps.Clone(v)
	for name, x := range other {
		if x.err != nil {
			x.err = fmt.Errorf("of the other variant: %w", x.err)
		}
		all[prefix+name] = x
	}
	return all
}

// get is the value as T, for a compiled expression.
func get[T any](v values, name string) (T, error) {
	var none T
	x, ok := v[name]
	switch {
	case !ok:
		return none, fmt.Errorf("%s has no value in these records", name)
	case x.err != nil:
		return none, fmt.Errorf("%s has no value: %w", name, x.err)
	}
	t, ok := x.v.(T)
	if !ok {
		return none, fmt.Errorf("%s is a %T, want a %T", name, x.v, none)
	}
	return t, nil
}

var errZero = errors.New("division by zero")

// environment are the functions that signatures types.
func (v values) environment() map[string]any {
	return map[string]any{
		fnInteger: func(name string) (int, error) { return get[int](v, name) },
		fnNumber:  func(name string) (float64, error) { return get[float64](v, name) },
		fnBoolean: func(name string) (bool, error) { return get[bool](v, name) },
		fnDivide: func(a, b any) (float64, error) {
			if float(b) == 0 {
				return 0, errZero
			}
			return float(a) / float(b), nil
		},
		fnModulo: func(a, b int) (int, error) {
			if b == 0 {
				return 0, errZero
			}
			return a % b, nil
		},
	}
}

// float is an int or float64 as a float64; the types were checked at compile time.
func float(x any) float64 {
	if i, ok := x.(int); ok {
		return float64(i)
	}
	return x.(float64)
}

// measure computes every measure of spec over a run.
func measure(run *record.Records, spec EnvSpec) values {
	v := values{}
	if run == nil {
		return v
	}
	seen := misdeliveries(run.Events)
	for _, id := range spec.Traffic {
		var flows []record.Flow
		for _, f := range run.Flows {
			if f.Traffic == id {
				flows = append(flows, f)
			}
		}
		v.traffic(spec, id, flows, seen)
	}
	v.traffic(spec, "all", run.Flows, seen)
	v.totals(run, spec)
	return v
}

// misdeliveries lists, by session, the nodes that saw a packet which was not theirs.
func misdeliveries(events []record.Event) map[string][]string {
	seen := map[string][]string{}
	for _, e := range events {
		if e.Kind == "misdelivered" && e.SessionID != "" && e.Peer != "" {
			seen[e.SessionID] = append(seen[e.SessionID], e.Peer)
		}
	}
	return seen
}

// traffic measures flows under the name id.
func (v values) traffic(spec EnvSpec, id string, flows []record.Flow, misdelivered map[string][]string) {
	if len(flows) == 0 {
		for name := range spec.trafficMeasures() {
			v[id+"."+name] = value{err: errors.New("no flow was recorded")}
		}
		return
	}
	counts := map[record.Result]int{}
	clients, served, pairs := map[string]bool{}, map[string]bool{}, map[string]bool{}
	var up, down int64
	var rtt, took, stalls []int64
	consistent := true
	for _, f := range flows {
		counts[f.Result]++
		clients[f.Client] = true
		up, down = up+f.BytesUp, down+f.BytesDown
		if f.EgressIP != "" {
			pairs[fmt.Sprintf("%s %d", f.EgressIP, f.EgressPort)] = true
		}
		if f.RTTNs > 0 {
			rtt = append(rtt, f.RTTNs)
		}
		if f.StallNs > 0 {
			stalls = append(stalls, f.StallNs)
		}
		if f.Result == record.OK {
			served[f.Client] = true
			took = append(took, f.EndNs-f.StartNs)
		}
		consistent = consistent && oneNode(f, misdelivered)
	}
	for r := range results() {
		v[id+"."+string(r)] = value{v: counts[r]}
	}
	for name, n := range map[string]int64{
		"total": int64(len(flows)), "clients": int64(len(clients)), "served": int64(len(served)),
		"egress_pairs": int64(len(pairs)), "bytes_up": up, "bytes_down": down,
	} {
		v[id+"."+name] = value{v: int(n)}
	}
	v.leaving(spec, id, flows)
	v[id+".consistent"] = value{v: consistent}
	v[id+".misdelivered_share"] = value{v: float64(counts[record.Misdelivered]) / float64(len(flows))}
	v.times(id+".rtt_ms.", rtt, "no round trip was measured")
	v.times(id+".time_ms.", took, "no flow is ok")
	v.times(id+".stall_ms.", stalls, "no stall was measured")
}

// leaving counts where flows came in, and by what they left: an address of their account's own, another
// datacenter than the one they came in by, by an egress policy, and each
// datacenter, country and rule; and at which host of a name they ended.
func (v values) leaving(spec EnvSpec, id string, flows []record.Flow) {
	n := map[string]int{}
	for _, f := range flows {
		if f.EgressAccount != "" {
			n["dedicated"]++
		}
		if f.EgressDC != "" && f.EgressDC != f.IngressDC {
			n["elsewhere"]++
		}
		if f.EgressRule != "" {
			n["ruled"]++
		}
		if f.HomeServer != "" { // what no server has set up came in nowhere
			n["ingress."+f.IngressDC]++
		}
		n["from."+f.EgressDC]++
		n["as."+strings.ToLower(f.EgressCountry)]++
		n["by."+f.EgressRule]++
		n["at."+f.Server]++
	}
	names := []string{"dedicated", "elsewhere", "ruled"}
	for prefix, list := range map[string][]string{"ingress.": spec.Datacenters, "from.": spec.Datacenters, "as.": spec.Countries, "by.": spec.Rules, "at.": spec.Names} {
		for _, name := range list {
			names = append(names, prefix+name)
		}
	}
	for _, name := range names {
		v[id+"."+name] = value{v: n[name]}
	}
}

// oneNode reports whether all that is known of a flow's replies was seen on
// one node's wire. A flow that nobody saw an answer of is consistent.
func oneNode(f record.Flow, misdelivered map[string][]string) bool {
	var nodes []string
	for node := range strings.SplitSeq(f.DeliveredTo, ",") {
		if node = strings.TrimSpace(node); node != "" {
			nodes = append(nodes, node)
		}
	}
	if f.SessionID != "" {
		nodes = append(nodes, misdelivered[f.SessionID]...)
	}
	slices.Sort(nodes)
	return len(slices.Compact(nodes)) <= 1
}

// times adds the quantiles (nearest rank), maximum and mean of ns, in ms.
func (v values) times(prefix string, ns []int64, none string) {
	ms := func(x float64) value { return value{v: x / 1e6} }
	if len(ns) == 0 {
		ms = func(float64) value { return value{err: errors.New(none)} }
		ns = []int64{0}
	}
	slices.Sort(ns)
	rank := func(q float64) float64 { return float64(ns[max(0, int(math.Ceil(q*float64(len(ns))))-1)]) }
	sum := 0.0
	for _, x := range ns {
		sum += float64(x)
	}
	v[prefix+"p50"], v[prefix+"p90"], v[prefix+"p99"] = ms(rank(0.50)), ms(rank(0.90)), ms(rank(0.99))
	v[prefix+"max"], v[prefix+"mean"] = ms(float64(ns[len(ns)-1])), ms(sum/float64(len(ns)))
}

// config adds what somebody had to write; a kind that an engine does not name
// has no value.
func (v values) config(objects map[string]int64) {
	total := 0
	for _, n := range objects {
		total += int(n)
	}
	v["config.objects"] = value{v: total}
	if objects == nil {
		v["config.objects"] = value{err: errors.New("no configuration was counted")}
	}
	for _, kind := range Kinds() {
		n, known := objects[kind]
		v["config."+kind] = value{v: int(n)}
		if !known {
			v["config."+kind] = value{err: errors.New("no configuration was counted")}
		}
	}
}

// Announced is how many addresses the Internet has to know for some of a run's: the
// whole of each block that holds one (SEMANTICS 5.6).
func Announced(run *record.Records, addresses map[string]bool) int {
	const block = 256
	blocks := map[string]bool{}
	for a := range addresses {
		if b, ok := run.Run.Blocks[a]; ok {
			blocks[b.Prefix+" "+strings.Join(b.From, " ")] = true
		}
	}
	return len(blocks) * block
}

// totals adds what is not of one traffic. Without any server's counters, what
// comes from servers has no value.
func (v values) totals(run *record.Records, spec EnvSpec) {
	addresses := map[string]bool{}
	for _, f := range run.Flows {
		addresses[f.EgressIP] = true
	}
	refused := 0
	for _, s := range run.Sessions {
		addresses[s.EgressIP] = true
	}
	for _, e := range run.Events {
		if e.Kind == "flow_refused" {
			refused += int(max(e.Count, 1))
		}
	}
	delete(addresses, "")
	v["egress.addresses"] = value{v: len(addresses)}
	v["egress.announced"] = value{v: Announced(run, addresses)}
	crossed := record.Backbone{}
	for _, b := range run.Run.Metrics.Backbone {
		crossed.Packets, crossed.Bytes = crossed.Packets+b.Packets, crossed.Bytes+b.Bytes
	}
	v["backbone.packets"], v["backbone.bytes"] = value{v: int(crossed.Packets)}, value{v: int(crossed.Bytes)}
	v["sessions.total"] = value{v: len(run.Sessions)}
	v["sessions.refused"] = value{v: refused}

	v.config(run.Run.Metrics.Config)

	sums, known := map[string]int{}, map[string]bool{}
	drops := 0
	for _, counters := range run.Run.Metrics.Servers {
		for name, n := range counters {
			sums[name] += int(n)
			known[name] = true
			if strings.HasPrefix(name, "drop.") {
				drops += int(n)
			}
		}
	}
	counted := func(n int) value {
		switch {
		case len(run.Run.Metrics.Lost) > 0:
			return value{err: fmt.Errorf("%s was killed, with what it had counted", strings.Join(run.Run.Metrics.Lost, " and "))}
		case len(run.Run.Metrics.Servers) == 0:
			return value{err: errors.New("no server's counters were recorded")}
		}
		return value{v: n}
	}
	v["egress.port_outside_slice"] = counted(int(run.Run.Metrics.PortOutsideSlice))
	if len(run.Run.Metrics.Lost) > 0 { // the tap beside the server was there all the time
		v["egress.port_outside_slice"] = value{v: int(run.Run.Metrics.PortOutsideSlice)}
	}
	v["route_lookups.returning"] = counted(int(run.Run.Metrics.ReturnRouteLookups))
	v["drops.total"] = counted(drops)
	for reason := range spec.Drops {
		v["drops."+reason] = counted(sums["drop."+reason]) // a reason that never happened may be left out
	}
	for name := range counters() {
		v["hub."+name] = counted(sums[name])
		if !known[name] {
			v["hub."+name] = value{err: errors.New("no server recorded it")}
		}
	}
}
