package maxmin

import "math"

// exact is the solver by the book: all flows grow alike until a link is full, whose
// flows then stay as they are (progressive filling). It is the reference in tests
// and the answer where relaxing does not come to rest.
type exact struct {
	links  []int32
	flows  []Flow
	left   map[int32]float64 // capacity that is not given away
	open   map[int32]int     // flows of a link that still grow
	fixed  map[Flow]float64  // what a flow gets
	inPart map[int32]bool
}

// solve sets the levels of all links that hang together with some of these by
// flows, and touches all their flows.
func (n *Network) solve(from []int32) {
	s := &n.solver
	s.collect(n, from)
	for len(s.fixed) < len(s.flows) {
		s.grow(n)
	}
	// A link is a limit if it is full: then its level is its greatest rate.
	for _, l := range s.links {
		most, load := 0.0, 0.0
		for _, p := range n.on[l] {
			r := s.fixed[p.flow]
			load += r
			most = max(most, r)
		}
		n.level[l] = math.Inf(1)
		if load >= n.capacity[l]*(1-1e-9) {
			n.level[l] = most
		}
	}
}

// collect finds the part of the network that hangs together.
func (s *exact) collect(n *Network, from []int32) {
	s.links, s.flows = s.links[:0], s.flows[:0]
	s.left, s.open = map[int32]float64{}, map[int32]int{}
	s.fixed, s.inPart = map[Flow]float64{}, map[int32]bool{}
	enter := func(l int32) {
		if !s.inPart[l] {
			s.inPart[l] = true
			s.links = append(s.links, l)
			s.left[l], s.open[l] = n.capacity[l], len(n.on[l])
		}
	}
	for _, l := range from {
		enter(l)
	}
	met := map[Flow]bool{}
	for i := 0; i < len(s.links); i++ {
		for _, p := range n.on[s.links[i]] {
			if met[p.flow] {
				continue
			}
			met[p.flow] = true
			s.flows = append(s.flows, p.flow)
			n.touch(p.flow)
			for _, l := range n.flows[p.flow].links {
				enter(l)
			}
		}
	}
}

// grow fixes the flows that cannot grow further first: those that have what they
// want, or those of the link that is full first.
func (s *exact) grow(n *Network) {
	least, tight := math.Inf(1), int32(-1)
	for _, l := range s.links {
		if s.open[l] > 0 {
			if share := s.left[l] / float64(s.open[l]); share < least {
				least, tight = share, l
			}
		}
	}
	for _, id := range s.flows {
		f := &n.flows[id]
		if _, ok := s.fixed[id]; !ok && f.want <= least {
			s.fix(f, id, f.want)
			tight = -1
		}
	}
	if tight < 0 {
		return
	}
	for _, p := range n.on[tight] {
		if _, ok := s.fixed[p.flow]; !ok {
			s.fix(&n.flows[p.flow], p.flow, least)
		}
	}
}

func (s *exact) fix(f *flow, id Flow, rate float64) {
	s.fixed[id] = rate
	for _, l := range f.links {
		s.left[l] -= rate
		s.open[l]--
	}
}
