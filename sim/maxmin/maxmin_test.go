package maxmin

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/vt"
)

func draw(r *rand.Rand, links int) []int32 {
	all := r.Perm(links)[:1+r.IntN(min(links, 4))]
	way := make([]int32, len(all))
	for i, l := range all {
		way[i] = int32(l)
	}
	return way
}

// lawful checks the package's law for all flows.
func lawful(t *testing.T, n *Network, live []Flow, seed uint64) {
	t.Helper()
	const slack = 1e-9
	for l, c := range n.capacity {
		if load := n.Load(int32(l)); load > c*(1+slack) {
			t.Fatalf("seed %d: link %d carries %v of %v", seed, l, load, c)
		}
	}
	for _, id := range live {
		f := &n.flows[id]
		if f.rate >= f.want*(1-slack) && f.rate <= f.want*(1+slack) {
			continue
		}
		if f.rate > f.want {
			t.Fatalf("seed %d: flow %d has %v and wants %v", seed, id, f.rate, f.want)
		}
		held := false
		for _, l := range f.links {
			most := 0.0
			for _, p := range n.on[l] {
				most = max(most, n.flows[p.flow].rate)
			}
			held = held || n.Load(l) >= n.capacity[l]*(1-slack) && f.rate >= most*(1-slack)
		}
		if !held {
			t.Fatalf("seed %d: flow %d on %v has %v, and no link holds it there", seed, id, f.links, f.rate)
		}
	}
}

// TestSharesAreMaxMin changes networks at random.
func TestSharesAreMaxMin(t *testing.T) {
	for _, solve := range []bool{false, true} {
		for seed := range uint64(400) {
			r := rand.New(rand.NewPCG(seed, 1))
			capacity := make([]float64, 1+r.IntN(12))
			for i := range capacity {
				capacity[i] = float64(1 + r.IntN(20))
			}
			n, err := New(capacity)
			if err != nil {
				t.Fatal(err)
			}
			var live []Flow
			for range 60 {
				switch k := r.IntN(8); {
				case k < 5 || len(live) == 0:
					want := 0.0
					if r.IntN(3) == 0 {
						want = 0.5 + 3*r.Float64()
					}
					live = append(live, n.Add(draw(r, len(capacity)), want))
				case k < 7:
					i := r.IntN(len(live))
					n.Remove(live[i])
					live = append(live[:i], live[i+1:]...)
				default:
					n.SetCapacity(int32(r.IntN(len(capacity))), 1+20*r.Float64())
				}
				if r.IntN(3) == 0 {
					if solve {
						n.solve(n.todo)
					}
					n.Settle()
					lawful(t, n, live, seed)
				}
			}
		}
	}
}

// TestSettleSaysWhatChanged: a flow that is not named has the rate that it had.
func TestSettleSaysWhatChanged(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	n, err := New([]float64{10, 7, 3, 12})
	if err != nil {
		t.Fatal(err)
	}
	known := map[Flow]float64{}
	var live []Flow
	for range 500 {
		if len(live) < 3 || r.IntN(2) == 0 {
			id := n.Add(draw(r, 4), 0)
			live = append(live, id)
			known[id] = 0
		} else {
			i := r.IntN(len(live))
			n.Remove(live[i])
			delete(known, live[i])
			live = append(live[:i], live[i+1:]...)
		}
		for _, id := range n.Settle() {
			known[id] = n.Rate(id)
		}
		for id, rate := range known {
			if n.Rate(id) != rate {
				t.Fatalf("flow %d has %v, and %v was told", id, n.Rate(id), rate)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := New([]float64{1, c}); err == nil {
			t.Errorf("capacity %v was not refused", c)
		}
	}
}

// TestFluidArithmetic has ends that can be computed by hand: capacity 10; a of 20
// alone for a second, then with b of 5 which gets half and ends after another, then
// alone with the 5 that are left.
func TestFluidArithmetic(t *testing.T) {
	n, err := New([]float64{10})
	if err != nil {
		t.Fatal(err)
	}
	ends := NewFluid(n).Run([]Job{
		{Start: 0, Links: []int32{0}, Size: 20},
		{Start: vt.Instant(time.Second), Links: []int32{0}, Size: 5},
		{Start: vt.Instant(10 * time.Second), Links: []int32{0}, Size: 6, Want: 3},
	})
	for i, want := range []float64{2.5, 2, 12} {
		if math.Abs(ends[i]-want) > 1e-12 {
			t.Errorf("job %d ends at %v s, want %v", i, ends[i], want)
		}
	}
}

// TestFluidEqualsSmallSteps holds the events against a walk in steps of a
// millisecond.
func TestFluidEqualsSmallSteps(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	capacity := []float64{5, 8, 13, 4, 9}
	jobs := make([]Job, 60)
	at := vt.Instant(0)
	for i := range jobs {
		at = at.Add(time.Duration(r.IntN(300)) * time.Millisecond)
		jobs[i] = Job{Start: at, Links: draw(r, len(capacity)), Size: 0.5 + 3*r.ExpFloat64()}
	}
	n, _ := New(capacity)
	ends := NewFluid(n).Run(jobs)

	m, _ := New(capacity)
	left, flows := map[int]float64{}, map[int]Flow{}
	next := 0
	const step = 1e-3
	for now := 0.0; next < len(jobs) || len(left) > 0; now += step {
		for next < len(jobs) && float64(jobs[next].Start)/1e9 <= now+step/2 {
			left[next], flows[next] = jobs[next].Size, m.Add(jobs[next].Links, 0)
			next++
		}
		m.Settle()
		for i := range left {
			if left[i] -= m.Rate(flows[i]) * step; left[i] <= 0 {
				if got := ends[i]; math.Abs(got-now) > 0.05 {
					t.Errorf("job %d ends at %.3f s, small steps say %.3f", i, got, now)
				}
				m.Remove(flows[i])
				delete(left, i)
			}
		}
	}
}

// star is jobs between hosts that each have a link up and one down, as a loaded
// cluster has: Pareto sizes of 1 MB in the mean.
func star(hosts, jobs int, load float64) ([]float64, []Job) {
	r := rand.New(rand.NewPCG(1, 1))
	const capacity, mean = 125e6, 1e6
	links := make([]float64, 2*hosts)
	for i := range links {
		links[i] = capacity
	}
	all := make([]Job, jobs)
	at := 0.0
	for i := range all {
		at += r.ExpFloat64() / (load * capacity * float64(hosts) / mean)
		from, to := r.IntN(hosts), r.IntN(hosts-1)
		if to >= from {
			to++
		}
		size := mean / 3 * math.Pow(1-r.Float64(), -1/1.5)
		all[i] = Job{Start: vt.Instant(at * 1e9), Links: []int32{int32(from), int32(hosts + to)}, Size: size}
	}
	return links, all
}

func BenchmarkStar100(b *testing.B) {
	links, jobs := star(100, 20000, 0.7)
	for b.Loop() {
		n, err := New(links)
		if err != nil {
			b.Fatal(err)
		}
		NewFluid(n).Run(jobs)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(len(jobs)), "us/flow")
}
