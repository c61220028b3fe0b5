package maxmin

import (
	"math"

	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Job is a flow with an amount to carry.
type Job struct {
	Start vt.Instant
	// Links on its way, at least one and none twice.
	Links []int32
	// Size in the unit of capacities; above 0.
	Size float64
	// Want is the most it takes per second, 0 for all that it can get.
	Want float64
}

// Fluid carries jobs over a Network, each as fast as its share allows. Use
// NewFluid. It is not safe for concurrent use.
type Fluid struct {
	net  *Network
	now  float64 // seconds
	runs []run   // by Flow
	heap []Flow  // by the end that its rate gives, earliest first
}

type run struct {
	job  int
	left float64 // at since
	rate float64
	// since is the last time that rate changed, end when nothing will be left.
	since, end float64
	heap       int32 // place in the heap, -1 none
}

// NewFluid returns an empty Fluid over a Network that is not used otherwise.
func NewFluid(n *Network) *Fluid { return &Fluid{net: n} }

const second = 1e9

// Run carries jobs, which are in the order of their start, and returns when each
// has ended, in seconds from instant 0.
func (f *Fluid) Run(jobs []Job) (ends []float64) {
	ends = make([]float64, len(jobs))
	for next := 0; next < len(jobs) || len(f.heap) > 0; {
		start := math.Inf(1)
		if next < len(jobs) {
			start = float64(jobs[next].Start) / second
		}
		if len(f.heap) > 0 && f.runs[f.heap[0]].end <= start {
			id := f.heap[0]
			f.now = f.runs[id].end
			ends[f.runs[id].job] = f.now
			f.drop(id)
			f.net.Remove(id)
		} else {
			f.now = start
			j := jobs[next]
			id := f.net.Add(j.Links, j.Want)
			for int(id) >= len(f.runs) {
				f.runs = append(f.runs, run{})
			}
			f.runs[id] = run{job: next, left: j.Size, since: f.now, heap: -1}
			next++
		}
		for _, id := range f.net.Settle() {
			f.pace(id)
		}
	}
	return ends
}

// pace gives a flow the rate that it has now.
func (f *Fluid) pace(id Flow) {
	r := &f.runs[id]
	r.left -= float64(r.rate * (f.now - r.since)) // rounded apart, on any processor
	r.since, r.rate = f.now, f.net.Rate(id)
	r.end = f.now + max(r.left, 0)/r.rate
	if r.heap < 0 {
		r.heap = int32(len(f.heap))
		f.heap = append(f.heap, id)
	}
	f.rise(int(r.heap))
	f.sink(int(r.heap))
}

// before is the order of the heap; of flows that end together the lower place is
// first.
func (f *Fluid) before(a, b Flow) bool {
	x, y := f.runs[a].end, f.runs[b].end
	return x < y || x == y && a < b
}

func (f *Fluid) put(i int, id Flow) {
	f.heap[i] = id
	f.runs[id].heap = int32(i)
}

// The heap has four children to a node: less deep, and children lie together.
const arity = 4

func (f *Fluid) rise(i int) {
	id := f.heap[i]
	for ; i > 0 && f.before(id, f.heap[(i-1)/arity]); i = (i - 1) / arity {
		f.put(i, f.heap[(i-1)/arity])
	}
	f.put(i, id)
}

func (f *Fluid) sink(i int) {
	id := f.heap[i]
	for {
		first := arity*i + 1
		if first >= len(f.heap) {
			break
		}
		least := first
		for c := first + 1; c < min(first+arity, len(f.heap)); c++ {
			if f.before(f.heap[c], f.heap[least]) {
				least = c
			}
		}
		if !f.before(f.heap[least], id) {
			break
		}
		f.put(i, f.heap[least])
		i = least
	}
	f.put(i, id)
}

func (f *Fluid) drop(id Flow) {
	i, last := int(f.runs[id].heap), len(f.heap)-1
	moved := f.heap[last]
	f.heap = f.heap[:last]
	if i < last {
		f.put(i, moved)
		f.rise(i)
		f.sink(int(f.runs[moved].heap))
	}
	f.runs[id].heap = -1
}
