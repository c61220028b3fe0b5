package probe

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

var (
	base = time.Unix(1_000_000, 0)
	src  = netip.MustParseAddrPort("10.0.1.5:40000")
	dst  = netip.MustParseAddrPort("203.0.113.9:443")
)

func same(n int, client string, proto plan.Proto) plan.Flow {
	return plan.Flow{Traffic: "same", N: n, Client: client, Server: "web", Proto: proto, Src: src, Dst: dst, Nonce: uint64(n)}
}

func syn(isn uint64, after time.Duration) Observation {
	return Observation{Proto: plan.TCP, Out: true, Src: src, Dst: dst, Mark: isn, Count: 1, At: base.Add(after)}
}

func synAck(isn uint64, after time.Duration) Observation {
	return Observation{Proto: plan.TCP, Answer: true, Src: dst, Dst: src, Mark: isn, Count: 1, At: base.Add(after)}
}

func reply(nonce uint64, after time.Duration) Observation {
	return Observation{Proto: plan.UDP, Answer: true, Src: dst, Dst: src, Mark: nonce, Count: 1, At: base.Add(after)}
}

// judged is what taps saw of flows, and where Judge finds those delivered.
type judged struct {
	name  string
	flows []plan.Flow
	taps  map[string]Report
	want  map[int]Delivery // by N
}

func judgedCases() []judged {
	const ms = time.Millisecond
	a, b := same(1, "a", plan.TCP), same(2, "b", plan.TCP)
	c := same(3, "c", plan.TCP)
	ua, ub := same(4, "a", plan.UDP), same(5, "b", plan.UDP)
	again := same(6, "a", plan.TCP)
	again.Start = time.Second
	see := func(o ...Observation) Report { return Report{Observations: o} }
	return []judged{
		{
			"equal tuples, each at home", []plan.Flow{a, b},
			map[string]Report{"a": see(syn(100, 1*ms), synAck(100, 2*ms)), "b": see(syn(200, 1*ms), synAck(200, 3*ms))},
			map[int]Delivery{1: {Node: "a", Own: true, At: base.Add(2 * ms)}, 2: {Node: "b", Own: true, At: base.Add(3 * ms)}},
		},
		{
			"equal tuples, both at a", []plan.Flow{a, b},
			map[string]Report{"a": see(syn(100, 1*ms), synAck(100, 2*ms), synAck(200, 3*ms)), "b": see(syn(200, 1*ms))},
			map[int]Delivery{1: {Node: "a", Own: true, At: base.Add(2 * ms)}, 2: {Node: "a", Misdelivered: true, At: base.Add(3 * ms)}},
		},
		{
			"the answer to a repeated SYN with another number", []plan.Flow{a, b},
			map[string]Report{"a": see(syn(100, 1*ms), syn(101, 1001*ms)), "b": see(synAck(101, 1002*ms))},
			map[int]Delivery{1: {Node: "b", Misdelivered: true, At: base.Add(1002 * ms)}, 2: {}},
		},
		{
			"seen at both, whichever first", []plan.Flow{b, c},
			map[string]Report{"a": see(synAck(200, 9*ms)), "b": see(syn(200, 1*ms), synAck(200, 2*ms)), "c": see(synAck(200, 5*ms))},
			map[int]Delivery{2: {Node: "a", Misdelivered: true, Own: true, Others: []string{"c"}, At: base.Add(9 * ms)}, 3: {}},
		},
		{
			"one tuple and one number at two hosts", []plan.Flow{a, b},
			map[string]Report{"a": see(syn(100, 1*ms), synAck(100, 2*ms)), "b": see(syn(100, 1*ms), synAck(100, 3*ms))},
			map[int]Delivery{1: {Node: "a", Own: true, At: base.Add(2 * ms)}, 2: {Node: "b", Own: true, At: base.Add(3 * ms)}},
		},
		{
			"a tuple used again", []plan.Flow{a, again},
			map[string]Report{"a": see(syn(100, 1*ms), synAck(100, 2*ms), syn(300, 1001*ms)), "b": see(synAck(300, 1002*ms))},
			map[int]Delivery{1: {Node: "a", Own: true, At: base.Add(2 * ms)}, 6: {Node: "b", Misdelivered: true, At: base.Add(1002 * ms)}},
		},
		{
			"datagrams by nonce", []plan.Flow{ua, ub},
			map[string]Report{"a": see(reply(4, 1*ms), reply(5, 2*ms)), "b": see()},
			map[int]Delivery{4: {Node: "a", Own: true, At: base.Add(1 * ms)}, 5: {Node: "a", Misdelivered: true, At: base.Add(2 * ms)}},
		},
		{
			"a number that nobody sent is nobody's", []plan.Flow{a},
			map[string]Report{"a": see(syn(100, 1*ms), synAck(99, 2*ms), synAck(101, 2*ms))},
			map[int]Delivery{1: {}},
		},
		{
			"a tap that lost packets", []plan.Flow{a, b},
			map[string]Report{"a": see(syn(100, 1*ms)), "b": {Dropped: 1}},
			map[int]Delivery{1: {Unknown: true}, 2: {Unknown: true}},
		},
		{
			"a client without a tap", []plan.Flow{a, b},
			map[string]Report{"a": see(syn(100, 1*ms))},
			map[int]Delivery{1: {}, 2: {Unknown: true}},
		},
	}
}

