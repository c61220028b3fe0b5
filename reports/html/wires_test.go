package html

import (
	"fmt"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/reports/record"
)

// TestImpaired: links that were not what was asked for come first, idle ones
// not at all, and what is left out is counted.
func TestImpaired(t *testing.T) {
	rec := &record.Records{Run: record.Run{Variant: "base"}}
	for i := range mostWires + 5 {
		w := record.Wire{From: fmt.Sprintf("shop.%d.router", i), To: "transit.lhr", Packets: 1000, Lost: 12, Asked: record.Times{N: 9, P50Ns: 4e6}, Measured: record.Times{N: 9, P50Ns: 41e5}}
		switch i {
		case 2:
			w.Packets = 0
		case mostWires + 4:
			w.Saturated = "half of the packets took 9ms longer than the 4ms asked"
		}
		rec.Run.Metrics.Wires = append(rec.Run.Metrics.Wires, w)
	}
	got := impaired([]*record.Records{rec, {Run: record.Run{Variant: "plain"}}})
	if len(got) != 1 || len(got[0].Rows) != mostWires || got[0].More != 4 {
		t.Fatalf("got %d runs, want one with %d links and 4 more", len(got), mostWires)
	}
	if first := got[0].Rows[0]; first.Saturated == "" {
		t.Errorf("the first is %s, want the one that is not as asked", first.From)
	}
	for i := range mostBusy + 2 {
		rec.Events = append(rec.Events, record.Event{Kind: "saturated", Node: fmt.Sprintf("lhr.%d", i), Text: "it waited"})
	}
	text := page1(t, &record.Results{Runs: []*record.Records{rec}})
	for _, want := range []string{"Links, asked and measured", "12 (1.2 %)", "4.10", "9ms longer than", "4 more in", "too busy for the lab.</b> lhr.0: it waited. lhr.1: it waited. lhr.2: it waited. And 2 more."} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// TestLate: beside round trips stands how much of them was the lab's own lateness.
func TestLate(t *testing.T) {
	rec := &record.Records{Run: record.Run{Scenario: "s", Variant: "base", Traffic: []string{"ask"}}}
	for n := range 3 {
		rec.Flows = append(rec.Flows, record.Flow{Traffic: "ask", N: n + 1, Client: "a", Server: "web", Result: record.OK, StartNs: int64(n) * 1e9, RTTNs: 43e6, EndNs: int64(n)*1e9 + 50e6})
	}
	rec.Run.Metrics.Late = map[string]*record.Late{"lhr.1": {LeastNs: 1, Moments: []record.LateMoment{{AtNs: 1.02e9, ForNs: 1.5e6}, {AtNs: 2.02e9, ForNs: 3.25e6}}}}
	got := timings([]*record.Records{rec}, []string{"ask"})
	if len(got) != 1 || got[0].Late != [2]int64{1.5e6, 3.25e6} {
		t.Fatalf("got %+v, want late by 1.5 and 3.25 ms", got)
	}
	text := page1(t, &record.Results{Runs: []*record.Records{rec}})
	for _, want := range []string{"Lab late", ">1.50<", ">3.25<"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
