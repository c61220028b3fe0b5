package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// TestMove: who learns what of an address that moves, and when; flows begin in the
// new place when all know, and who had it says first what is taken (SEMANTICS 5.2).
func TestMove(t *testing.T) {
	s := overlapping()
	s.Datacenters[1].Propagation = 300_000_000
	addr := s.Datacenters[0].Egress[0].Prefix.Addr().String()
	move := spec.Fault{ID: "m", Do: spec.Move, On: s.Datacenters[0].ID, To: s.Datacenters[1].ID, Address: addr, Wait: 1_000_000_000}
	s.Faults = []spec.Fault{move}
	p := compile(t, s)
	steps := p.Faults[0].Moves
	var opens, hands time.Duration
	for i, step := range steps {
		own, was := step.Entry.Owner != [egress.Slices]ident.Server{}, step.Entry.Was != [egress.Slices]ident.Server{}
		if !own || was == step.Done || i > 0 && step.At < steps[i-1].At {
			t.Errorf("step %d: %+v", i, step)
		}
		switch {
		case step.Hands:
			hands = step.At
			if steps[i+1].Datacenter != move.To || steps[i+1].Entry.Closed {
				t.Errorf("after who had it comes %+v, want who has it", steps[i+1])
			}
		case step.Datacenter == move.To && !step.Entry.Closed && !step.Done:
			opens = step.At
		}
	}
	if hands != 300*time.Millisecond || opens != hands || steps[len(steps)-1].At != hands+time.Second {
		t.Errorf("handed over at %v, opened at %v, over at %v", hands, opens, steps[len(steps)-1].At)
	}
	for want, f := range map[string]spec.Fault{
		"no other datacenter": {ID: "m", Do: spec.Move, On: move.On, To: move.On, Address: addr},
		"selects no":          {ID: "m", Do: spec.Move, On: "nowhere", To: move.To, Address: addr},
		"no IPv4 egress":      {ID: "m", Do: spec.Move, On: move.To, To: move.On, Address: addr},
	} {
		if _, err := p.Fault(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
