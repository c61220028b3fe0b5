package check

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/homeward-lab/homeward/reports/record"
)

func env() EnvSpec {
	return EnvSpec{
		Traffic: []string{"same", "pings"}, Variants: []string{"base", "routes_only"},
		Drops: map[string]string{"no_flow": "a reply that nobody asked for", "null_routed": "no route"},
	}
}

// run is three flows of same: one ok, two seen at a wrong host.
func run() *record.Records {
	r := &record.Records{}
	r.Run.Metrics = record.Metrics{
		PortOutsideSlice: 0, ReturnRouteLookups: 1, Config: map[string]int64{"onramps": 6, "networks": 1, "routes": 0},
		Servers: map[string]map[string]int64{
			"lhr.1": {"handed_over": 2, "flows_started": 3, "drop.null_routed": 4},
			"lhr.2": {"handed_over": 5, "flows_started": 0},
		},
	}
	for n := 1; n <= 3; n++ {
		f := record.Flow{
			Traffic: "same", N: n, Client: fmt.Sprintf("shop.%d.till", n), Result: record.Misdelivered,
			DeliveredTo: "shop.1.till", BytesUp: 10, RTTNs: int64(n) * 1e6, StallNs: int64(n) * 10e6, EgressIP: "198.51.100.0", EgressPort: 2048,
			StartNs: 1e6, EndNs: 41e6, SessionID: fmt.Sprint(n),
		}
		if n == 1 {
			f.Result = record.OK
		}
		r.Flows = append(r.Flows, f)
	}
	r.Sessions = []record.Session{{EgressIP: "198.51.100.0"}, {EgressIP: "198.51.100.1"}}
	r.Events = []record.Event{{Kind: "flow_refused"}, {Kind: "misdelivered", SessionID: "2", Peer: "shop.1.till"}}
	return r
}

func compileOne(t *testing.T, in Input) *Check {
	t.Helper()
	checks, errs := Compile(env(), []Input{in})
	if len(errs) > 0 {
		t.Fatalf("%q: %v", in.Expr, errs[0])
	}
	return checks[0]
}

// evaluate judges one check over a run, and over that of its vs.
func evaluate(c *Check, run, vs *record.Records) record.CheckResult {
	return EvaluateAll([]*Check{c}, run, map[string]*record.Records{c.input.Vs: vs})[0]
}

func TestEvaluate(t *testing.T) {
	tests := []struct {
		kind    Kind
		expr    string
		verdict record.Verdict
		detail  string
	}{
		{Expect, "same.misdelivered == 0 and same.ok == same.total", record.Fail,
			"same.misdelivered = 2 of 3, same.ok = 1 of 3; for example same#2 of shop.2.till is misdelivered, its reply seen at shop.1.till"},
		{Expect, "same.misdelivered == 2 && same.ok == 1 && same.total == 3", record.Pass, "same.misdelivered = 2 of 3, same.ok = 1 of 3"},
		{Expect, "same.lost + same.refused + same.reset + same.error == 0", record.Pass, ""},
		{Always, "egress.port_outside_slice == 0", record.Pass, "egress.port_outside_slice = 0"},
		{Never, "same.misdelivered > 1", record.Fail, ""},
		{Never, "same.misdelivered > 2", record.Pass, ""},
		{Eventually, "all.ok >= 1", record.Pass, "all.ok = 1 of 3"},
		{Expect, "same.rtt_ms.p50 == 2 and same.rtt_ms.p99 == 3 and same.rtt_ms.max == 3 and same.rtt_ms.mean == 2", record.Pass, ""},
		{Expect, "same.time_ms.p90 == 40", record.Pass, "same.time_ms.p90 = 40 ms"},
		{Expect, "abs(same.misdelivered_share - 2/3) < 0.001", record.Pass, "same.misdelivered_share = 0.6667"},
		{Expect, "same.misdelivered / same.total > 0.6 ? true : false", record.Pass, ""},
		{Expect, "same.consistent", record.Pass, "same.consistent = true"},
		{Expect, "not same.consistent", record.Fail, ""},
		{Expect, "same.served == 1 and same.clients == 3 and same.egress_pairs == 1 and same.bytes_up == 30 and same.bytes_down == 0", record.Pass, ""},
		{Expect, "drops.null_routed == 4 and drops.no_flow == 0 and drops.total == 4", record.Pass, ""},
		{Expect, "hub.handed_over == 7 and hub.flows_started == 3", record.Pass, ""},
		{Expect, "sessions.total == 2 and sessions.refused == 1 and egress.addresses == 2 and route_lookups.returning == 1", record.Pass, ""},
		{Expect, "config.objects == 7 and config.onramps == 6 and config.networks == 1", record.Pass, ""},
		{Always, "config.routes == 0", record.Pass, "config.routes = 0"},

		{Expect, "config.vnets == 0", record.Error, "config.vnets has no value: no configuration was counted"},
		{Expect, "pings.ok == pings.total", record.Error, "cannot be judged: pings.ok has no value: no flow was recorded"},
		{Never, "pings.lost > 0", record.Error, "no flow was recorded"},
		{Expect, "pings.rtt_ms.p99 != 5", record.Error, "pings.rtt_ms.p99 has no value"},
		{Expect, "hub.answered == 0", record.Error, "hub.answered has no value: no server recorded it"},
		{Expect, "same.ok / same.lost > 0.1", record.Error, "division by zero"},
		{Never, "same.ok % same.lost > 0", record.Error, "division by zero"},
		{Expect, "same.ok == 1 or pings.ok == 1", record.Pass, "same.ok = 1 of 3, pings.ok = no value"}, // never reached
	}
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			got := evaluate(compileOne(t, Input{ID: "x", Kind: tt.kind, Expr: tt.expr}), run(), nil)
			if got.Verdict != tt.verdict || !strings.Contains(got.Detail, tt.detail) {
				t.Errorf("got %s: %s\nwant %s: %s", got.Verdict, got.Detail, tt.verdict, tt.detail)
			}
		})
	}
}

