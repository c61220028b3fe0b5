package compare_test

import (
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/reports/compare"
	"github.com/homeward-lab/homeward/reports/record"
)

// TestBusy: times that are too long on a machine that had no time for its lab, by
// the lab's own measure, and flows that waited in vain, prove nothing and are no
// agreement either; too short round trips are a difference on any machine, and so
// is everything that is no time.
func TestBusy(t *testing.T) {
	const ms = int64(time.Millisecond)
	saturated := record.Wire{Link: "y", From: "a", To: "b", Saturated: "half of the packets took 2ms longer"}
	for _, tt := range []struct {
		name   string
		inject func(lab *record.Records)
		want   record.Verdict
		why    string
	}{
		{"slow", func(lab *record.Records) { lab.Flows[0].RTTNs += ms }, record.Fail, ""},
		{"slow, waited a little", func(lab *record.Records) {
			lab.Flows[0].RTTNs += ms
			lab.Run.Metrics.Waited = 0.3
		}, record.Fail, ""},
		{"slow and waited", func(lab *record.Records) {
			lab.Flows[0].RTTNs += ms
			lab.Run.Metrics.Waited = 0.9
		}, record.Error, "waited for a processor for 90 % of the time"},
		{"long and saturated", func(lab *record.Records) {
			lab.Flows[0].EndNs *= 2
			lab.Run.Metrics.Wires = append(lab.Run.Metrics.Wires, saturated)
		}, record.Error, "a to b was not the wire that was asked for"},
		{"short and saturated", func(lab *record.Records) {
			lab.Flows[0].EndNs /= 2
			lab.Run.Metrics.Wires = append(lab.Run.Metrics.Wires, saturated)
		}, record.Error, "a to b was not the wire that was asked for"},
		{"short", func(lab *record.Records) { lab.Flows[0].EndNs /= 2 }, record.Fail, ""},
		{"fast although saturated", func(lab *record.Records) {
			lab.Flows[0].RTTNs /= 2
			lab.Run.Metrics.Wires = append(lab.Run.Metrics.Wires, saturated)
		}, record.Fail, ""},
		{"lost, and waited", func(lab *record.Records) {
			lab.Flows[0].Result, lab.Run.Metrics.Waited = record.Lost, 1
		}, record.Error, "waited for a processor for 100 % of the time"},
		{"lost", func(lab *record.Records) { lab.Flows[0].Result = record.Lost }, record.Fail, ""},
		{"reset, and waited", func(lab *record.Records) {
			lab.Flows[0].Result, lab.Run.Metrics.Waited = record.Reset, 1
		}, record.Fail, ""},
		{"elsewhere, and waited", func(lab *record.Records) {
			lab.Flows[0].HomeServer, lab.Run.Metrics.Waited = "lhr.9", 1
		}, record.Fail, ""},
		{"as asked, and waited", func(lab *record.Records) { lab.Run.Metrics.Waited = 1 }, record.Pass, ""},
	} {
		sim, lab := twice("web", "transit.lhr")
		for _, r := range []*record.Records{sim, lab} {
			r.Flows = r.Flows[:1]
			r.Flows[0].RTTNs, r.Flows[0].EndNs = 10*ms, 100*ms
		}
		tt.inject(lab)
		r, err := compare.Runs(sim, lab)
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict() != tt.want || r.Agree() != (tt.want == record.Pass) {
			t.Errorf("%s: %s, want %s: %v, %v", tt.name, r.Verdict(), tt.want, r.Differences, r.Unjudged)
		}
		if tt.why != "" && (len(r.Unjudged) != 1 || !strings.Contains(r.Unjudged[0].String(), tt.why)) {
			t.Errorf("%s: %v, want %q", tt.name, r.Unjudged, tt.why)
		}
	}
}

// TestLostEarlier: of a flow that both runs lost, a busy machine may have lost more, and
// never known what the other knows. What it does know is compared, as is the same with
// time enough.
func TestLostEarlier(t *testing.T) {
	for _, tt := range []struct {
		name     string
		sim, lab string // by which on-ramp replies went
		waited   float64
		want     record.Verdict
	}{
		{"the same", "lhr.wan", "lhr.wan", 0.9, record.Pass},
		{"earlier, and waited", "lhr.wan", "", 0.9, record.Error},
		{"earlier", "lhr.wan", "", 0.3, record.Fail},
		{"later, and waited", "", "lhr.wan", 0.9, record.Fail},
		{"elsewhere, and waited", "lhr.wan", "lhr.lan", 0.9, record.Fail},
	} {
		sim, lab := twice("web", "transit.lhr")
		for _, r := range []*record.Records{sim, lab} {
			r.Flows = r.Flows[:1]
			r.Flows[0].Result = record.Lost
		}
		sim.Flows[0].ReturnOnRamp, lab.Flows[0].ReturnOnRamp = tt.sim, tt.lab
		lab.Run.Metrics.Waited = tt.waited
		eitherWay(t, tt.name, sim, lab, tt.want)
	}
}

