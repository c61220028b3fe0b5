package plan_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// Addresses that everybody announces are in one block, those that only their own
// datacenter does in one each. SEMANTICS 5.6, SU-13.
func TestBlocks(t *testing.T) {
	for variant, want := range map[string]string{"base": "lhr iad nrt", "unicast": "iad"} {
		b := loadtest.Shipped(t, "egress_designs", variant).Blocks()[netip.MustParseAddr("198.51.100.1")]
		if got := strings.Join(b.From, " "); b.Prefix.String() != "198.51.100.0/24" || got != want {
			t.Errorf("%s: %v from %s, want it from %s", variant, b.Prefix, got, want)
		}
	}
}
