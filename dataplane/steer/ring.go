package steer

import (
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// Next is the server to ask for a port after self, which has none; 0 at the end of
// the ring. The ring are all live servers of the datacenter that have ports, the
// same on each of them, and the flow's hash names its start; the home comes before
// all.
func Next(ring []ident.Server, home, self ident.Server, hash uint64) ident.Server {
	start := flow.Mix(hash) % uint64(max(len(ring), 1))
	asked := home == self
	for i := range ring {
		switch s := ring[(int(start)+i)%len(ring)]; {
		case s == home:
		case asked:
			return s
		case s == self:
			asked = true
		}
	}
	return 0
}
