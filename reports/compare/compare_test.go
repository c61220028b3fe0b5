package compare_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/reports/compare"
	"github.com/homeward-lab/homeward/reports/fixture"
	"github.com/homeward-lab/homeward/reports/record"
)

// pair is one run twice, as two engines would have written it, with a wire whose
// delay makes times comparable.
func pair(variant string) (a, b *record.Records) {
	a, b = fixture.Run(variant), fixture.Run(variant)
	for _, r := range []*record.Records{a, b} {
		r.Run.Metrics.Wires = []record.Wire{{Link: "x", Asked: record.Times{N: 1, P50Ns: int64(10 * time.Millisecond)}}}
	}
	b.Run.Engine = "sim"
	return a, b
}

// TestAgree: a run agrees with itself.
func TestAgree(t *testing.T) {
	for _, v := range fixture.Variants() {
		a, b := pair(v)
		r, err := compare.Runs(a, b)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Agree() || r.Flows != len(a.Flows) || len(r.Untimed) != 0 {
			t.Errorf("%s: %d flows, %v, untimed %v", v, r.Flows, r.Differences, r.Untimed)
		}
	}
}

// TestSmallest: the smallest difference that matters is found, named, and nothing
// else is: one flow on another server, a round trip 3 % beyond the tolerance, one
// drop reason changed.
func TestSmallest(t *testing.T) {
	for _, tt := range []struct {
		name   string
		inject func(r *record.Records)
		what   string
	}{
		{"home server", func(r *record.Records) { r.Flows[0].HomeServer = "lhr.9" }, "home_server"},
		{"result", func(r *record.Records) { r.Flows[3].Result = record.Reset }, "result"},
		{"return on-ramp", func(r *record.Records) { r.Flows[1].ReturnOnRamp = "shop.2.wan2" }, "return_onramp"},
		{"delivered to", func(r *record.Records) { r.Flows[2].DeliveredTo = "shop.9.till" }, "delivered_to"},
		{"egress address", func(r *record.Records) { r.Flows[2].EgressIP = "198.51.100.200" }, "egress_ip"},
		{"slice", func(r *record.Records) { r.Flows[2].EgressPort += 2048 }, "egress slice"},
		{"datacenter", func(r *record.Records) { r.Flows[2].EgressDC = "cdg9" }, "egress_dc"},
		{"round trip", func(r *record.Records) {
			for i := range r.Flows {
				r.Flows[i].RTTNs = r.Flows[i].RTTNs*108/100 + int64(10*time.Millisecond)*8/100
			}
		}, "rtt"},
		{"drop reason", func(r *record.Records) {
			for _, c := range r.Run.Metrics.Servers {
				c["drop.hop_limit"] = 1
				break
			}
		}, "drops"},
		{"flow missing", func(r *record.Records) { r.Flows = r.Flows[1:] }, "flow"},
		{"flow too many", func(r *record.Records) {
			f := r.Flows[0]
			f.N = 999
			r.Flows = append(r.Flows, f)
		}, "flow"},
	} {
		a, b := pair("base")
		for _, r := range []*record.Records{a, b} {
			for i := range r.Flows {
				r.Flows[i].RTTNs = int64(10 * time.Millisecond)
				r.Flows[i].EndNs = r.Flows[i].StartNs + int64(time.Second)
			}
		}
		tt.inject(b)
		for _, swap := range []bool{false, true} {
			x, y := a, b
			if swap {
				x, y = b, a
			}
			r, err := compare.Runs(x, y)
			if err != nil {
				t.Fatal(err)
			}
			if r.Agree() {
				t.Errorf("%s, swapped %v: not found", tt.name, swap)
			}
			for _, d := range r.Differences {
				if d.What != tt.what || d.A == d.B {
					t.Errorf("%s: found %v", tt.name, &d)
				}
			}
		}
	}
}

