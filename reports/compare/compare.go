// Package compare says where two runs of one plan disagree: two engines, two
// versions, two seeds, two machines.
//
// It reads records alone and knows no engine. What it compares it names, and
// what it cannot compare too: agreement about nothing is no agreement. Its law,
// tested by injection: the smallest difference that matters is found.
package compare

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
)

// Tolerances of agreement. They are the same for every scenario.
const (
	// RTTFloor and RTTShare: medians of a traffic's round-trip times may differ by
	// the greater of both.
	RTTFloor = 200 * time.Microsecond
	RTTShare = 0.05
	// TimeShare: medians of its completion times may differ by this share.
	TimeShare = 0.10
	// sliceSize is that of egress ports: which slice, not which port, is compared.
	sliceSize = 2048
)

// Difference is one thing on which the runs disagree.
type Difference struct {
	// Flow is "same#1"; empty for what is of a whole traffic or run.
	Flow    string `json:"flow,omitempty"`
	Traffic string `json:"traffic,omitempty"`
	// What is a field of flows.jsonl, "rtt", "completion", "drops", "check home" …
	What string `json:"what"`
	A    string `json:"a"`
	B    string `json:"b"`
	// Why the difference says nothing, where it does not.
	Why string `json:"why,omitempty"`
	// Parted are the first events at which the flow's ways part, for people;
	// empty where the time lines do not tell.
	Parted [2]string `json:"parted,omitzero"`
}

// String is the difference in one line.
func (d *Difference) String() string {
	where := d.Flow
	if where == "" {
		where = d.Traffic
	}
	if where != "" {
		where += ": "
	}
	text := fmt.Sprintf("%s%s: %s and %s", where, d.What, or(d.A, "none"), or(d.B, "none"))
	if d.Why != "" {
		text += " (" + d.Why + ")"
	}
	return text
}

