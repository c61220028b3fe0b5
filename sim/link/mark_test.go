package link_test

import (
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/link"
	"github.com/homeward-lab/homeward/sim/packet"
)

// heard notes what packets say of congestion as they come out of a wire.
type heard struct {
	pool *packet.Pool
	wire *link.Wire
	says []pkt.ECN
}

func (x *heard) Handle(engine.Event) {
	for more := true; more; {
		var h packet.Handle
		h, more = x.wire.Receive()
		x.says = append(x.says, pkt.ECNOf(x.pool.Head(h)))
		x.pool.Free(h)
	}
}

// A wire marks what waited too long and understands it, and counts that; the rest
// goes on as it is.
func TestWireMarks(t *testing.T) {
	e, pool := engine.New(engine.Options{}), &packet.Pool{}
	c := impair.Config{Rate: 8 * unit.Mbit, CEThreshold: 2*time.Millisecond - 1}
	w, err := link.New(e, pool, e.NewTimer(0, 2, kindArrive, 0), c, impair.Stream{})
	if err != nil {
		t.Fatal(err)
	}
	for _, ecn := range []pkt.ECN{pkt.ECT0, pkt.NotECT, pkt.ECT0, pkt.NotECT, pkt.ECT1, pkt.CE} {
		h, head := pool.NewZero(1000, pkt.IPv4Header)
		clear(head)
		head[0], head[1] = 0x45, byte(ecn)
		w.Send(h)
	}
	x := &heard{pool: pool, wire: w}
	if err := e.Run(x, engine.Horizon); err != nil {
		t.Fatal(err)
	}
	want := []pkt.ECN{pkt.ECT0, pkt.NotECT, pkt.CE, pkt.NotECT, pkt.CE, pkt.CE}
	if marked := w.Line().Counters().Marked; !slices.Equal(x.says, want) || marked != 3 {
		t.Errorf("%v came out, %d marked; want %v, 3", x.says, marked, want)
	}
}
