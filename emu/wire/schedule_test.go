package wire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Whatever order workers finish in, each node and link is given out once, no link
// before its nodes are there, and only one at a time while there are nodes to make.
func TestScheduleGivesOutWhatCanBeMade(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		b := &builder{}
		for i := range 20 {
			b.places = append(b.places, newPlace(&plan.Node{}, i))
		}
		for range 30 {
			b.links = append(b.links, pair{a: side{node: b.places[random.IntN(20)]}, b: side{node: b.places[random.IntN(20)]}})
		}
		var told []string
		s := newSchedule(b, func(stage string, done, total int) { told = append(told, fmt.Sprint(stage, done, total)) })
		type work struct {
			stage string
			i     int
		}
		var now []work // what workers are at
		given := map[work]int{}
		for range len(b.places) + len(b.links) {
			// A worker that would have to wait for another one is not asked.
			for len(now) == workers || s.next == len(s.made) && !s.ready(s.links[0]) {
				k := random.IntN(len(now))
				s.done(now[k].stage, now[k].i, nil)
				now = slices.Delete(now, k, k+1)
			}
			nodesLeft := s.next < len(s.made)
			w := work{}
			w.stage, w.i = s.take()
			given[w]++
			if w.stage == StageLinks {
				if l := b.of(w.i); !s.made[l.a.node.number] || !s.made[l.b.node.number] {
					t.Fatalf("seed %d: link %d before its nodes", seed, w.i)
				}
				if nodesLeft && slices.ContainsFunc(now, func(o work) bool { return o.stage == StageLinks }) {
					t.Fatalf("seed %d: two links at a time, with nodes to make", seed)
				}
			}
			now = append(now, w)
		}
		for _, w := range now {
			s.done(w.stage, w.i, nil)
		}
		if len(given) != 50 {
			t.Fatalf("seed %d: %d different things given out, want 20 nodes and 30 links", seed, len(given))
		}
		if len(told) != 50 || !slices.Contains(told, "nodes20 20") || !slices.Contains(told, "links30 30") {
			t.Fatalf("seed %d: told %v", seed, told)
		}
	}
}

// A node that cannot be made ends the work of all workers, also of one that waits for it.
func TestBuildEndsWhereANodeFails(t *testing.T) {
	need.Root(t)
	for _, failing := range []int{0, 1, 5, 9} {
		p := &plan.Plan{Scenario: "line"}
		for i := range 10 {
			p.Nodes = append(p.Nodes, plan.Node{ID: fmt.Sprint("n", i)})
			if i > 0 {
				p.Links = append(p.Links, plan.Link{ID: fmt.Sprint("l", i), MTU: 1500,
					A: plan.Endpoint{Node: fmt.Sprint("n", i-1), Interface: "right"}, B: plan.Endpoint{Node: fmt.Sprint("n", i), Interface: "left"}})
			}
		}
		broken := errors.New("broken")
		spaces := make([]*netns.NS, len(p.Nodes))
		err := Build(context.Background(), p, func(t *netns.Thread, i int) (ns *netns.NS, err error) {
			if i == failing {
				return nil, broken
			}
			spaces[i], err = t.New()
			return spaces[i], err
		}, nil)
		if !errors.Is(err, broken) {
			t.Errorf("node %d fails: got %v, want its error", failing, err)
		}
		for _, ns := range spaces {
			if ns != nil {
				ns.Close()
			}
		}
	}
}
