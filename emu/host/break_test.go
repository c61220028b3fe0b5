package host_test

import (
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// A client whose tunnel begins anew breaks off the TCP connections that it has
// then, held ones among them, and nothing else: neither what is
// over, nor what comes later, nor UDP, nor another client's.
func TestBreaks(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	w.serve(t, "http", 443, nil)
	w.serve(t, "echo", 7, nil)
	const at = 400 * time.Millisecond
	held, over, later := flow(plan.TCP, 1, 40001, 443), flow(plan.TCP, 2, 40002, 443), flow(plan.TCP, 3, 40003, 443)
	others, datagrams := flow(plan.TCP, 4, 40004, 443), flow(plan.UDP, 5, 40005, 7)
	held.Hold, others.Hold = 5*time.Second, at+100*time.Millisecond
	later.Start = at + 50*time.Millisecond
	others.Client = "b"
	datagrams.Packets, datagrams.Interval = 10, 60*time.Millisecond
	flows := []plan.Flow{held, over, later, others, datagrams}
	got := host.Run(t.Context(), flows, host.Config{
		Namespace: func(string) *netns.NS { return w.client.NS },
		Key:       key, Base: time.Now().Add(100 * time.Millisecond),
		Breaks: map[string][]time.Duration{"a": {-time.Hour, at, at + time.Hour}},
	})
	for i, o := range got {
		if i != 0 {
			wantOK(t, flows[i], o)
			continue
		}
		if took := o.End.Sub(o.Start); o.Result != record.Reset || o.Reason != "its client's tunnel began anew" || took < at-50*time.Millisecond || took > at+time.Second {
			t.Errorf("flow %d: %s %q after %v, want reset after %v", flows[i].N, o.Result, o.Reason, took, at)
		}
	}
	if got[0].Down == 0 {
		t.Error("of the held connection's answer nothing is counted")
	}
}
