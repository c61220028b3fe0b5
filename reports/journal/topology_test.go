package journal

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// A server's ports are told in as few words as they allow: its slice of
// neighbouring addresses, slices side by side, an IPv6 address whole.
func TestSliceTexts(t *testing.T) {
	address := func(text string, mine ...int) egress.Address {
		a := egress.Address{Addr: netip.MustParseAddr(text)}
		for _, k := range mine {
			a.Owner[k] = 7
		}
		return a
	}
	var all []int
	for k := 1; k < egress.Slices; k++ {
		all = append(all, k)
	}
	s := plan.Server{Config: hub.Config{Self: ident.Server(7), Egress: []egress.Address{
		address("198.51.100.0", 1), address("198.51.100.1", 1), address("198.51.100.2"), address("198.51.100.4", 3, 4, 31), address("2001:db8::1", all...),
	}}}
	want := []string{
		"198.51.100.0–1 ports 2048–4095", "198.51.100.4 ports 6144–10239", "198.51.100.4 ports 63488–65535", "2001:db8::1 ports 2048–65535",
	}
	if got := sliceTexts(s); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