func TestCannotBeJudged(t *testing.T) {
	c := compileOne(t, Input{ID: "x", Kind: Expect, Expr: "same.ok >= 0"})
	partial := run()
	partial.Run.Partial = true
	counters := compileOne(t, Input{ID: "x", Kind: Never, Expr: "egress.port_outside_slice > 0 or drops.no_flow > 0"})
	blind := run()
	blind.Run.Metrics.Servers = nil
	for name, got := range map[string]record.CheckResult{
		"no records":  evaluate(c, nil, nil),
		"interrupted": evaluate(c, partial, nil),
		"no counters": evaluate(counters, blind, nil),
	} {
		if got.Verdict != record.Error {
			t.Errorf("%s: got %s (%s), want an error", name, got.Verdict, got.Detail)
		}
	}
}

func TestVs(t *testing.T) {
	c := compileOne(t, Input{ID: "worse", Kind: Expect, Expr: "same.ok < vs.same.ok", Vs: "base", Level: Warning})
	good := run()
	for i := range good.Flows {
		good.Flows[i].Result = record.OK
	}
	got := evaluate(c, run(), good)
	want := record.CheckResult{ID: "worse", Verdict: record.Pass, Detail: "same.ok = 1 of 3, vs.same.ok = 3 of 3", Level: Warning}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := evaluate(c, run(), nil); got.Verdict != record.Error || !strings.Contains(got.Detail, "base") {
		t.Errorf("without the other variant: got %+v, want an error that names it", got)
	}
	all := EvaluateAll([]*Check{c, compileOne(t, Input{ID: "own", Kind: Expect, Expr: "same.ok == 1"})}, run(), map[string]*record.Records{"base": good})
	if len(all) != 2 || all[0].Verdict != record.Pass || all[1].Verdict != record.Pass {
		t.Errorf("EvaluateAll: got %+v, want two passes", all)
	}
}

func TestConsistent(t *testing.T) {
	tests := []struct {
		name  string
		flow  record.Flow
		event record.Event
		want  bool
	}{
		{"one node", record.Flow{DeliveredTo: "a"}, record.Event{}, true},
		{"nobody", record.Flow{}, record.Event{}, true},
		{"two nodes", record.Flow{DeliveredTo: "a, b"}, record.Event{}, false},
		{"a packet elsewhere", record.Flow{DeliveredTo: "a", SessionID: "s"}, record.Event{Kind: "misdelivered", SessionID: "s", Peer: "b"}, false},
		{"the same node", record.Flow{DeliveredTo: "b", SessionID: "s"}, record.Event{Kind: "misdelivered", SessionID: "s", Peer: "b"}, true},
		{"another flow's", record.Flow{DeliveredTo: "a", SessionID: "s"}, record.Event{Kind: "misdelivered", SessionID: "t", Peer: "b"}, true},
	}
	for _, tt := range tests {
		// Whichever is known first, the flow or that a packet of it was seen.
		before, after := newAccount(EnvSpec{}), newAccount(EnvSpec{})
		before.event(&tt.event)
		before.flow(&tt.flow)
		after.flow(&tt.flow)
		after.event(&tt.event)
		for _, a := range []*account{before, after} {
			if got := !a.traffic[anyTraffic].scattered; got != tt.want {
				t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
			}
		}
	}
}

