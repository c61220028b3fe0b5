package run

import (
	"testing"

	"github.com/homeward-lab/homeward/reports/record"
)

// An address that a datacenter gives up goes on under the flows that have it and
// is given to no new one; a spare one that it takes is. SEMANTICS 5.2.
func TestAllocateAndRelease(t *testing.T) {
	const given, taken = "198.51.100.1", "198.51.100.4"
	r := run(t, planOf(t, "address_move", "given_up"), Options{})
	had, spare := 0, 0
	for _, f := range r.Flows {
		late := f.Traffic == "after_london" || f.Traffic == "after_paris"
		switch {
		case f.Result != record.OK:
			t.Errorf("%s %d: %s (%s)", f.Traffic, f.N, f.Result, f.Reason)
		case late && f.EgressIP == given:
			t.Errorf("%s %d left as %s, which is nobody's", f.Traffic, f.N, given)
		case late && f.EgressIP == taken:
			spare++
		case f.EgressIP == given:
			had++
		case !late && f.Traffic != "during" && f.EgressIP == taken:
			t.Errorf("%s %d left as %s before that was anybody's", f.Traffic, f.N, taken)
		}
	}
	if had == 0 || spare == 0 {
		t.Errorf("%d flows had the address, %d got the spare one: want some of each", had, spare)
	}
}
