package stat

import (
	"container/heap"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestMeanCovers: of 1,000 intervals at 95 % as many hold the truth, also of values
// that are far from normal.
func TestMeanCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for name, draw := range map[string]func() float64{
		"normal": r.NormFloat64, "uniform": func() float64 { return r.Float64() - 0.5 },
	} {
		held := 0
		for range 1000 {
			v := make([]float64, 12)
			for i := range v {
				v[i] = draw()
			}
			if e, err := Mean(v, 0.95); err != nil {
				t.Fatal(err)
			} else if e.Holds(0) {
				held++
			}
		}
		if held < 930 || held > 970 {
			t.Errorf("%s: %d of 1000 hold the truth, want 950 ± 20", name, held)
		}
	}
}

// autoregressive is a run whose values follow each other, around 0.
func autoregressive(r *rand.Rand, n int, memory float64) []float64 {
	v := make([]float64, n)
	last := r.NormFloat64() / math.Sqrt(1-memory*memory)
	for i := range v {
		last = memory*last + r.NormFloat64()
		v[i] = last
	}
	return v
}

// TestBatchesRefuseCorrelation: where batches are long, intervals hold as claimed;
// where they are short, they would not, and are refused.
func TestBatchesRefuseCorrelation(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	count := func(n int, memory float64) (given, held int) {
		for range 500 {
			e, err := Batches(autoregressive(r, n, memory), 0.95)
			if errors.Is(err, ErrCorrelated) {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			given++
			if e.Holds(0) {
				held++
			}
		}
		return given, held
	}
	if given, held := count(32*500, 0.9); given < 480 || float64(held) < 0.92*float64(given) {
		t.Errorf("long batches: %d of 500 given, %d of them right", given, held)
	}
	if given, _ := count(32*10, 0.98); given > 50 {
		t.Errorf("short batches of a long memory: %d of 500 given, want nearly none", given)
	}
}

func TestBatchesOfTheSame(t *testing.T) {
	e, err := Batches(slices.Repeat([]float64{3}, 1000), 0.95)
	if err != nil || e.Mean != 3 || e.Half != 0 {
		t.Errorf("%+v, %v; want 3 ± 0", e, err)
	}
	if _, err := Batches(make([]float64, 100), 0.95); !errors.Is(err, ErrFew) {
		t.Errorf("%v, want ErrFew", err)
	}
}

func TestWarmupCutsTheBeginning(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	v := make([]float64, 3000)
	for i := range v {
		v[i] = 10*math.Exp(-float64(i)/80) + r.NormFloat64()
	}
	cut, err := Warmup(v)
	if err != nil || cut < 100 || cut > 700 {
		t.Errorf("cut %d (%v), want some hundred: the beginning fades with 80", cut, err)
	}
	for i := range v {
		v[i] = float64(i)
	}
	if _, err := Warmup(v); !errors.Is(err, ErrFew) {
		t.Errorf("a run that never settles: %v, want ErrFew", err)
	}
}

// TestErlangBTable holds against published values (ITU-T, Teletraffic Engineering
// Handbook, table of Erlang's B formula).
func TestErlangBTable(t *testing.T) {
	for _, c := range []struct {
		places int
		load   float64
		want   float64
	}{{1, 1, 0.5}, {2, 1, 0.2}, {10, 4.4612, 0.01}, {100, 84.064, 0.01}, {5, 2.2185, 0.05}} {
		if got := ErlangB(c.places, c.load); math.Abs(got-c.want) > 1e-5 {
			t.Errorf("B(%d, %v) = %v, want %v", c.places, c.load, got, c.want)
		}
	}
}

type ends []float64

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, k int) bool { return e[i] < e[k] }
func (e ends) Swap(i, k int)      { e[i], e[k] = e[k], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(float64)) }
func (e *ends) Pop() any          { x := (*e)[len(*e)-1]; *e = (*e)[:len(*e)-1]; return x }

// TestErlangBIsWhatHappens: replicas of a loss system, whose intervals hold the
// formula as often as they claim.
func TestErlangBIsWhatHappens(t *testing.T) {
	const places, load, calls, replicas, studies = 10, 8.0, 500, 8, 1000
	r := rand.New(rand.NewPCG(5, 1))
	held := 0
	for range studies {
		values := make([]float64, replicas)
		for k := range values {
			values[k] = blocked(r, places, load, calls)
		}
		e, err := Mean(values, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		if e.Holds(ErlangB(places, load)) {
			held++
		}
	}
	if held < 930 || held > 970 {
		t.Errorf("%d of %d intervals hold Erlang's formula, want 950 ± 20", held, studies)
	}
}

// blocked is the share of calls that were refused, begun in the stationary state as
// far as a warm-up of some holding times makes it.
func blocked(r *rand.Rand, places int, load float64, calls int) float64 {
	var busy ends
	now, lost := 0.0, 0
	for i := -100; i < calls; i++ {
		now += r.ExpFloat64() / load
		for len(busy) > 0 && busy[0] <= now {
			heap.Pop(&busy)
		}
		if len(busy) < places {
			heap.Push(&busy, now+r.ExpFloat64())
		} else if i >= 0 {
			lost++
		}
	}
	return float64(lost) / float64(calls)
}
