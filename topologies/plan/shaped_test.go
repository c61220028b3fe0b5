package plan

import (
	"testing"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// A rate alone is the kernel's if it is so high that what differs cannot be told
// apart; all else, and what may become more while a lab is up, is the pump's.
func TestShaped(t *testing.T) {
	fast := spec.Impairment{Rate: 500 * unit.Mbit}
	for _, tt := range []struct {
		name             string
		link             Link
		shaped, impaired bool
	}{
		{"a plain wire", Link{}, false, false},
		{"both ways", Link{AB: fast, BA: fast}, true, false},
		{"one way", Link{AB: fast}, true, false},
		{"one way slower", Link{AB: fast, BA: spec.Impairment{Rate: 499 * unit.Mbit}}, false, true},
		{"with a delay", Link{AB: spec.Impairment{Rate: 500 * unit.Mbit, Delay: spec.Delay{Fixed: 1}}}, false, true},
		{"with a delay back", Link{AB: fast, BA: spec.Impairment{Delay: spec.Delay{Fixed: 1}}}, false, true},
		{"with loss", Link{AB: spec.Impairment{Rate: unit.Gbit, Loss: 0.01}}, false, true},
		{"with a queue", Link{AB: spec.Impairment{Rate: unit.Gbit, Queue: 256 << 10}}, true, false},
		{"with a queue shorter than a superpacket", Link{AB: spec.Impairment{Rate: unit.Gbit, Queue: 60000}}, false, true},
		{"to be impaired", Link{AB: fast, Pumped: true}, false, true},
		{"with a tag", Link{AB: fast, VLAN: 7}, false, true},
	} {
		if tt.link.Shaped() != tt.shaped || tt.link.Impaired() != tt.impaired {
			t.Errorf("%s: shaped %v, impaired %v, want %v, %v", tt.name, tt.link.Shaped(), tt.link.Impaired(), tt.shaped, tt.impaired)
		}
	}
}