func TestJudge(t *testing.T) {
	for _, tc := range judgedCases() {
		t.Run(tc.name, func(t *testing.T) {
			got := Judge(tc.flows, tc.taps, base)
			if len(got) != len(tc.want) {
				t.Errorf("%d deliveries, want %d", len(got), len(tc.want))
			}
			for n, want := range tc.want {
				g := got[FlowKey{"same", n}]
				if g.Node != want.Node || g.Misdelivered != want.Misdelivered || g.Own != want.Own ||
					!g.At.Equal(want.At) || g.Unknown != want.Unknown || strings.Join(g.Others, " ") != strings.Join(want.Others, " ") {
					t.Errorf("flow %d: %+v, want %+v", n, g, want)
				}
			}
		})
	}
}

func TestCombine(t *testing.T) {
	f := same(1, "a", plan.TCP)
	ok := host.Outcome{Result: record.OK, Start: base.Add(time.Second), End: base.Add(3 * time.Second), Egress: netip.MustParseAddrPort("198.51.100.1:2048")}
	lost := host.Outcome{Result: record.Lost, Reason: "timed out"}
	reset := host.Outcome{Result: record.Reset, Reason: "reset"}
	cases := []struct {
		name      string
		o         host.Outcome
		d         Delivery
		result    record.Result
		delivered string
		reason    string
	}{
		{"ok", ok, Delivery{Node: "a", Own: true}, record.OK, "a", ""},
		{"ok, not seen", ok, Delivery{}, record.OK, "a", ""},
		{"ok, and leaked", ok, Delivery{Node: "b", Misdelivered: true, Own: true}, record.Misdelivered, "b", "delivered to b, although a got its answer too"},
		{"misdelivered", lost, Delivery{Node: "b", Misdelivered: true, Others: []string{"c"}}, record.Misdelivered, "b", "delivered to b and c"},
		{"misdelivered, later", lost, Delivery{Node: "b", Misdelivered: true, Own: true}, record.Misdelivered, "b", "another to a; timed out"},
		{"misdelivered and reset", reset, Delivery{Node: "b", Misdelivered: true}, record.Misdelivered, "b", "delivered to b"},
		{"lost", lost, Delivery{}, record.Lost, "", "timed out"},
		{"lost, or not", lost, Delivery{Unknown: true}, record.Failed, "", "unknown"},
		{"reset", reset, Delivery{Node: "a", Own: true}, record.Reset, "a", "reset"},
	}
	for _, c := range cases {
		r := journal.Combine(&f, Outcome(base, c.o, c.d))
		if r.Result != c.result || r.DeliveredTo != c.delivered || !strings.Contains(r.Reason, c.reason) || (c.reason == "") != (r.Reason == "") {
			t.Errorf("%s: %s to %q, %q; want %s to %q, %q", c.name, r.Result, r.DeliveredTo, r.Reason, c.result, c.delivered, c.reason)
		}
	}
	r := journal.Combine(&f, Outcome(base, ok, Delivery{}))
	if r.StartNs != 1e9 || r.EndNs != 3e9 || r.EgressIP != "198.51.100.1" || r.EgressPort != 2048 || r.Src != "10.0.1.5:40000" {
		t.Errorf("record %+v", r)
	}
}
