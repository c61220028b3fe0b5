package impair

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

type arrival struct {
	at   vt.Instant
	size int
}

const ms = vt.Instant(time.Millisecond)

func arrivals(t *rapid.T, gap int64) []arrival {
	var all []arrival
	now := vt.Instant(0)
	for range rapid.IntRange(1, 60).Draw(t, "packets") {
		now += vt.Instant(rapid.Int64Range(0, gap).Draw(t, "gap"))
		if rapid.Bool().Draw(t, "on the millisecond") {
			now = (now + ms - 1) / ms * ms
		}
		all = append(all, arrival{now, rapid.IntRange(1, 4000).Draw(t, "size")})
	}
	return all
}

// The transmitter, exactly: fractions instead of nanoseconds, and a queue that
// is a list.
func TestRateIsThatOfAnExactQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Int64Range(1000, 2e9).Draw(t, "rate")
		limit := rapid.Int64Range(1, 20000).Draw(t, "queue")
		in := arrivals(t, 40000*int64(time.Second)*8/rate/10)
		l, err := New(Config{Rate: unit.BitRate(rate), Queue: unit.Bytes(limit)}, Stream{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		idle := new(big.Rat) // seconds
		for i, p := range in {
			now := big.NewRat(int64(p.at), int64(time.Second))
			fate := l.Send(p.at, p.size)
			waiting := new(big.Rat) // bytes before it
			if idle.Cmp(now) > 0 {
				waiting.Sub(idle, now).Mul(waiting, big.NewRat(rate, 8))
			} else {
				idle.Set(now)
			}
			after := new(big.Rat).Add(waiting, big.NewRat(int64(p.size), 1))
			// Nanoseconds are rounded, so within as many bytes as they carry both
			// answers are right: where nothing seems to wait, and at the limit.
			slack := 1 + float64(i+1)*float64(rate)/8e9
			over, _ := after.Sub(after, big.NewRat(limit, 1)).Float64()
			before, _ := waiting.Float64()
			full := fate.End == Overflow
			if full && (before == 0 || over < -slack) || !full && before > slack && over > slack {
				t.Fatalf("packet %d of %d bytes at %v: %v bytes wait, %v over the limit, got %+v", i, p.size, p.at, before, over, fate)
			}
			if full {
				continue
			}
			idle.Add(idle, big.NewRat(int64(p.size)*8, rate))
			want, _ := idle.Float64()
			if off := float64(fate.At) - want*1e9; off > 1 || off < -float64(i+2) {
				t.Fatalf("packet %d leaves at %v, want %v s", i, fate.At, want)
			}
		}
	})
}

// mahimahi is what its link queue does: at each opportunity the packets at the
// head of the queue get bytes, whole opportunities only if somebody waits.
func mahimahi(trace []uint32, in []arrival, limit int64) []vt.Instant {
	type waiting struct{ i, left int }
	const dropped = -1
	out := make([]vt.Instant, len(in))
	var queue []waiting
	left := map[int]int64{} // capacity of an opportunity that has been handed out
	arrive := 0
	for k, done := 0, 0; done < len(in); k++ {
		at := vt.Instant(int64(k/len(trace))*int64(trace[len(trace)-1])+int64(trace[k%len(trace)])) * ms
		for arrive < len(in) && in[arrive].at <= at {
			// What waits by the time this packet arrives, less what the current
			// opportunity has taken of it already: all bytes not delivered before.
			bytes := int64(0)
			for _, w := range queue {
				bytes += int64(w.left)
			}
			if bytes > 0 && bytes+int64(in[arrive].size) > limit {
				out[arrive] = dropped
				done++
			} else {
				queue = append(queue, waiting{arrive, in[arrive].size})
			}
			arrive++
		}
		left[k] = int64(TraceBytes)
		for len(queue) > 0 && left[k] > 0 {
			used := min(left[k], int64(queue[0].left))
			queue[0].left -= int(used)
			left[k] -= used
			if queue[0].left == 0 {
				out[queue[0].i] = at
				queue = queue[1:]
				done++
			}
		}
	}
	return out
}

func TestTraceIsMahimahis(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		trace := &Trace{}
		last := uint32(0)
		for range rapid.IntRange(1, 8).Draw(t, "opportunities") {
			last += rapid.SampledFrom([]uint32{0, 1, 1, 3, 10}).Draw(t, "step")
			trace.times = append(trace.times, last)
		}
		if last == 0 {
			trace.times[len(trace.times)-1] = 1
		}
		in := arrivals(t, int64(4*time.Millisecond))
		limit := rapid.Int64Range(4001, 12000).Draw(t, "queue")
		if rapid.Bool().Draw(t, "no limit") {
			limit = 1 << 40
		}
		l, err := New(Config{Trace: trace, Queue: unit.Bytes(limit)}, Stream{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range mahimahi(trace.times, in, limit) {
			f := l.Send(in[i].at, in[i].size)
			got := f.At
			if f.End == Overflow {
				got = -1
			}
			if got != want {
				t.Fatalf("packet %d of %+v on %v with queue %d: got %d, want %d", i, in[i], trace.times, limit, got, want)
			}
		}
	})
}