func or(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

// Result is what a comparison found.
type Result struct {
	// A and B are the runs, "overlapping_branches/base on sim".
	A string `json:"a"`
	B string `json:"b"`
	// Made is what differs in how the runs came to be, which is no disagreement:
	// seed, versions, and of one engine fingerprint and features.
	Made []Difference `json:"made,omitempty"`
	// Flows is how many were in both and compared.
	Flows       int          `json:"flows"`
	Differences []Difference `json:"differences,omitempty"`
	// Unjudged are differences of which the records say why they need not be of
	// the runs' own making, each with why. Where there is one, whether the runs
	// agree is not known.
	Unjudged []Difference `json:"unjudged,omitempty"`
	// Untimed are the traffics whose times were not compared, each with why.
	Untimed []string `json:"untimed,omitempty"`
	// Note is what the comparison rests on, where that is more or less than the two
	// runs.
	Note string `json:"note,omitempty"`
}

// Chance are further runs of an engine, which show what depends on nothing that the
// plan says. What another run did may be among what they did.
type Chance struct {
	// Moments are runs at other moments, as flows that start a little later: drops,
	// round trips and completion times may be among theirs.
	Moments []*record.Records
	// Slower are runs whose machines take longer for each packet: drops may be among
	// theirs, round trips that are shorter all the same, for they found less of a
	// queue, and completion times of traffic whose round trips they made no longer
	// than those may be.
	Slower []*record.Records
}

// Together is what two comparisons show, of one run with two tries of another. What
// differs in one try differs; what one could not judge may be judged by the other, and
// cannot be judged where that could not do it either. Of a traffic with a flow of which
// it is not known what became, a try says nothing.
func Together(a, b *Result) *Result {
	r := *b
	r.Differences = slices.Concat(a.Differences, b.Differences)
	r.Unjudged = slices.DeleteFunc(slices.Clone(b.Unjudged), func(d Difference) bool { return !a.open(&d) })
	for _, d := range a.Unjudged {
		same := func(x Difference) bool { return x.Flow == d.Flow && x.Traffic == d.Traffic && x.What == d.What }
		if b.open(&d) && !slices.ContainsFunc(r.Unjudged, same) {
			r.Unjudged = append(r.Unjudged, d)
		}
	}
	return &r
}

// open reports whether what another try could not judge was not judged in this one.
func (r *Result) open(d *Difference) bool {
	return slices.ContainsFunc(r.Unjudged, func(x Difference) bool {
		return x.Traffic == d.Traffic && (x.Flow != "" || x.What == d.What)
	})
}

// Doubt says of all differences why they need not be of the runs' own making.
func (r *Result) Doubt(why string) {
	for _, d := range r.Differences {
		d.Why = cmp.Or(d.Why, why)
		r.Unjudged = append(r.Unjudged, d)
	}
	r.Differences = nil
}

// DoubtMoments says of the differences that moments may decide why they need not be of
// the runs' own making.
func (r *Result) DoubtMoments(why string) {
	r.Differences = slices.DeleteFunc(r.Differences, func(d Difference) bool {
		if !d.momentary() {
			return false
		}
		d.Why = cmp.Or(d.Why, why)
		r.Unjudged = append(r.Unjudged, d)
		return true
	})
}

// Swap turns the comparison around.
func (r *Result) Swap() {
	r.A, r.B = r.B, r.A
	for _, all := range [][]Difference{r.Made, r.Differences, r.Unjudged} {
		for i := range all {
			d := &all[i]
			d.A, d.B = d.B, d.A
			d.Parted[0], d.Parted[1] = d.Parted[1], d.Parted[0]
		}
	}
}

// Agree reports whether the runs agree.
func (r *Result) Agree() bool { return r.Verdict() == record.Pass }

// Verdict is a fail where the runs disagree, and an error where it could not be
// judged whether they agree.
func (r *Result) Verdict() record.Verdict {
	switch {
	case len(r.Differences) > 0:
		return record.Fail
	case len(r.Unjudged) > 0:
		return record.Error
	}
	return record.Pass
}

// Apart reports whether something became of a flow in one run that did not in the other.
func (r *Result) Apart() bool {
	of := func(d Difference) bool { return d.Flow != "" }
	return slices.ContainsFunc(r.Differences, of) || slices.ContainsFunc(r.Unjudged, of)
}

// Better reports whether r finds less than o that differs, or that may.
func (r *Result) Better(o *Result) bool {
	return len(r.Differences)+len(r.Unjudged) < len(o.Differences)+len(o.Unjudged)
}

// Momentary reports whether the runs differ in what moments may decide that no plan
// says: times, and reasons for which packets were dropped.
func (r *Result) Momentary() bool {
	of := func(d Difference) bool { return d.momentary() }
	return slices.ContainsFunc(r.Differences, of) || slices.ContainsFunc(r.Unjudged, of)
}

func (d *Difference) momentary() bool {
	return d.What == whatRTT || d.What == whatCompletion || d.What == whatDrops
}

// Runs compares two runs of one plan. The error says why they cannot be compared.
func Runs(a, b *record.Records) (*Result, error) { return Among(a, b, Chance{}) }

// Among is Runs where b need not do what a did, but what one of a and of chance did,
// which are further runs of a's engine: times between theirs, drops of any of theirs.
func Among(a, b *record.Records, chance Chance) (*Result, error) {
	r := &Result{A: name(a), B: name(b), Made: made(&a.Run, &b.Run)}
	switch {
	case a.Run.Scenario != b.Run.Scenario || a.Run.Variant != b.Run.Variant:
		return nil, fmt.Errorf("%s and %s are not one scenario and variant", r.A, r.B)
	case a.Run.Partial || b.Run.Partial:
		return nil, fmt.Errorf("%s or %s was interrupted: what is missing cannot be compared", r.A, r.B)
	case len(a.Flows)+len(b.Flows) == 0:
		return nil, fmt.Errorf("%s and %s have no flows: agreement about nothing is none", r.A, r.B)
	}
	r.flows(a, b)
	r.drops(a, b, chance)
	r.times(a, b, chance)
	return r, nil
}

func name(r *record.Records) string {
	return fmt.Sprintf("%s/%s on %s", r.Run.Scenario, r.Run.Variant, r.Run.Engine)
}

func key(f *record.Flow) string { return f.Traffic + "#" + strconv.Itoa(f.N) }

// fields are those of a flow on which engines must agree: not the port within
// its slice, nor bytes, which depend on what a program's own headers are.
var fields = []struct {
	name string
	of   func(*record.Flow) string
}{
	{"result", func(f *record.Flow) string { return string(f.Result) }},
	{"reason", reason},
	{"onramp", func(f *record.Flow) string { return f.OnRamp }},
	{"return_onramp", func(f *record.Flow) string { return f.ReturnOnRamp }},
	{"delivered_to", func(f *record.Flow) string { return f.DeliveredTo }},
	{"ingress_dc", func(f *record.Flow) string { return f.IngressDC }},
	{"egress_dc", func(f *record.Flow) string { return f.EgressDC }},
	{"home_server", func(f *record.Flow) string { return f.HomeServer }},
	{"egress_server", func(f *record.Flow) string { return f.EgressServer }},
	{"egress_ip", func(f *record.Flow) string { return f.EgressIP }},
	{"egress slice", func(f *record.Flow) string {
		if f.EgressIP == "" {
			return ""
		}
		return strconv.Itoa(f.EgressPort / sliceSize)
	}},
}

// reason is a drop reason; phrases for people are each engine's own.
func reason(f *record.Flow) string {
	for _, c := range f.Reason {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' {
			return ""
		}
	}
	return f.Reason
}