// TestTolerance: times within the tolerances agree, and just beyond do not.
func TestTolerance(t *testing.T) {
	ms := int64(time.Millisecond)
	for _, tt := range []struct {
		name       string
		rtt, took  [2]int64
		difference string
	}{
		{"equal", [2]int64{10 * ms, 10 * ms}, [2]int64{1000 * ms, 1000 * ms}, ""},
		{"short round trips", [2]int64{0, ms / 5}, [2]int64{1000 * ms, 1000 * ms}, ""},
		{"a little longer", [2]int64{0, ms/5 + 1}, [2]int64{1000 * ms, 1000 * ms}, "rtt"},
		{"5 %", [2]int64{100 * ms, 105 * ms}, [2]int64{1000 * ms, 1000 * ms}, ""},
		{"8 %", [2]int64{100 * ms, 108 * ms}, [2]int64{1000 * ms, 1000 * ms}, "rtt"},
		{"10 % of the whole", [2]int64{10 * ms, 10 * ms}, [2]int64{1000 * ms, 1100 * ms}, ""},
		{"13 % of the whole", [2]int64{10 * ms, 10 * ms}, [2]int64{1000 * ms, 1130 * ms}, "completion"},
	} {
		a, b := pair("base")
		for side, r := range []*record.Records{a, b} {
			for i := range r.Flows {
				f := &r.Flows[i]
				f.RTTNs, f.EndNs = tt.rtt[side], f.StartNs+tt.took[side]
			}
		}
		r, err := compare.Runs(a, b)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range r.Differences {
			got = append(got, d.What)
		}
		got = slices.Compact(got)
		if want := strings.Fields(tt.difference); !slices.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%s: %v, want %v", tt.name, r.Differences, want)
		}
	}
}

// TestChance: where what no plan says makes times longer or shorter, those between
// agree, and those beyond by more than the tolerance do not; where it makes no
// difference, nothing more than the tolerance is allowed.
func TestChance(t *testing.T) {
	ms := int64(time.Millisecond)
	run := func(took int64) *record.Records {
		r, _ := pair("base")
		for i := range r.Flows {
			r.Flows[i].EndNs = r.Flows[i].StartNs + took
		}
		return r
	}
	for _, tt := range []struct {
		name       string
		chance     []int64
		took       int64
		difference bool
	}{
		{"no chance", nil, 1300 * ms, true},
		{"none that matters", []int64{1000 * ms, 1010 * ms}, 1300 * ms, true},
		{"between", []int64{900 * ms, 1500 * ms}, 1300 * ms, false},
		{"a little longer than the longest", []int64{900 * ms, 1200 * ms}, 1300 * ms, false},
		{"longer", []int64{900 * ms, 1200 * ms}, 1330 * ms, true},
		{"shorter", []int64{900 * ms, 1200 * ms}, 810 * ms, true},
	} {
		var chance []*record.Records
		for _, took := range tt.chance {
			chance = append(chance, run(took))
		}
		r, err := compare.Among(run(1000*ms), run(tt.took), compare.Chance{Moments: chance})
		if err != nil || r.Agree() == tt.difference || r.Momentary() != tt.difference {
			t.Errorf("%s: %v, %v", tt.name, err, r.Differences)
		}
	}
}

// TestSlower: a transfer may take as long as on slower machines, if those are not so
// slow that a round trip would tell; no round trip may be as long as theirs, but as
// short as one that found less of a queue.
func TestSlower(t *testing.T) {
	const ms = int64(time.Millisecond)
	run := func(rtt, took int64) *record.Records {
		r, _ := pair("base")
		for i := range r.Flows {
			r.Flows[i].RTTNs, r.Flows[i].EndNs = rtt, r.Flows[i].StartNs+took
		}
		return r
	}
	for _, tt := range []struct {
		name   string
		slower [2]int64
		b      [2]int64
		what   string
	}{
		{"none", [2]int64{40 * ms, 1000 * ms}, [2]int64{40 * ms, 1300 * ms}, "completion"},
		{"a little slower", [2]int64{41 * ms, 1400 * ms}, [2]int64{40 * ms, 1300 * ms}, ""},
		{"too slow", [2]int64{43 * ms, 1400 * ms}, [2]int64{40 * ms, 1300 * ms}, "completion"},
		{"with less of a queue", [2]int64{37 * ms, 1000 * ms}, [2]int64{36 * ms, 1000 * ms}, ""},
		{"without any", [2]int64{37 * ms, 1000 * ms}, [2]int64{35 * ms, 1000 * ms}, "rtt"},
		{"as slow", [2]int64{41 * ms, 1400 * ms}, [2]int64{42500 * 1000, 1300 * ms}, "rtt"},
	} {
		r, err := compare.Among(run(40*ms, 1000*ms), run(tt.b[0], tt.b[1]), compare.Chance{Slower: []*record.Records{run(tt.slower[0], tt.slower[1])}})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range r.Differences {
			if d.What != tt.what {
				t.Errorf("%s: %s", tt.name, &d)
			}
		}
		if r.Agree() != (tt.what == "") {
			t.Errorf("%s: agree %v, want a difference of %q", tt.name, r.Agree(), tt.what)
		}
	}
}