// TestAfterGivingUp: an answer that came after the other run's client had given up may
// have come that late because the machine was busy. One that came in time may not.
func TestAfterGivingUp(t *testing.T) {
	const ms = int64(time.Millisecond)
	const gaveUp = 100 * ms
	for _, tt := range []struct {
		name   string
		ended  int64
		waited float64
		want   record.Verdict
	}{
		{"after, and waited", gaveUp + ms, 0.9, record.Error},
		{"after", gaveUp + ms, 0.3, record.Fail},
		{"before, and waited", gaveUp - ms, 0.9, record.Fail},
	} {
		sim, lab := twice("web", "transit.lhr")
		sim.Flows, lab.Flows = sim.Flows[:1], lab.Flows[:1]
		sim.Flows[0].Result, sim.Flows[0].EndNs = record.Lost, gaveUp
		lab.Flows[0].Result, lab.Flows[0].EndNs = record.Reset, tt.ended
		lab.Run.Metrics.Waited = tt.waited
		eitherWay(t, tt.name, sim, lab, tt.want)
	}
}

// eitherWay compares two runs, which is to say the same of them the other way around.
func eitherWay(t *testing.T, name string, a, b *record.Records, want record.Verdict) {
	t.Helper()
	for _, sides := range [][2]*record.Records{{a, b}, {b, a}} {
		r, err := compare.Runs(sides[0], sides[1])
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict() != want {
			t.Errorf("%s: %s, want %s: %v, %v", name, r.Verdict(), want, r.Differences, r.Unjudged)
		}
	}
}

// TestLate: round trips that are too long for half of a traffic's flows, and not for
// the promptest, prove nothing where the flows began late by as much as that, by the
// run's own measure. What keeps every flow, or more than the run was late, is a
// difference.
func TestLate(t *testing.T) {
	const us = int64(time.Microsecond)
	for _, tt := range []struct {
		name string
		// rtt and late of three flows, µs; 10000 and 0 in the other run.
		rtt, late [3]int64
		want      record.Verdict
	}{
		{"as asked, and late", [3]int64{10000, 10100, 10200}, [3]int64{900, 900, 900}, record.Pass},
		{"half of them long, and late", [3]int64{10000, 10700, 10800}, [3]int64{100, 200, 900}, record.Error},
		{"half of them long, and prompt", [3]int64{10000, 10700, 10800}, [3]int64{0, 0, 900}, record.Fail},
		{"half of them longer than late", [3]int64{10000, 11000, 11000}, [3]int64{400, 400, 400}, record.Fail},
		{"all of them long, and late", [3]int64{10501, 10501, 10501}, [3]int64{900, 900, 900}, record.Fail},
		{"half of them short, and late", [3]int64{9000, 9000, 10000}, [3]int64{900, 900, 900}, record.Fail},
	} {
		sim, lab := twice("web", "transit.lhr")
		sim.Flows, lab.Flows = sim.Flows[:1], lab.Flows[:1]
		for n := 1; n < 3; n++ {
			sim.Flows, lab.Flows = append(sim.Flows, sim.Flows[0]), append(lab.Flows, lab.Flows[0])
		}
		for i := range lab.Flows {
			sim.Flows[i].N, lab.Flows[i].N = i+1, i+1
			sim.Flows[i].RTTNs, lab.Flows[i].RTTNs, lab.Flows[i].LateNs = 10000*us, tt.rtt[i]*us, tt.late[i]*us
		}
		for _, turned := range []bool{false, true} {
			if sim, lab := sim, lab; turned {
				sim, lab = lab, sim
			}
			r, err := compare.Runs(sim, lab)
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict() != tt.want || tt.want == record.Error && !strings.Contains(r.Unjudged[0].String(), "began 200µs or more later than planned") {
				t.Errorf("%s: %s, want %s: %v, %v", tt.name, r.Verdict(), tt.want, r.Differences, r.Unjudged)
			}
		}
	}
}

