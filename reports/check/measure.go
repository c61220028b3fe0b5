package check

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

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
	a := newAccount(spec)
	for i := range run.Events {
		a.event(&run.Events[i])
	}
	for i := range run.Flows {
		a.flow(&run.Flows[i])
	}
	for i := range run.Sessions {
		a.session(&run.Sessions[i])
	}
	return a.values(&run.Run, nil)
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
func Announced(run *record.Run, addresses map[string]bool) int {
	const block = 256
	blocks := map[string]bool{}
	for a := range addresses {
		if b, ok := run.Blocks[a]; ok {
			blocks[b.Prefix+" "+strings.Join(b.From, " ")] = true
		}
	}
	return len(blocks) * block
}

// links adds what impaired links did to packets, nothing where there are none.
func (v values) links(wires []record.Wire) {
	marked, overflowed, p50, p99 := 0, 0, int64(0), int64(0)
	for i := range wires {
		w := &wires[i]
		marked, overflowed = marked+int(w.Marked), overflowed+int(w.Overflowed)
		p50, p99 = max(p50, w.Asked.P50Ns), max(p99, w.Asked.P99Ns)
	}
	v["links.marked"], v["links.overflowed"] = value{v: marked}, value{v: overflowed}
	ms := func(ns int64) value { return value{v: float64(ns) / float64(time.Millisecond)} }
	v["links.took_ms.p50"], v["links.took_ms.p99"] = ms(p50), ms(p99)
}

// totals adds what is not of one traffic. Without any server's counters, what
// comes from servers has no value.
func (v values) totals(run *record.Run, a *account) {
	delete(a.addresses, "")
	v["egress.addresses"] = value{v: len(a.addresses)}
	v["egress.announced"] = value{v: Announced(run, a.addresses)}
	crossed := record.Backbone{}
	for _, b := range run.Metrics.Backbone {
		crossed.Packets, crossed.Bytes = crossed.Packets+b.Packets, crossed.Bytes+b.Bytes
	}
	v["backbone.packets"], v["backbone.bytes"] = value{v: int(crossed.Packets)}, value{v: int(crossed.Bytes)}
	v.links(run.Metrics.Wires)
	v["sessions.total"] = value{v: a.sessions}
	v["sessions.refused"] = value{v: a.refused}

	v.config(run.Metrics.Config)

	sums, known := map[string]int{}, map[string]bool{}
	drops := 0
	for _, counters := range run.Metrics.Servers {
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
		case len(run.Metrics.Lost) > 0:
			return value{err: fmt.Errorf("%s was killed, with what it had counted", strings.Join(run.Metrics.Lost, " and "))}
		case len(run.Metrics.Servers) == 0:
			return value{err: errors.New("no server's counters were recorded")}
		}
		return value{v: n}
	}
	v["egress.port_outside_slice"] = counted(int(run.Metrics.PortOutsideSlice))
	if len(run.Metrics.Lost) > 0 { // the tap beside the server was there all the time
		v["egress.port_outside_slice"] = value{v: int(run.Metrics.PortOutsideSlice)}
	}
	v["route_lookups.returning"] = counted(int(run.Metrics.ReturnRouteLookups))
	v["drops.total"] = counted(drops)
	for reason := range a.spec.Drops {
		v["drops."+reason] = counted(sums["drop."+reason]) // a reason that never happened may be left out
	}
	for name := range counters() {
		v["hub."+name] = counted(sums[name])
		if !known[name] {
			v["hub."+name] = value{err: errors.New("no server recorded it")}
		}
	}
}
