package packet_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/homeward-lab/homeward/sim/packet"
)

// TestPool: over many random allocations every packet keeps its bytes and mark.
func TestPool(t *testing.T) {
	var p packet.Pool
	r := rand.New(rand.NewPCG(1, 2))
	want := map[packet.Handle][]byte{}
	for range 20_000 {
		switch h := any1(want); {
		case r.IntN(4) == 0: // zeros that are a number
			b := make([]byte, r.IntN(packet.Size+1))
			h, head := p.NewZero(len(b), r.IntN(min(len(b), 200)+1))
			for i := range head {
				head[i] = 9
			}
			copy(b, head)
			p.Mark(h, uint32(len(b)))
			want[h] = b
		case h == 0 || r.IntN(3) > 0:
			b := bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(packet.Size+1))
			h := p.Make(b)
			if _, twice := want[h]; twice || h == 0 {
				t.Fatalf("handle %d is in use", h)
			}
			p.Mark(h, uint32(len(b)))
			want[h] = b
		case r.IntN(4) == 0:
			want[p.Copy(h)] = want[h]
		case r.IntN(3) == 0:
			n := r.IntN(min(100, packet.Size-len(want[h])) + 1)
			copy(p.Push(h, n), bytes.Repeat([]byte{7}, n))
			want[h] = append(bytes.Repeat([]byte{7}, n), want[h]...)
			p.Mark(h, uint32(len(want[h])))
		case r.IntN(2) == 0:
			from := r.IntN(len(want[h]) + 1)
			to := from + r.IntN(len(want[h])-from+1)
			p.Keep(h, from, to)
			want[h] = want[h][from:to]
			p.Mark(h, uint32(to-from))
		default:
			p.Free(h)
			delete(want, h)
		}
	}
	for h, b := range want {
		if head := p.Head(h); p.Len(h) != len(b) || !bytes.HasPrefix(b, head) {
			t.Fatalf("packet %d has %d bytes, beginning with %x", h, p.Len(h), head)
		}
		if !bytes.Equal(p.Data(h), b) || p.Flow(h) != uint32(len(b)) {
			t.Fatalf("packet %d changed", h)
		}
		p.Free(h)
	}
	if p.Live() != 0 {
		t.Errorf("%d packets live", p.Live())
	}
}

func any1(m map[packet.Handle][]byte) packet.Handle {
	for h := range m {
		return h
	}
	return 0
}

// What a packet has no room for, or does not have, is a mistake that would mix
// packets up.
func TestBounds(t *testing.T) {
	var p packet.Pool
	h := p.Make(make([]byte, 100))
	for name, f := range map[string]func(){
		"new":       func() { p.New(packet.Size + 1) },
		"push":      func() { p.Push(h, packet.Size-99) },
		"keep more": func() { p.Keep(h, 0, 101) },
		"backwards": func() { p.Keep(h, 50, 49) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestFreedTwice(t *testing.T) {
	var p packet.Pool
	h := p.Make([]byte{1})
	p.Free(h)
	defer func() {
		if recover() == nil {
			t.Error("a packet is freed twice")
		}
	}()
	p.Free(h)
}

func TestNoAllocations(t *testing.T) {
	var p packet.Pool
	p.Free(p.Make(nil))
	if n := testing.AllocsPerRun(100, func() { p.Free(p.Make([]byte{1, 2, 3})) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