// TestOrder: of flows that look alike it is chance which comes first; where
// another did, what differs of them cannot be judged. In one order it can, and of
// flows that have no like always.
func TestOrder(t *testing.T) {
	const tuple = "tcp 10.0.1.5:40000 > 203.0.113.9:443"
	run := func(first, second string) *record.Records {
		r, _ := twice("web", "transit.lhr")
		for i := range r.Flows {
			f := &r.Flows[i]
			f.Traffic, f.N, f.Proto, f.Src, f.Dst = "same", i+1, "tcp", "10.0.1.5:40000", "203.0.113.9:443"
			f.OnRamp, f.ReturnOnRamp = strings.TrimSuffix(f.Client, ".till")+".wan", first
		}
		r.Flows = append(r.Flows, record.Flow{Traffic: "alone", N: 1, Proto: "udp", Src: "10.0.1.5:1", Dst: "203.0.113.9:7"})
		r.Events = []record.Event{
			{AtNs: 20, Kind: "flow_refused", Flow: tuple, OnRamp: second}, // servers write for themselves
			{AtNs: 10, Kind: "flow_start", Flow: tuple, OnRamp: first},
		}
		return r
	}
	batch := func(r *record.Records) *record.Records { // one time for both, in the order in which they came
		r.Events[0], r.Events[1] = r.Events[1], r.Events[0]
		r.Events[1].AtNs = r.Events[0].AtNs
		return r
	}
	const one, two = "shop.1.wan", "shop.2.wan"
	r, err := compare.Runs(run(one, two), run(two, one))
	if err != nil || r.Verdict() != record.Error || !r.Apart() || len(r.Unjudged) != 2 || !strings.Contains(r.Unjudged[0].Why, "same#1, same#2 and same#2, same#1") {
		t.Errorf("another order: %v, %s, %+v", err, r.Verdict(), r.Unjudged)
	}
	if r, _ := compare.Runs(batch(run(one, two)), batch(run(two, one))); r.Verdict() != record.Error {
		t.Errorf("another order in one batch: %s, %+v", r.Verdict(), r.Differences)
	}
	b := run(two, one)
	b.Flows[2].Result = record.Lost
	if r, _ := compare.Runs(run(one, two), b); r.Verdict() != record.Fail {
		t.Errorf("a flow that has no like: %s", r.Verdict())
	}
	b = run(one, two)
	b.Flows[1].ReturnOnRamp = two
	if r, _ := compare.Runs(run(one, two), b); r.Verdict() != record.Fail || !r.Apart() || len(r.Unjudged) > 0 {
		t.Errorf("one order: %s, %+v", r.Verdict(), r.Unjudged)
	}
}

// judgedBothWays compares two runs, each with the other; what cannot be judged is because
// web came late.
func judgedBothWays(t *testing.T, name string, one, other *record.Records, want record.Verdict) {
	t.Helper()
	for _, pair := range [][2]*record.Records{{one, other}, {other, one}} {
		r, err := compare.Runs(pair[0], pair[1])
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict() != want {
			t.Errorf("%s: %s, want %s: %v, %v", name, r.Verdict(), want, r.Differences, r.Unjudged)
		}
		if said := "web came"; want == record.Error && (len(r.Unjudged) == 0 || !strings.Contains(r.Unjudged[0].Why, said)) {
			t.Errorf("%s: %v, want %q", name, r.Unjudged, said)
		}
	}
}

