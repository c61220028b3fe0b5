package run_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/record"
)

// Impaired links from the file to the record: every flow works, what was asked
// for was measured, and the run says how.
func TestLiveImpairedLinks(t *testing.T) {
	p := compile(t, fmt.Sprintf(lab, true, `links:
  access: {delay: 8ms, jitter: 1ms}
  backbone: {delay: geo}
  server: {delay: 200us}
impair:
  - {on: shop.1.wan, direction: up, loss: 2%, rate: 20Mbit}
traffic: [{id: same, from: shop.*.till, to: web, tcp: 80, flows: 5, response: 100KiB}, {id: ping, from: shop.*.till, to: web, icmp: 7, packets: 20, interval: 20ms}]`))
	r := live(t, p, run.Options{})
	for _, f := range r.Flows {
		if f.Traffic == "same" && f.Result != record.OK { // TCP makes up for what is lost
			t.Errorf("%+v", f)
		}
	}
	if w := r.Run.Features["wire"]; !strings.Contains(w, "userspace pump") {
		t.Errorf("the run says its wires are %q", w)
	}
	if want := 2 * (3 + 1 + 4); len(r.Run.Metrics.Wires) != want { // three access links, a backbone and four servers' links, each way
		t.Fatalf("%d directions measured, want %d", len(r.Run.Metrics.Wires), want)
	}
	for _, w := range r.Run.Metrics.Wires {
		t.Logf("%+v", w)
		if !strings.Contains(w.Link, "shop") {
			continue
		}
		asked, measured := time.Duration(w.Asked.P50Ns), time.Duration(w.Measured.P50Ns)
		if asked < 7*time.Millisecond || measured < asked-asked/50 || w.Saturated == "" && measured > asked+2*time.Millisecond {
			t.Errorf("%s to %s: asked %v, measured %v", w.From, w.To, asked, measured)
		}
		if w.Measured.N < w.Packets/20 {
			t.Errorf("%s to %s: %d of %d packets measured", w.From, w.To, w.Measured.N, w.Packets)
		}
		if (w.Lost > 0) != (w.From == "shop.1.router") {
			t.Errorf("%s to %s lost %d, want some from shop.1.router alone", w.From, w.To, w.Lost)
		}
	}
}
