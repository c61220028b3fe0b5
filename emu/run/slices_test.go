package run

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/emu/probe"
	"github.com/homeward-lab/homeward/reports/record"
)

// A tap that did not see every packet is no witness that none left by a port of
// another's.
func TestSlicesNeedAWitness(t *testing.T) {
	for name, tt := range map[string]struct {
		count  probe.EgressCount
		flows  int
		want   string // in the error; empty means none
		events int
	}{
		"all seen":     {probe.EgressCount{Checked: 10}, 10, "", 0},
		"nothing sent": {probe.EgressCount{}, 0, "", 0},
		"outside":      {probe.EgressCount{Checked: 10, Outside: 2, First: netip.MustParseAddrPort("198.51.100.0:1")}, 10, "", 1},
		"overflow":     {probe.EgressCount{Checked: 9, Dropped: 1}, 10, "missed 1 packets", 0},
		"blind":        {probe.EgressCount{}, 10, "saw none of the packets of 10 flows", 0},
	} {
		sink := &record.Memory{}
		r := &runner{sink: sink}
		err := r.slices("lhr.1", tt.count, tt.flows)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
		if got := r.manifest.Metrics.PortOutsideSlice; got != tt.count.Outside {
			t.Errorf("%s: %d outside, want %d", name, got, tt.count.Outside)
		}
		if got := len(sink.Records().Events); got != tt.events {
			t.Errorf("%s: %d events, want %d", name, got, tt.events)
		}
	}
}
