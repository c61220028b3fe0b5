package link_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/link"
	"github.com/homeward-lab/homeward/sim/packet"
)

// queue is a wire with packets that come at random, and how long they wait.
type queue struct {
	e     *engine.Engine
	pool  packet.Pool
	wire  *link.Wire
	rate  unit.BitRate
	rand  *rand.Rand
	gap   float64 // mean, ns
	size  func(*rand.Rand) int
	left  int
	at    map[packet.Handle]vt.Instant
	n     int
	waits float64 // ns
	took  float64
}

func (q *queue) Handle(ev engine.Event) {
	if ev.Kind() == kindSend {
		h, _ := q.pool.New(q.size(q.rand))
		q.at[h] = ev.At
		q.wire.Send(h)
		if q.left--; q.left > 0 {
			q.e.At(ev.At+vt.Instant(q.rand.ExpFloat64()*q.gap), 0, 1, kindSend, 0)
		}
		return
	}
	for more := true; more; {
		var h packet.Handle
		h, more = q.wire.Receive()
		service := q.rate.TxTime(unit.Bytes(len(q.pool.Data(h))))
		q.n++
		q.took += float64(service)
		q.waits += float64(ev.At.Sub(q.at[h]) - service)
		q.pool.Free(h)
	}
}

// A wire with a rate is a queue: with Poisson arrivals, packets wait as long as
// theory says, rho/(1-rho) mean service times where sizes are exponential (M/M/1),
// and half of that where they are equal (M/D/1).
func TestWaitingTimes(t *testing.T) {
	const rate, mean = 10_000_000, 200 // bits per second, bytes
	exponential := func(r *rand.Rand) int { return min(int(math.Ceil(r.ExpFloat64()*mean)), packet.Size) }
	equal := func(*rand.Rand) int { return mean }
	for _, load := range []float64{0.3, 0.6, 0.8} {
		for name, size := range map[string]func(*rand.Rand) int{"M/M/1": exponential, "M/D/1": equal} {
			q := &queue{e: engine.New(engine.Options{}), rate: rate, rand: rand.New(rand.NewPCG(11, 4)), size: size, left: 400_000, at: map[packet.Handle]vt.Instant{}}
			q.gap = mean * 8 * 1e9 / rate / load
			var err error
			q.wire, err = link.New(q.e, &q.pool, q.e.NewTimer(0, 2, kindArrive, 0), impair.Config{Rate: rate, Queue: 1 << 40}, impair.Stream{})
			if err != nil {
				t.Fatal(err)
			}
			q.e.At(0, 0, 1, kindSend, 0)
			if err := q.e.Run(q, engine.Horizon); err != nil {
				t.Fatal(err)
			}
			// Sizes are rounded up to bytes: what was drawn says how much was asked.
			service := q.took / float64(q.n)
			rho := service / q.gap
			want := service * rho / (1 - rho)
			if name == "M/D/1" {
				want /= 2
			}
			got := q.waits / float64(q.n)
			if q.n != 400_000 || math.Abs(got-want) > 0.02*want {
				t.Errorf("%s at load %.2f: %d packets wait %.1f us on average, want %.1f", name, rho, q.n, got/1e3, want/1e3)
			}
		}
	}
}

// Packets that come together leave one behind the other, each after the time that
// its bits take, to the nanosecond.
func TestSerialisation(t *testing.T) {
	for _, tt := range []struct {
		rate  unit.BitRate
		size  int
		first time.Duration // of one packet, by hand; 0: by big numbers alone
	}{
		{1_000_000_000, 1500, 12 * time.Microsecond},
		{10_000_000, 1500, 1200 * time.Microsecond},
		{64_000, 1000, 125 * time.Millisecond},
		{100_000_000_000, 64, 5},     // 5.12
		{3_000_000_000, 1500, 4000},  // exactly
		{7_000_000, 1499, 1_713_142}, // .857
		{999_999_937, 1, 8},          // .0000005
		{1, 2000, 16_000 * time.Second},
		{400_000_000_000, 2048, 40}, // .96
	} {
		t.Run(fmt.Sprint(tt.rate, tt.size), func(t *testing.T) {
			exact := new(big.Int).Div(big.NewInt(int64(tt.size)*8*int64(time.Second)), big.NewInt(int64(tt.rate)))
			if time.Duration(exact.Int64()) != tt.first {
				t.Fatalf("%d ns, by hand %d", exact, tt.first)
			}
			e, pool := engine.New(engine.Options{}), &packet.Pool{}
			const delay, n = 7 * time.Millisecond, 50
			w, err := link.New(e, pool, e.NewTimer(0, 2, kindArrive, 0), impair.Config{Rate: tt.rate, Delay: delay, Queue: 1 << 40}, impair.Stream{})
			if err != nil {
				t.Fatal(err)
			}
			for range n {
				h, _ := pool.New(tt.size)
				w.Send(h)
			}
			s := &arrivalsOf{e: e, pool: pool, wire: w}
			if err := e.Run(s, engine.Horizon); err != nil {
				t.Fatal(err)
			}
			for i, at := range s.at {
				if want := vt.Instant(delay) + vt.Instant(i+1)*vt.Instant(tt.first); at != want {
					t.Fatalf("packet %d arrives at %d ns, want %d", i+1, at, want)
				}
			}
			if len(s.at) != n {
				t.Errorf("%d arrived, want %d", len(s.at), n)
			}
		})
	}
}

// arrivalsOf notes when packets come out of a wire.
type arrivalsOf struct {
	e    *engine.Engine
	pool *packet.Pool
	wire *link.Wire
	at   []vt.Instant
}

func (s *arrivalsOf) Handle(ev engine.Event) {
	for more := true; more; {
		var h packet.Handle
		h, more = s.wire.Receive()
		s.at = append(s.at, ev.At)
		s.pool.Free(h)
	}
}