// TestChanceOfDrops: a reason that is there by chance may be there or not; one that is
// always there, or never, may not be missing or be new, unless the machine was busy.
func TestChanceOfDrops(t *testing.T) {
	run := func(reasons ...string) *record.Records {
		r, _ := pair("base")
		for _, c := range r.Run.Metrics.Servers {
			for _, why := range reasons {
				c["drop."+why] = 1
			}
			break
		}
		return r
	}
	a, chance := run("always"), []*record.Records{run("always", "sometimes"), run("always")}
	for _, tt := range []struct {
		b    *record.Records
		want string
	}{
		{run("always"), ""},
		{run("always", "sometimes"), ""},
		{run("sometimes"), "drops: always and none"},
		{run("always", "never"), "drops: none and never"},
	} {
		r, err := compare.Among(a, tt.b, compare.Chance{Moments: chance[:1], Slower: chance[1:]})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, d := range r.Differences {
			got += d.String()
		}
		if got != tt.want || r.Momentary() != (tt.want != "") {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if r, _ := compare.Runs(a, run("always", "sometimes")); r.Verdict() != record.Fail {
		t.Error("without the runs that chance makes a reason more is none")
	}
	for _, reasons := range [][]string{nil, {"always", "never"}} {
		b := run(reasons...)
		b.Run.Metrics.Waited = 0.9
		if r, _ := compare.Runs(a, b); r.Verdict() != record.Error {
			t.Errorf("%v: %s, want a busy machine's not to be judged", reasons, r.Verdict())
		}
	}
}

// TestUntimed: without a delay or a rate anywhere, times say nothing, and it is
// said that they were not compared.
func TestUntimed(t *testing.T) {
	a, b := fixture.Run("base"), fixture.Run("base")
	for i := range b.Flows {
		b.Flows[i].RTTNs *= 100
	}
	r, err := compare.Runs(a, b)
	if err != nil || !r.Agree() || len(r.Untimed) == 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

// TestParted: the first event at which two lives part is told.
func TestParted(t *testing.T) {
	a, b := pair("base")
	f := &b.Flows[0]
	tuple := fmt.Sprintf("%s %s > %s", f.Proto, f.Src, f.Dst)
	changed := false
	for i := range b.Events {
		if e := &b.Events[i]; e.Flow == tuple && e.OnRamp == f.OnRamp && e.Kind == "flow_start" {
			e.Node, changed = "lhr.9", true
		}
	}
	f.HomeServer = "lhr.9"
	r, err := compare.Runs(a, b)
	if err != nil || len(r.Differences) != 1 || !changed {
		t.Fatalf("%v, %+v, changed %v", err, r, changed)
	}
	if p := r.Differences[0].Parted; !strings.Contains(p[1], "flow_start at lhr.9") || !strings.Contains(p[0], "flow_start at lhr.") || p[0] == p[1] {
		t.Errorf("parted at %q", p)
	}
}

// TestCannotCompare: agreement about nothing is none.
func TestCannotCompare(t *testing.T) {
	for name, edit := range map[string]func(a, b *record.Records){
		"another variant": func(a, b *record.Records) { b.Run.Variant = "other" },
		"interrupted":     func(a, b *record.Records) { a.Run.Partial = true },
		"no flows":        func(a, b *record.Records) { a.Flows, b.Flows = nil, nil },
	} {
		a, b := pair("base")
		edit(a, b)
		if r, err := compare.Runs(a, b); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestResults: directories are compared run by run, checks included, and a run
// that is in one alone is a difference.
func TestResults(t *testing.T) {
	a, b := fixture.Results(), fixture.Results()
	b.Summaries[0].Checks = append(b.Summaries[0].Checks, record.CheckResult{ID: compare.Agreement("sim"), Verdict: record.Pass}) // not the file's
	all, err := compare.Results(a, b, compare.Runs)
	if err != nil || len(all) != len(fixture.Variants()) {
		t.Fatalf("%v, %d pairs", err, len(all))
	}
	for _, r := range all {
		if !r.Agree() {
			t.Errorf("%s: %v", r.A, r.Differences)
		}
	}
	b.Summaries[0].Checks[0].Verdict = record.Fail
	b.Runs = b.Runs[:len(b.Runs)-1]
	for _, swap := range []bool{false, true} {
		x, y := a, b
		if swap {
			x, y = b, a
		}
		all, err = compare.Results(x, y, compare.Runs)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, r := range all {
			for _, d := range r.Differences {
				found = append(found, d.What)
			}
		}
		if want := []string{"check " + a.Summaries[0].Checks[0].ID, "run"}; !slices.Equal(found, want) {
			t.Errorf("%v, want %v", found, want)
		}
	}
	b.Summaries[0].Checks[0].Verdict = record.Error
	if all, err = compare.Results(a, b, compare.Runs); err != nil || all[0].Verdict() != record.Error || len(all[0].Differences) != 0 {
		t.Errorf("a check that could not be judged: %v, %+v", err, all[0])
	}
	if _, err := compare.Engines(a, compare.Runs); !errors.Is(err, compare.ErrNothing) {
		t.Errorf("one engine: %v", err)
	}
	sim := fixture.Run("base")
	sim.Run.Engine = "sim"
	a.Runs = append(a.Runs, sim)
	if all, err := compare.Engines(a, compare.Runs); err != nil || len(all) != 1 || !all[0].Agree() || all[0].B != "overlapping_branches/base on sim" {
		t.Errorf("two engines: %v, %+v", err, all)
	}
}

// TestTimesOfOwnLinks: a delay at one site makes the times of that site's flows
// comparable, and of no others.
func TestTimesOfOwnLinks(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		timed    []string // clients
	}{
		{"shop.1.router", "transit.lhr", []string{"shop.1.till"}},
		{"transit.lhr", "shop.1.router", []string{"shop.1.till"}},
		{"web", "transit.lhr", []string{"shop.1.till", "shop.2.till"}},
		{"transit.cdg", "transit.lhr", []string{"shop.1.till", "shop.2.till"}},
	} {
		a, b := twice(tt.from, tt.to)
		for i := range b.Flows {
			b.Flows[i].RTTNs += int64(time.Second)
		}
		r, err := compare.Runs(a, b)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range r.Differences {
			if d.What == "rtt" {
				got = append(got, d.Traffic)
			}
		}
		if !slices.Equal(got, tt.timed) || len(got)+len(r.Untimed) != 2 {
			t.Errorf("%s to %s: differences for %v, untimed %v; want %v", tt.from, tt.to, got, r.Untimed, tt.timed)
		}
	}
}

// TestUntimedInPart: where times are compared of some of a traffic's flows, that is what
// is said, and not that they are of none.
func TestUntimedInPart(t *testing.T) {
	a, b := twice("shop.1.router", "transit.lhr")
	for _, r := range []*record.Records{a, b} {
		for i := range r.Flows {
			r.Flows[i].Traffic, r.Flows[i].N = "all", i+1
		}
	}
	b.Flows[0].RTTNs += int64(time.Second)
	b.Flows[1].RTTNs += int64(time.Hour)
	r, err := compare.Runs(a, b)
	if err != nil || len(r.Differences) != 1 || !strings.Contains(r.Differences[0].B, "1.000001s") {
		t.Errorf("%v, %+v, want one difference, of the flow with a delay alone", err, r)
	}
	if want := []string{"all: of 1 of 2 flows no link that they can have crossed has a delay or a rate"}; !slices.Equal(r.Untimed, want) {
		t.Errorf("%q, want %q", r.Untimed, want)
	}
}

// twice is a run of two shops, each with a traffic named as its client, and a
// delay between two nodes.
func twice(from, to string) (a, b *record.Records) {
	run := func(engine string) *record.Records {
		r := &record.Records{Run: record.Run{Scenario: "s", Variant: "base", Engine: engine}}
		for _, n := range [][3]string{
			{"shop.1.till", "host", "shop.1"}, {"shop.1.router", "branch", "shop.1"}, {"shop.2.till", "host", "shop.2"}, {"shop.2.router", "branch", "shop.2"},
			{"web", "origin", ""}, {"transit.lhr", "transit", ""}, {"transit.cdg", "transit", ""},
		} {
			r.Run.Topology.Nodes = append(r.Run.Topology.Nodes, record.TopologyNode{ID: n[0], Kind: n[1], Site: n[2]})
		}
		r.Run.Metrics.Wires = []record.Wire{{Link: "x", From: from, To: to, Asked: record.Times{N: 1, P50Ns: int64(10 * time.Millisecond)}}}
		for _, client := range []string{"shop.1.till", "shop.2.till"} {
			r.Flows = append(r.Flows, record.Flow{Traffic: client, N: 1, Client: client, Server: "web", Result: record.OK, RTTNs: 1000, EndNs: 2000})
		}
		return r
	}
	return run("sim"), run("emu-hub")
}
