package check

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
)

// story is a run in which traffic begins at 1 s and a fault happens at 3 s: a
// flow of same ends each half second from 1.5 s on, of which those that end
// after 3 s and before 5 s are lost. One flow moves at 3.4 s.
func story() *record.Records {
	const ms = int64(time.Millisecond)
	r := &record.Records{Events: []record.Event{
		{AtNs: 100 * ms, Kind: "run"}, {AtNs: 1000 * ms, Kind: "traffic", Text: "traffic begins: 9 flows"},
		{AtNs: 2000 * ms, Kind: "drop", Reason: "no_flow", Count: 1},
		{AtNs: 3000 * ms, Kind: "fault", Fault: "cut1"}, {AtNs: 3400 * ms, Kind: "moved"},
		{AtNs: 5000 * ms, Kind: "healed", Fault: "cut1"},
		{AtNs: 7000 * ms, Kind: "drop", Reason: "no_flow", Count: 1, Text: "1 packets dropped in all: no_flow"},
	}}
	for n := int64(1); n <= 9; n++ {
		f := record.Flow{Traffic: "same", N: int(n), Client: "a", Result: record.OK, StartNs: (800 + 500*n) * ms, EndNs: (1000 + 500*n) * ms}
		if f.EndNs > 3000*ms && f.EndNs < 5000*ms {
			f.Result = record.Lost
		}
		r.Flows = append(r.Flows, f)
	}
	r.Run.Metrics.Servers = map[string]map[string]int64{"lhr.1": {"arr_failover": 1, "drop.no_flow": 1}}
	return r
}

func TestOverTime(t *testing.T) {
	tests := []struct {
		in      Input
		verdict record.Verdict
		detail  string
	}{
		{Input{Kind: Eventually, Expr: "same.lost > 0", Within: 3 * time.Second}, record.Pass, "2.5s after the start of traffic: same.lost = 1 of 5"},
		{Input{Kind: Eventually, Expr: "same.lost > 0", Within: 2 * time.Second}, record.Fail, "not within 2s after the start of traffic: same.lost = 0 of 4"},
		{Input{Kind: Eventually, Expr: "same.ok > 0", After: "cut1", Within: 2 * time.Second}, record.Pass, "2s after cut1: same.ok = 1 of 4"},
		{Input{Kind: Eventually, Expr: "same.ok > 0", After: "cut1", Within: 1900 * time.Millisecond}, record.Fail, "not within 1.9s after cut1: same.ok = 0 of 3"},
		{Input{Kind: Eventually, Expr: "hub.arr_failover == 1", After: "cut1", Within: 400 * time.Millisecond}, record.Pass, "400ms after cut1"},
		{Input{Kind: Eventually, Expr: "hub.arr_failover == 1", After: "cut1", Within: 399 * time.Millisecond}, record.Fail, "hub.arr_failover = 0"},
		{Input{Kind: Never, Expr: "same.lost > 2", After: "cut1"}, record.Fail, "1.5s after cut1: same.lost = 3 of 3"},
		{Input{Kind: Never, Expr: "same.lost > 3", After: "cut1"}, record.Pass, "same.lost = 3 of 5"},
		{Input{Kind: Always, Expr: "same.lost < 3", After: "cut1"}, record.Fail, "1.5s after cut1: same.lost = 3 of 3"},
		{Input{Kind: Always, Expr: "same.ok <= 1", After: "cut1"}, record.Fail, "2.5s"}, // whatever comes later
		{Input{Kind: Always, Expr: "drops.no_flow == 0", After: "cut1"}, record.Pass, "drops.no_flow = 0"},
		{Input{Kind: Never, Expr: "drops.no_flow > 0", After: "heal"}, record.Error, "fault heal did not happen"},
		{Input{Kind: Expect, Expr: "same.total == 5", After: "cut1"}, record.Pass, "same.total = 5"},
		{Input{Kind: Expect, Expr: "same.total == 9", After: "cut1"}, record.Fail, "same.total = 5"},
		{Input{Kind: Always, Expr: "same.rtt_ms.max < 5", After: "cut1"}, record.Error, "no round trip was measured"},
		{Input{Kind: Eventually, Expr: "pings.ok > 0", Within: time.Second}, record.Error, "no flow was recorded"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.in.Kind, " ", tt.in.Expr, " ", tt.in.After, " ", tt.in.Within), func(t *testing.T) {
			tt.in.ID = "x"
			got := evaluate(compileOne(t, tt.in), story(), nil)
			if got.Verdict != tt.verdict || !strings.Contains(got.Detail, tt.detail) {
				t.Errorf("got %s: %s\nwant %s: %s", got.Verdict, got.Detail, tt.verdict, tt.detail)
			}
		})
	}
}

// What servers tell at their end alone says nothing of a moment.
func TestOverTimeMistakes(t *testing.T) {
	tests := []struct {
		in   Input
		want string
	}{
		{Input{Kind: Eventually, Expr: "hub.handed_over > 0"}, "hub.handed_over is known at the end of the run alone"},
		{Input{Kind: Expect, Expr: "config.routes == 0", After: "cut1"}, "config.routes is known at the end of the run alone"},
		{Input{Kind: Expect, Expr: "backbone.packets == 0", After: "cut1"}, "backbone.packets is known at the end of the run alone"},
		{Input{Kind: Never, Expr: "egress.port_outside_slice > 0", After: "cut1"}, "egress.port_outside_slice is known"},
		{Input{Kind: Expect, Expr: "same.ok < vs.same.ok", After: "cut1", Vs: "base"}, "vs compares whole runs"},
	}
	for _, tt := range tests {
		_, errs := Compile(env(), []Input{tt.in})
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.in.Expr, errs, tt.want)
		}
	}
}

// What a moment costs does not grow with how much was known before: of ten thousand
// flows each moment would look at all. Allocations are counted, because they are the
// same on every machine.
func TestOverTimeIsLinear(t *testing.T) {
	const flows = 10_000
	r := &record.Records{}
	for i := range flows {
		r.Flows = append(r.Flows, record.Flow{Traffic: "same", N: i + 1, Client: "shop.1.till", Result: record.OK, EndNs: int64(i + 1), DeliveredTo: "shop.1.till"})
	}
	c := compileOne(t, Input{ID: "x", Kind: Eventually, Expr: fmt.Sprintf("same.ok > %d", flows)})
	n := testing.AllocsPerRun(1, func() {
		if got := evaluate(c, r, nil); got.Verdict != record.Fail {
			t.Errorf("got %+v, want a failure", got)
		}
	})
	if n > 1000*flows {
		t.Errorf("%.0f allocations for %d moments, want at most 1,000 for each", n, flows)
	}
}

// A killed server took its counters with it: a sum without them would be a
// guess.
func TestLostCounters(t *testing.T) {
	r := story()
	r.Run.Metrics.Lost = []string{"lhr.2"}
	for expr, want := range map[string]record.Verdict{
		"hub.arr_failover == 1": record.Error, "drops.no_flow == 1": record.Error, "egress.port_outside_slice == 0": record.Pass, "same.total == 9": record.Pass,
	} {
		if got := evaluate(compileOne(t, Input{ID: "x", Kind: Expect, Expr: expr}), r, nil); got.Verdict != want {
			t.Errorf("%s: got %s: %s, want %s", expr, got.Verdict, got.Detail, want)
		}
	}
}
