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
		default:
			p.Free(h)
			delete(want, h)
		}
	}
	for h, b := range want {
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
