package impair

import (
	"fmt"
	"math/bits"
	"testing"
)

// Known answers of Random123 (kat_vectors, philox4x32 10 rounds).
func TestPhilox(t *testing.T) {
	tests := []struct {
		c    [4]uint32
		k    [2]uint32
		want string
	}{
		{[4]uint32{}, [2]uint32{}, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"},
		{[4]uint32{^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0)}, [2]uint32{^uint32(0), ^uint32(0)}, "408f276d 41c83b0e a20bc7c6 6d5451fd"},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0}, "d16cfe09 94fdcceb 5001e420 24126ea1"},
	}
	for _, tt := range tests {
		x := philox(tt.c, tt.k)
		if got := fmt.Sprintf("%08x %08x %08x %08x", x[0], x[1], x[2], x[3]); got != tt.want {
			t.Errorf("philox(%x, %x) = %s, want %s", tt.c, tt.k, got, tt.want)
		}
	}
}

// Seed, link, direction, purpose and number each make another draw: half of the
// bits differ.
func TestStreamsAreApart(t *testing.T) {
	base := NewStream(7, "a-b", AB)
	first, _ := base.draw(forLoss, 0)
	others := map[string]func() (uint64, uint64){
		"seed":      func() (uint64, uint64) { return NewStream(8, "a-b", AB).draw(forLoss, 0) },
		"link":      func() (uint64, uint64) { return NewStream(7, "a-c", AB).draw(forLoss, 0) },
		"direction": func() (uint64, uint64) { return NewStream(7, "a-b", BA).draw(forLoss, 0) },
		"purpose":   func() (uint64, uint64) { return base.draw(forJitter, 0) },
		"number":    func() (uint64, uint64) { return base.draw(forLoss, 1) },
		"high word": func() (uint64, uint64) { return base.draw(forLoss, 1<<32) },
	}
	for name, draw := range others {
		if other, _ := draw(); bits.OnesCount64(first^other) < 16 {
			t.Errorf("another %s: %x and %x", name, first, other)
		}
	}
	if again, _ := NewStream(7, "a-b", AB).draw(forLoss, 0); again != first {
		t.Errorf("the same draw is %x and %x", first, again)
	}
}