func TestCompileErrors(t *testing.T) {
	tests := []struct {
		name string
		in   Input
		want []string // each error begins so
	}{
		{"measure", Input{Expr: "same.misdeliverd == 0"}, []string{`check x: same has no measure "misdeliverd" (1:6); did you mean "misdelivered"?`}},
		{"traffic", Input{Expr: "same.ok == 1 and\n  smae.ok == 1"}, []string{`check x: there is no traffic or measure "smae" (2:3); did you mean "same"?`}},
		{"two at once", Input{Expr: "smae.ok == same.totl"}, []string{
			`check x: there is no traffic or measure "smae" (1:1); did you mean "same"?`, `check x: same has no measure "totl" (1:17); did you mean "total"?`}},
		{"a unit", Input{Expr: "same.rtt_ms.p99 < 60ms"}, []string{`check x: bad number syntax: "60m" (1:21); numbers have no unit; times are in ms, as in same.rtt_ms.p99 < 60`}},
		{"far away", Input{Expr: "sessions.foobarbaz == 0"}, []string{`check x: sessions has no measure "foobarbaz" (1:10); known here: refused, total`}},
		{"quantile", Input{Expr: "same.rtt_ms.p95 < 5"}, []string{`check x: same.rtt_ms has no measure "p95" (1:13); did you mean`}},
		{"drop reason", Input{Expr: "drops.nul_routed == 0"}, []string{`check x: drops has no measure "nul_routed" (1:7); did you mean "null_routed"?`}},
		{"object", Input{Expr: "same == 1"}, []string{`check x: same is not a value: say which of its measures (1:1); one of: `}},
		{"half an object", Input{Expr: "same.rtt_ms < 1"}, []string{`check x: same.rtt_ms is not a value`}},
		{"too deep", Input{Expr: "same.ok.ok == 1"}, []string{`check x: same.ok is a value and has no "ok" (1:9)`}},
		{"not bool", Input{Expr: "same.ok"}, []string{`check x: the expression is not true or false: expected bool, but got int (1:1); compare it`}},
		{"types", Input{Expr: "same.ok == same.consistent"}, []string{`check x: invalid operation: == (mismatched types int and bool) (1:9)`}},
		{"bool sum", Input{Expr: "same.consistent / 2 == 1"}, []string{`check x: invalid operation: / (mismatched types bool and int) (1:17)`}},
		{"syntax", Input{Expr: "same.ok == "}, []string{`check x: unexpected token EOF`}},
		{"assignment", Input{Expr: "same.ok = 1"}, []string{`check x: unexpected token Operator("=") (1:9); equality is written ==`}},
		{"empty", Input{Expr: ""}, []string{`check x: the expression is empty`}},
		{"constant", Input{Expr: "1 == 1"}, []string{`check x: the expression uses no measure`}},
		{"vs without variant", Input{Expr: "same.ok < vs.same.ok"}, []string{`check x: vs is not known, because the check does not say which variant to compare with (1:11); add vs: <variant>`}},
		{"unknown variant", Input{Expr: "same.ok < vs.same.ok", Vs: "routes_onyl"}, []string{`check x: vs: there is no variant "routes_onyl"; did you mean "routes_only"?`}},
		{"function", Input{Expr: "now() == same.ok"}, []string{`check x: there is no function "now" (1:1); `}},
		{"internal function", Input{Expr: `measure_int("same.ok") == same.ok`}, []string{`check x: there is no function "measure_int" (1:1)`, `check x: `}},
		{"string", Input{Expr: `same.ok matches "x"`}, []string{`check x: operator "matches" is not part of the language of checks`, `check x: "x" is not part`}},
		{"optional", Input{Expr: `same?.ok == 1`}, []string{`check x: same?.ok is not part of the language of checks`}},
		{"kind", Input{Kind: "sometimes", Expr: "same.ok == 1"}, []string{`check x: kind is "sometimes"; want expect`}},
		{"always a percentile", Input{Kind: Always, Expr: "same.rtt_ms.p99 < 5"}, []string{`check x: always is judged over final totals, and same.rtt_ms.p99 is no total`}},
		{"never a share", Input{Kind: Never, Expr: "same.misdelivered_share > 0.5"}, []string{`check x: never is judged over final totals`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.in.ID = "x"
			if tt.in.Kind == "" {
				tt.in.Kind = Expect
			}
			checks, errs := Compile(env(), []Input{tt.in})
			if len(checks) != 0 {
				t.Errorf("it was compiled")
			}
			if len(errs) != len(tt.want) {
				t.Fatalf("got %v, want %d errors", errs, len(tt.want))
			}
			for i, want := range tt.want {
				if got := errs[i].Error(); !strings.HasPrefix(got, want) {
					t.Errorf("got  %s\nwant %s…", got, want)
				}
			}
		})
	}
}

