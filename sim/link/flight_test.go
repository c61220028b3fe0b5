package link

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/packet"
)

// A flight gives packets out by time, and those of one time as they went in,
// whatever the order in which they are put in and taken out.
func TestFlightOrder(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		f := flight{count: ^uint32(0) - 50} // it wraps around
		var want []arrival                  // in the order in which they must come out
		now := vt.Instant(0)
		for h := range packet.Handle(500) {
			at := now + vt.Instant(r.IntN(1+int(seed%7)*5))
			first := f.push(at, h+1)
			i := len(want)
			for i > 0 && want[i-1].at > at {
				i--
			}
			want = slices.Insert(want, i, arrival{at: at, h: h + 1})
			if first != (i == 0) {
				t.Fatalf("seed %d: packet %d is the next: %v, want %v", seed, h+1, first, i == 0)
			}
			for n := r.IntN(3); n > 0 && len(want) > 0; n-- {
				if f.len() != len(want) || f.next().at != want[0].at {
					t.Fatalf("seed %d: %d packets, the next at %v; want %d, %v", seed, f.len(), f.next().at, len(want), want[0].at)
				}
				now = want[0].at
				got, next := f.pop()
				if got != want[0].h {
					t.Fatalf("seed %d: packet %d, want %d", seed, got, want[0].h)
				}
				if want = want[1:]; (next == nil) != (len(want) == 0) || next != nil && next.h != want[0].h {
					t.Fatalf("seed %d: packet %+v is behind, want %v", seed, next, want)
				}
			}
		}
		for _, w := range want {
			if got, _ := f.pop(); got != w.h {
				t.Fatalf("seed %d: packet %d, want %d", seed, got, w.h)
			}
		}
		if f.next() != nil || f.len() != 0 {
			t.Errorf("seed %d: %d packets are left", seed, f.len())
		}
	}
}
