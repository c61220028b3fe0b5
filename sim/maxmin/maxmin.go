// Package maxmin shares the capacity of links among flows: max-min fairness,
// which is what long TCP transfers come to in the mean, without their packets.
//
// Its law (Bertsekas, Gallager: Data Networks, 6.5): no link carries more than its
// capacity, and every flow that does not have all it asks for crosses a link that
// is full and on which no other flow has more.
package maxmin

import (
	"fmt"
	"math"
	"slices"
)

// Flow is a flow by its place; a place is given again after Remove.
type Flow int32

// Network is links and the flows on them. Use New. It is not safe for concurrent
// use.
//
// Every link has a level: what a flow gets there that gets less nowhere else. A
// flow's rate is the least level on its way. When something changes, the levels of
// the links concerned are computed again from those of their flows' other links,
// until none moves: a handful of links, where solving all that hang together would
// be hundreds. If they do not come to rest soon, the exact solver says.
type Network struct {
	capacity []float64
	level    []float64 // +Inf where the link is not full
	on       [][]place // the flows of each link
	flows    []flow
	free     []Flow
	todo     []int32 // links to look at again
	queued   []bool
	touched  []Flow // whose rate may be another
	solver   exact
}

// place is a flow on a link: its number, and which link of its way that is.
type place struct {
	flow Flow
	hop  int32
}

type flow struct {
	links []int32
	at    []int32 // its place in the list of each link
	want  float64
	rate  float64
	mark  bool // in touched
}

// near is how close two levels are that count as one.
const near = 1e-12

// New returns links of these capacities, in any unit per second.
func New(capacity []float64) (*Network, error) {
	n := &Network{
		capacity: slices.Clone(capacity), level: make([]float64, len(capacity)),
		on: make([][]place, len(capacity)), queued: make([]bool, len(capacity)),
	}
	for i, c := range capacity {
		if !(c > 0) || math.IsInf(c, 0) {
			return nil, fmt.Errorf("link %d has capacity %v, want a number above 0", i, c)
		}
		n.level[i] = math.Inf(1)
	}
	return n, nil
}

// Add puts a flow on links, of which there is at least one and none twice. It
// wants at most a rate, 0 for all that it can get.
func (n *Network) Add(links []int32, want float64) Flow {
	if want == 0 {
		want = math.Inf(1)
	}
	id := Flow(len(n.flows))
	if last := len(n.free) - 1; last >= 0 {
		id, n.free = n.free[last], n.free[:last]
	} else {
		n.flows = append(n.flows, flow{})
	}
	f := &n.flows[id]
	f.links, f.at, f.want, f.rate = append(f.links[:0], links...), f.at[:0], want, 0
	for hop, l := range f.links {
		f.at = append(f.at, int32(len(n.on[l])))
		n.on[l] = append(n.on[l], place{id, int32(hop)})
		n.look(l)
	}
	n.touch(id)
	return id
}

// Remove takes a flow away.
func (n *Network) Remove(id Flow) {
	f := &n.flows[id]
	for hop, l := range f.links {
		list := n.on[l]
		last := list[len(list)-1]
		list[f.at[hop]] = last
		n.flows[last.flow].at[last.hop] = f.at[hop]
		n.on[l] = list[:len(list)-1]
		n.look(l)
	}
	f.links = f.links[:0]
	f.rate = 0
	n.free = append(n.free, id)
}

// SetCapacity changes a link's.
func (n *Network) SetCapacity(link int32, c float64) {
	n.capacity[link] = c
	n.look(link)
}

// Rate is a flow's, as of the last Settle.
func (n *Network) Rate(id Flow) float64 { return n.flows[id].rate }

// Load is what a link carries, as of the last Settle.
func (n *Network) Load(link int32) float64 {
	sum := 0.0
	for _, p := range n.on[link] {
		sum += n.flows[p.flow].rate
	}
	return sum
}

func (n *Network) look(link int32) {
	if !n.queued[link] {
		n.queued[link] = true
		n.todo = append(n.todo, link)
	}
}

func (n *Network) touch(id Flow) {
	if f := &n.flows[id]; !f.mark {
		f.mark = true
		n.touched = append(n.touched, id)
	}
}

// Settle shares anew after any number of changes, and returns the flows whose rate
// is another now, in no order that means anything. The slice is good until the
// next change.
func (n *Network) Settle() []Flow {
	seeds := len(n.todo)
	most := 64*seeds + 8*len(n.capacity)
	for i := 0; i < len(n.todo); i++ {
		if i > most {
			n.solve(n.todo[i:])
			break
		}
		n.relax(n.todo[i], i < seeds)
	}
	for _, l := range n.todo {
		n.queued[l] = false
	}
	n.todo = n.todo[:0]
	changed := n.touched[:0]
	for _, id := range n.touched {
		f := &n.flows[id]
		f.mark = false
		if len(f.links) == 0 {
			continue // removed
		}
		rate := f.want
		for _, l := range f.links {
			rate = min(rate, n.level[l])
		}
		if math.Abs(f.rate-rate) > near*rate {
			f.rate = rate
			changed = append(changed, id)
		}
	}
	n.touched = n.touched[:0]
	return changed
}

// relax computes a link's level again. If it moved, so may those of the links
// that its flows share with others.
func (n *Network) relax(link int32, seed bool) {
	n.queued[link] = false
	was, is := n.level[link], n.fill(link)
	moved := was != is && !(math.Abs(was-is) <= near*min(was, is))
	if moved {
		n.level[link] = is
	}
	if !moved && !seed {
		return
	}
	for _, p := range n.on[link] {
		n.touch(p.flow)
		if !moved {
			continue
		}
		for _, l := range n.flows[p.flow].links {
			// A link whose level is below both counts on neither.
			if l != link && n.level[l] >= min(was, is)*(1-near) {
				n.look(l)
			}
		}
	}
}

// fill is the level at which a link is full, +Inf if its flows do not fill it:
// those that get less elsewhere have that, and the others equal parts of the rest.
func (n *Network) fill(link int32) float64 {
	flows := n.on[link]
	if len(flows) == 0 {
		return math.Inf(1)
	}
	level := n.capacity[link] / float64(len(flows))
	for {
		rest, others := n.capacity[link], len(flows)
		for _, p := range flows {
			if d := n.elsewhere(p, link); d < level*(1-near) {
				rest -= d
				others--
			}
		}
		if others == 0 {
			return math.Inf(1)
		}
		// Rising levels find more flows that get less elsewhere, never fewer.
		next := rest / float64(others)
		if next <= level*(1+near) {
			return next
		}
		level = next
	}
}

// elsewhere is what a flow would get if this link were no limit.
func (n *Network) elsewhere(p place, link int32) float64 {
	f := &n.flows[p.flow]
	d := f.want
	for _, l := range f.links {
		if l != link {
			d = min(d, n.level[l])
		}
	}
	return d
}
