package wire

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/homeward-lab/homeward/emu/netns"
)

// schedule is the order in which workers make nodes and links.
//
// A link holds the kernel's routing lock nearly all the time that it takes, a node
// nearly never: two workers at links, or two at nodes, take hardly less time than one,
// and one at each half of it. So one makes links of nodes that exist, as long as there
// are nodes for the others to make.
type schedule struct {
	b    *builder
	tell Progress

	mu      sync.Mutex
	changed sync.Cond // a node was made, or something failed
	next    int       // node to be made
	made    []bool    // nodes, as places
	links   []int     // to be made, as builder.of numbers them, by when their nodes are there
	linking bool      // somebody makes one
	failed  bool
	told    [2]int // nodes and links that are done
}

func newSchedule(b *builder, tell Progress) *schedule {
	s := &schedule{b: b, tell: tell, made: make([]bool, len(b.places))}
	s.changed.L = &s.mu
	for i := range len(b.links) + len(b.tunnels) {
		s.links = append(s.links, i)
	}
	slices.SortStableFunc(s.links, func(i, j int) int { return cmp.Compare(s.needs(i), s.needs(j)) })
	return s
}

// raise makes all nodes and links.
func (b *builder) raise(ctx context.Context, tell Progress) error {
	s := newSchedule(b, tell)
	total := len(b.places) + len(s.links)
	return Each(ctx, total, func(t *netns.Thread, _ int) error { return s.step(t) }, func(int) {})
}

// needs is the later one of the nodes of a link.
func (s *schedule) needs(link int) int {
	w := s.b.of(link)
	return max(w.a.node.number, w.b.node.number)
}

// step makes one node or one link.
func (s *schedule) step(t *netns.Thread) error {
	stage, i := s.take()
	var err error
	switch stage {
	case StageNodes:
		err = s.b.node(t, i)
	case StageLinks:
		err = s.b.pair(t, i)
	}
	s.done(stage, i, err)
	return err
}

// done notes what became of what take gave out.
func (s *schedule) done(stage string, i int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changed.Broadcast()
	switch {
	case err != nil:
		s.failed = true
	case stage == StageNodes:
		s.made[i] = true
		s.told[0]++
		s.tell(stage, s.told[0], len(s.b.places))
	case stage == StageLinks:
		s.linking = false
		s.told[1]++
		s.tell(stage, s.told[1], len(s.b.links)+len(s.b.tunnels))
	}
}

// take says what is to be made next: the stage, and which of it. It is none where
// somebody has failed.
func (s *schedule) take() (stage string, i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.failed {
		nodes := s.next < len(s.made)
		switch {
		case len(s.links) > 0 && s.ready(s.links[0]) && !(s.linking && nodes):
			i, s.links = s.links[0], s.links[1:]
			s.linking = true
			return StageLinks, i
		case nodes:
			s.next++
			return StageNodes, s.next - 1
		}
		s.changed.Wait() // the nodes of the next link are being made
	}
	return "", 0
}

func (s *schedule) ready(link int) bool {
	w := s.b.of(link)
	return s.made[w.a.node.number] && s.made[w.b.node.number]
}
