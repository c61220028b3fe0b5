package run

import (
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

func TestSaturated(t *testing.T) {
	of := func(n int64, p50, p99 time.Duration) record.Times {
		return record.Times{N: n, P50Ns: int64(p50), P99Ns: int64(p99)}
	}
	const ms = time.Millisecond
	tests := []struct {
		name string
		w    record.Wire
		want string // in what is said; empty for nothing
	}{
		{"as asked", record.Wire{Asked: of(1000, 10*ms, 12*ms), Measured: of(900, 10*ms+ms/2, 14*ms)}, ""},
		{"nothing seen", record.Wire{Asked: of(1000, 10*ms, 12*ms)}, ""},
		{"lost unasked", record.Wire{Unasked: 3, Asked: of(9, ms, ms), Measured: of(9, ms, ms)}, "3 packets were lost"},
		{"late", record.Wire{Asked: of(1000, 10*ms, 10*ms), Measured: of(900, 12*ms, 13*ms)}, "half of the packets took 2ms longer than the 10ms asked"},
		{"a long tail", record.Wire{Asked: of(1000, 10*ms, 10*ms), Measured: of(900, 10*ms, 30*ms)}, "one packet in a hundred took 20ms longer"},
		{"the tail of few", record.Wire{Asked: of(20, 10*ms, 10*ms), Measured: of(20, 10*ms, 30*ms)}, ""},
		{"a long delay is measured less exactly", record.Wire{Asked: of(1000, 500*ms, 500*ms), Measured: of(900, 508*ms, 508*ms)}, ""},
	}
	for _, tt := range tests {
		if got := saturated(&tt.w); (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What a link that a fault made narrow refuses is asked for; what a pump misses, and
// what another link refuses, is not.
func TestUnasked(t *testing.T) {
	faults := []plan.Fault{{Fault: spec.Fault{Do: spec.LowerMTU}, Links: []string{"narrow"}}, {Fault: spec.Fault{Do: spec.Cut}, Links: []string{"wide"}}}
	for link, want := range map[string]int64{"narrow": 1, "wide": 8} {
		if got := unasked(faults, &pump.Count{Link: link, Missed: 1, Refused: 7}); got != want {
			t.Errorf("%s: %d lost unasked, want %d", link, got, want)
		}
	}
}
