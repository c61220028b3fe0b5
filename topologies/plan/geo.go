package plan

import (
	"time"

	"github.com/homeward-lab/homeward/topologies/place"
)

// position is where on earth something is; the zero value is nowhere known.
type position struct {
	place.Place
	known bool
}

// locate finds a code's position.
func locate(code string) position {
	p, ok := place.Lookup(code)
	return position{p, ok}
}

// mark writes a position into a node.
func (p position) mark(n Node, code string) Node {
	n.Place, n.Lat, n.Lon = code, p.Lat, p.Lon
	return n
}

// delay is the one-way delay between two positions, 0 where one is unknown. It
// is whole microseconds, because the last bits of a sine differ by processor
// and a plan must not.
func delay(from, to position) time.Duration {
	if !from.known || !to.known {
		return 0
	}
	return place.Delay(from.Place, to.Place).Round(time.Microsecond)
}
