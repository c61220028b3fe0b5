package plan

import "time"

// position is where on earth something is; the zero value is nowhere known.
type position struct {
	lat, lon float64
	known    bool
}

// locate finds a code's position.
func locate(code string) position { return position{} }

// delay is the one-way delay between two positions, 0 where one is unknown.
func delay(from, to position) time.Duration { return 0 }