func TestCompileTogether(t *testing.T) {
	e := env()
	e.Traffic = append(e.Traffic, "drops")
	checks, errs := Compile(e, []Input{
		{ID: "a", Kind: Expect, Expr: "same.ok == 1"}, {ID: "a", Kind: Expect, Expr: "all.ok == 1"}, {ID: "b", Kind: Expect, Expr: "nope"},
	})
	var got []string
	for _, e := range errs {
		got = append(got, e.Msg)
	}
	want := []string{
		`traffic "drops" has a name that means something else in checks`,
		"a second check has this id", `there is no traffic or measure "nope"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if len(checks) != 2 {
		t.Errorf("got %d checks, want the 2 without mistakes", len(checks))
	}
}

// TestEveryMeasure: every name that a file may use has a value in a complete
// run, of the type that was promised; otherwise a check could never be judged.
func TestEveryMeasure(t *testing.T) {
	e := env()
	e.Traffic = []string{"same"}
	r := run()
	for c := range counters() {
		r.Run.Metrics.Servers["lhr.1"][c] = 1
	}
	for _, kind := range Kinds() {
		r.Run.Metrics.Config[kind] = 1
	}
	s := newSchema(e, true)
	for name, d := range s {
		if d.about == "" {
			t.Errorf("%s: nothing says what it is", name)
		}
	}
	v := measure(r, e)
	v = v.with("vs.", measure(r, e))
	for name, d := range s {
		in := Input{ID: "x", Kind: Expect, Vs: "base", Expr: name + " >= 0"}
		if d.typ == boolean {
			in.Expr = name
		}
		c, errs := Compile(e, []Input{in})
		if len(errs) > 0 {
			t.Errorf("%s: %v", name, errs[0])
			continue
		}
		if got := evaluate(c[0], r, r); got.Verdict != record.Pass {
			t.Errorf("%s: got %s: %s", name, got.Verdict, got.Detail)
		}
		delete(v, name)
	}
	for name := range v {
		t.Errorf("%s is measured, but no file can use it", name)
	}
}

// TestTogether: what the later try could not judge the earlier may have; what it did
// judge is its own.
func TestTogether(t *testing.T) {
	is := func(v record.Verdict) record.CheckResult { return record.CheckResult{ID: "a", Verdict: v} }
	expected := record.CheckResult{ID: "a", Verdict: record.Fail, Expected: true}
	other := record.CheckResult{ID: "b", Verdict: record.Pass}
	for _, tt := range []struct {
		earlier, later []record.CheckResult
		want           record.Verdict
	}{
		{nil, []record.CheckResult{is(record.Error)}, record.Error},
		{[]record.CheckResult{is(record.Pass)}, []record.CheckResult{is(record.Error)}, record.Pass},
		{[]record.CheckResult{is(record.Error)}, []record.CheckResult{is(record.Pass)}, record.Pass},
		{[]record.CheckResult{is(record.Error)}, []record.CheckResult{is(record.Error), other}, record.Error},
		{[]record.CheckResult{other}, []record.CheckResult{is(record.Error)}, record.Error},
		{[]record.CheckResult{expected}, []record.CheckResult{is(record.Error)}, record.Pass},
		{[]record.CheckResult{is(record.Pass)}, []record.CheckResult{is(record.Fail)}, record.Fail},
		{[]record.CheckResult{is(record.Error)}, []record.CheckResult{expected}, record.Pass},
	} {
		if got, results := Together(tt.earlier, tt.later); got != tt.want || len(results) != len(tt.later) {
			t.Errorf("%v, then %v: %s, %v, want %s", tt.earlier, tt.later, got, results, tt.want)
		}
	}
}

func TestJudge(t *testing.T) {
	pass, fail := record.CheckResult{ID: "a", Verdict: record.Pass}, record.CheckResult{ID: "b", Verdict: record.Fail}
	warn := record.CheckResult{ID: "w", Verdict: record.Fail, Level: Warning}
	broken := record.CheckResult{ID: "e", Verdict: record.Error}
	tests := []struct {
		name    string
		results []record.CheckResult
		expect  []string
		want    record.Verdict
	}{
		{"all hold", []record.CheckResult{pass}, nil, record.Pass},
		{"one fell short", []record.CheckResult{pass, fail}, nil, record.Fail},
		{"as expected", []record.CheckResult{pass, fail}, []string{"b"}, record.Pass},
		{"held although listed", []record.CheckResult{pass, fail}, []string{"a", "b"}, record.Fail},
		{"warning", []record.CheckResult{pass, warn}, nil, record.Pass},
		{"not judged", []record.CheckResult{pass, broken}, nil, record.Error},
		{"not judged although expected to fail", []record.CheckResult{broken}, []string{"e"}, record.Error},
		{"fell short and not judged", []record.CheckResult{broken, fail}, nil, record.Fail},
		{"listed but unknown", []record.CheckResult{pass}, []string{"zz"}, record.Error},
		{"no checks", nil, nil, record.Pass},
	}
	for _, tt := range tests {
		got, results := Judge(tt.results, tt.expect, "")
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		// A lab that was saturated proves nothing that is not as it should be.
		want := tt.want
		if want == record.Fail {
			want = record.Error
		}
		const why = "lhr.1: it waited"
		saturated, told := Judge(tt.results, tt.expect, why)
		text := ""
		for _, r := range told {
			text += r.Detail
		}
		if saturated != want || (tt.want == record.Fail) != strings.Contains(text, why) {
			t.Errorf("%s, saturated: got %s, %q, want %s", tt.name, saturated, text, want)
		}
		for _, r := range results {
			if want := r.Verdict == record.Fail && slices.Contains(tt.expect, r.ID); r.Expected != want {
				t.Errorf("%s: %s: Expected is %v, want %v", tt.name, r.ID, r.Expected, want)
			}
			if want := r.Verdict == record.Pass && slices.Contains(tt.expect, r.ID); r.UnexpectedPass != want {
				t.Errorf("%s: %s: UnexpectedPass is %v, want %v", tt.name, r.ID, r.UnexpectedPass, want)
			}
		}
	}
}

func TestSaturated(t *testing.T) {
	busy := record.Event{Kind: "saturated", Node: "lhr.1", Text: "it waited"}
	for _, tt := range []struct {
		events []record.Event
		want   string
	}{
		{nil, ""},
		{[]record.Event{{Kind: "fault", Text: "cut"}}, ""},
		{[]record.Event{{Kind: "fault", Text: "cut"}, busy}, "lhr.1: it waited"},
		{[]record.Event{busy, busy, busy}, "lhr.1: it waited (and 2 more)"},
	} {
		if got := Saturated(&record.Records{Events: tt.events}); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.events, got, tt.want)
		}
	}
}

func TestExitCode(t *testing.T) {
	tests := []struct {
		verdicts string
		want     int
	}{
		{"pass pass", 0}, {"pass fail", 1}, {"fail error", 1}, {"skip skip", 4}, {"pass skip", 0}, {"error pass", 5}, {"", 5}, {"nonsense", 5},
	}
	for _, tt := range tests {
		var runs []record.Summary
		for _, v := range strings.Fields(tt.verdicts) {
			runs = append(runs, record.Summary{Verdict: record.Verdict(v)})
		}
		if got := ExitCode(runs); got != tt.want {
			t.Errorf("%q: got %d, want %d", tt.verdicts, got, tt.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"same", "smae", 1}, {"ok", "", 2}, {"lost", "last", 1}, {"misdeliverd", "misdelivered", 1}, {"abc", "ca", 3}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// Another try may show of checks that ask for times, or for something by a time, that they
// hold; of others, and of one of each, it may not.
func TestTimesAlone(t *testing.T) {
	checks := []*Check{
		compileOne(t, Input{ID: "took", Kind: Expect, Expr: "same.rtt_ms.p50 < 5"}),
		compileOne(t, Input{ID: "by", Kind: Eventually, Expr: "same.ok == 1", Within: time.Second}),
		compileOne(t, Input{ID: "ever", Kind: Eventually, Expr: "same.ok == 1"}),
	}
	for _, tt := range []struct {
		short []string
		want  bool
	}{{nil, false}, {[]string{"took"}, true}, {[]string{"by"}, true}, {[]string{"ever"}, false}, {[]string{"by", "ever"}, false}} {
		var results []record.CheckResult
		for _, c := range checks {
			r := record.CheckResult{ID: c.input.ID, Verdict: record.Pass}
			if slices.Contains(tt.short, r.ID) {
				r.Verdict = record.Fail
			}
			results = append(results, r)
		}
		if got := TimesAlone(checks, results); got != tt.want {
			t.Errorf("where %v fall short: %v", tt.short, got)
		}
	}
}