// mostParted bounds the differences of which it is said where the flows' ways parted:
// whoever reads more has seen why, and each look is at all events of both runs.
const mostParted = 100

// flows compares flow by flow.
func (r *Result) flows(a, b *record.Records) {
	other := make(map[string]*record.Flow, len(b.Flows))
	for i := range b.Flows {
		other[key(&b.Flows[i])] = &b.Flows[i]
	}
	order, busy := orders(a, b), [2]string{Busy(a), Busy(b)}
	for i := range a.Flows {
		x := &a.Flows[i]
		y := other[key(x)]
		if y == nil {
			r.add(Difference{Flow: key(x), Traffic: x.Traffic, What: "flow", A: string(x.Result)})
			continue
		}
		delete(other, key(x))
		r.Flows++
		var parted [2]string
		looked := len(r.Differences)+len(r.Unjudged) >= mostParted
		for _, f := range fields {
			va, vb := f.of(x), f.of(y)
			if va == vb {
				continue
			}
			if !looked {
				parted, looked = part(a, b, x, y), true
			}
			r.add(Difference{Flow: key(x), Traffic: x.Traffic, What: f.name, A: va, B: vb, Parted: parted, Why: cmp.Or(order.why(x), late(x, y, va, vb, busy))})
		}
	}
	for i := range b.Flows {
		if y := &b.Flows[i]; other[key(y)] != nil {
			r.add(Difference{Flow: key(y), Traffic: y.Traffic, What: "flow", B: string(y.Result)})
		}
	}
}

// late says why a flow may have come too late for a machine that was busy, and for
// nothing else.
func late(x, y *record.Flow, has, other string, busy [2]string) string {
	switch {
	case busy[0] != "" && later(x, y, has):
		return busy[0]
	case later(y, x, other):
		return busy[1]
	}
	return ""
}

// later reports whether a flow may only have come later than in the other run: it was
// lost in this one alone, or in both and here with nothing of what the other has; or its
// end came after the other had given up.
func later(f, other *record.Flow, has string) bool {
	if f.Result == record.Lost {
		return other.Result != record.Lost || has == ""
	}
	return other.Result == record.Lost && f.EndNs-f.StartNs > other.EndNs-other.StartNs
}

// add notes a difference, or one that says nothing.
func (r *Result) add(d Difference) {
	if d.Why != "" {
		r.Unjudged = append(r.Unjudged, d)
		return
	}
	r.Differences = append(r.Differences, d)
}

const whatDrops = "drops"

// drops compares which reasons packets were dropped for. How often depends on
// how often a kernel tries again. What a busy machine had no time for, others need not
// drop, and what it drops may have come too late.
func (r *Result) drops(a, b *record.Records, chance Chance) {
	always, ever, of := reasons(a), reasons(a), reasons(b)
	busy := cmp.Or(Busy(a), Busy(b))
	for _, c := range slices.Concat(chance.Moments, chance.Slower) {
		x := reasons(c)
		always = slices.DeleteFunc(always, func(why string) bool { return !slices.Contains(x, why) })
		ever = append(ever, x...)
	}
	for _, why := range slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(ever), of...)))) {
		switch in := slices.Contains(of, why); {
		case in && !slices.Contains(ever, why):
			r.add(Difference{What: whatDrops, B: why, Why: busy})
		case !in && slices.Contains(always, why):
			r.add(Difference{What: whatDrops, A: why, Why: busy})
		}
	}
}

const dropPrefix = "drop."

// reasons are the drop reasons of all servers.
func reasons(r *record.Records) (all []string) {
	for _, counters := range r.Run.Metrics.Servers {
		for name, n := range counters {
			if len(name) > len(dropPrefix) && name[:len(dropPrefix)] == dropPrefix && n > 0 {
				all = append(all, name[len(dropPrefix):])
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