// TestDelayed: a round trip that is too long by no more than parts on its way came late
// to packets while it lasted, by the lab's own measure, proves nothing; it is said who
// was late, by how much and when. One that is longer than that, or too short, is a
// difference, and so is anything that is no round trip.
func TestDelayed(t *testing.T) {
	const us = int64(time.Microsecond)
	late := func(node string, pairs ...int64) func(*record.Records) { // when and for how long, µs
		l := &record.Late{LeastNs: 1}
		for i := 0; i < len(pairs); i += 2 {
			l.Moments = append(l.Moments, record.LateMoment{AtNs: pairs[i] * us, ForNs: pairs[i+1] * us})
		}
		return func(r *record.Records) { r.Run.Metrics.Late = map[string]*record.Late{node: l} }
	}
	program := func(r *record.Records) { r.Run.Metrics.Late, r.Run.Metrics.LateHosts = nil, r.Run.Metrics.Late }
	elsewhere := func(r *record.Records) { r.Flows[0].HomeServer = "lhr.9" }
	for _, tt := range []struct {
		name string
		rtt  int64 // µs; 10000 in the other run, 500 more or less are allowed
		do   []func(*record.Records)
		want record.Verdict
	}{
		{"long, and nobody late", 10700, []func(*record.Records){late("web")}, record.Fail},
		{"long by the least that there is, and nobody late", 10501, []func(*record.Records){late("web")}, record.Fail},
		{"long, and late as much", 10700, []func(*record.Records){late("web", 5000, 700)}, record.Error},
		{"long, and late as much as is not allowed", 10700, []func(*record.Records){late("web", 5000, 250)}, record.Error},
		{"long, and a program late as much", 10700, []func(*record.Records){late("web", 5000, 700), program}, record.Fail},
		{"longer than late", 10700, []func(*record.Records){late("web", 5000, 150)}, record.Fail},
		{"long, and late before", 10700, []func(*record.Records){late("web", 1000, 700)}, record.Fail},
		{"long, and late after", 10700, []func(*record.Records){late("web", 14000, 700)}, record.Fail},
		{"long, and another's end late", 10700, []func(*record.Records){late("shop.2.till", 5000, 700)}, record.Fail},
		{"short, and late", 9000, []func(*record.Records){late("web", 5000, 1000)}, record.Fail},
		{"as asked, and late", 10200, []func(*record.Records){late("web", 5000, 9000)}, record.Pass},
		{"long, late, and elsewhere", 10700, []func(*record.Records){late("web", 5000, 700), elsewhere}, record.Fail},
	} {
		sim, lab := twice("web", "transit.lhr")
		for _, r := range []*record.Records{sim, lab} {
			r.Flows = r.Flows[:1]
			r.Flows[0].StartNs, r.Flows[0].EndNs, r.Flows[0].RTTNs = 2000*us, 100000*us, 10000*us
			r.Run.Topology.Nodes = append(r.Run.Topology.Nodes, record.TopologyNode{ID: "shop.2.till", Kind: "host", Site: "shop.2"})
		}
		lab.Flows[0].RTTNs = tt.rtt * us
		for _, do := range tt.do {
			do(lab)
		}
		judgedBothWays(t, tt.name, sim, lab, tt.want)
	}
}

// TestHindered: a transfer that takes too long proves nothing where a part on its way
// came so late to a packet of it that a round trip would have been too long, by the lab's
// own measure: what that costs a transfer has no bound. A lateness that is less, that was
// before or after, or of who is not on the way, excuses nothing; nor what is too short,
// nor flows too long that met none.
func TestHindered(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, tt := range []struct {
		name string
		took [3]int64 // of three flows, ms; 1000 in the other run, 100 more are allowed
		node string
		late [2]int64 // when the node came late, and by how much, ms
		want record.Verdict
	}{
		{"long, and nobody late", [3]int64{1400, 1400, 1400}, "web", [2]int64{}, record.Fail},
		{"long, and late", [3]int64{1400, 1400, 1400}, "web", [2]int64{500, 3}, record.Error},
		{"long by the least that there is, and late", [3]int64{1101, 1101, 1101}, "web", [2]int64{500, 3}, record.Error},
		{"long, and late by no more than a round trip may be", [3]int64{1400, 1400, 1400}, "web", [2]int64{500, 2}, record.Fail},
		{"long, and late before", [3]int64{1400, 1400, 1400}, "web", [2]int64{9, 9}, record.Fail},
		{"long, and late after", [3]int64{1400, 1400, 1400}, "web", [2]int64{9000, 9}, record.Fail},
		{"long, and another's end late", [3]int64{1400, 1400, 1400}, "shop.2.till", [2]int64{500, 9}, record.Fail},
		{"short, and late", [3]int64{700, 700, 700}, "web", [2]int64{500, 9}, record.Fail},
		{"as asked, and late", [3]int64{1050, 1050, 1050}, "web", [2]int64{500, 9}, record.Pass},
		{"long, and the longest one alone was late", [3]int64{1400, 1400, 2000}, "web", [2]int64{1900, 9}, record.Fail},
		{"long, and two of them were late", [3]int64{1200, 1400, 1400}, "web", [2]int64{1300, 9}, record.Error},
	} {
		sim, lab := twice("web", "transit.lhr")
		for _, r := range []*record.Records{sim, lab} {
			r.Flows = r.Flows[:1]
			r.Flows[0].StartNs, r.Flows[0].RTTNs = 10*ms, 40*ms
			r.Run.Topology.Nodes = append(r.Run.Topology.Nodes, record.TopologyNode{ID: "shop.2.till", Kind: "host", Site: "shop.2"})
			for n := 1; n < len(tt.took); n++ {
				r.Flows = append(r.Flows, r.Flows[0])
			}
		}
		for i, took := range tt.took {
			sim.Flows[i].N, lab.Flows[i].N = i+1, i+1
			sim.Flows[i].EndNs, lab.Flows[i].EndNs = 1010*ms, (10+took)*ms
		}
		late := map[string]*record.Late{}
		if tt.late[1] > 0 {
			late[tt.node] = &record.Late{LeastNs: 1, Moments: []record.LateMoment{{AtNs: tt.late[0] * ms, ForNs: tt.late[1] * ms}}}
		}
		lab.Run.Metrics.Late = late
		judgedBothWays(t, tt.name, sim, lab, tt.want)
		lab.Run.Metrics.Late, lab.Run.Metrics.LateHosts = nil, late
		judgedBothWays(t, tt.name+", of a program", sim, lab, tt.want)
	}
}

