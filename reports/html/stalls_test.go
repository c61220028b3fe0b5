package html

import (
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/reports/record"
)

// Stalls are shown of runs in which something broke, each flow in its class.
func TestStalls(t *testing.T) {
	quiet := &record.Records{Flows: []record.Flow{{Traffic: "bulk", StallNs: 3e9}}}
	broken := &record.Records{Events: []record.Event{{Kind: "fault", Fault: "cut1"}}}
	broken.Run.Variant = "base"
	for _, ms := range []int64{49, 50, 999, 1000, 60000, 0} {
		broken.Flows = append(broken.Flows, record.Flow{Traffic: "bulk", StallNs: ms * 1e6})
	}
	broken.Flows = append(broken.Flows, record.Flow{Traffic: "other"})
	all := stalled([]*record.Records{quiet, broken}, []string{"bulk", "other"})
	if len(all) != 1 {
		t.Fatalf("got %+v, want bulk of the broken run alone", all)
	}
	if got, want := all[0].Classes, []int{1, 1, 0, 0, 1, 1, 0, 1}; !slices.Equal(got, want) || all[0].Total != 5 || all[0].Longest[3] != 60e9 {
		t.Errorf("got %+v, want classes %v", all[0], want)
	}
	if len(stallHeads()) != len(stallEdges)+1 {
		t.Error("a class has no name, or a name no class")
	}
}