// TestTogether: what one try could not judge another may, but nothing of a traffic by a
// try in which one of its flows has no known end; and what differs in one differs.
func TestTogether(t *testing.T) {
	flow := func(n, traffic string) compare.Difference {
		return compare.Difference{Flow: traffic + n, Traffic: traffic, What: "result", Why: "busy"}
	}
	rtt := func(traffic string) compare.Difference {
		return compare.Difference{Traffic: traffic, What: "rtt", Why: "busy"}
	}
	completion := compare.Difference{Traffic: "web", What: "completion", Why: "busy"}
	type d = []compare.Difference
	for _, tt := range []struct {
		name string
		a, b d
		open int
	}{
		{"nothing", nil, nil, 0},
		{"one of them", d{rtt("web")}, nil, 0},
		{"each another traffic", d{rtt("web")}, d{rtt("mail")}, 0},
		{"each another time", d{rtt("web")}, d{completion}, 0},
		{"the same", d{rtt("web")}, d{rtt("web")}, 1},
		{"a flow, and its traffic's times", d{flow("#1", "web")}, d{rtt("web")}, 1},
		{"a flow, and another traffic's times", d{flow("#1", "web")}, d{rtt("mail")}, 0},
		{"two flows of a traffic", d{flow("#1", "web")}, d{flow("#2", "web")}, 2},
		{"flows of two", d{flow("#1", "web")}, d{flow("#1", "mail")}, 0},
	} {
		for _, order := range [][2]d{{tt.a, tt.b}, {tt.b, tt.a}} {
			r := compare.Together(&compare.Result{Unjudged: order[0]}, &compare.Result{Unjudged: order[1]})
			if want := tt.open > 0; len(r.Unjudged) != tt.open || (r.Verdict() == record.Error) != want {
				t.Errorf("%s: %v is left open, want %d", tt.name, r.Unjudged, tt.open)
			}
		}
	}
	differs := &compare.Result{Differences: d{{What: "drops"}}}
	for _, r := range []*compare.Result{compare.Together(differs, &compare.Result{}), compare.Together(&compare.Result{}, differs)} {
		if r.Verdict() != record.Fail {
			t.Errorf("what differs in one try is %s", r.Verdict())
		}
	}
	differs.Doubt("saturated")
	if differs.Verdict() != record.Error || differs.Unjudged[0].Why != "saturated" {
		t.Errorf("what is doubted is %s: %v", differs.Verdict(), differs.Unjudged)
	}
}

// Differences that moments may decide can be doubted by themselves, others stay.
func TestDoubtMoments(t *testing.T) {
	r := compare.Result{Differences: []compare.Difference{{Flow: "a#1", Traffic: "a", What: "result"}, {Traffic: "a", What: "rtt"}, {What: "drops"}}}
	r.DoubtMoments("late")
	if len(r.Differences) != 1 || r.Differences[0].What != "result" || len(r.Unjudged) != 2 || r.Unjudged[0].Why != "late" || r.Verdict() != record.Fail {
		t.Errorf("%+v", r)
	}
}
