package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
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
		"no egress address":   {ID: "m", Do: spec.Move, On: move.To, To: move.On, Address: addr},
	} {
		if _, err := p.Fault(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// An address of IPv6 that moves is one server's whole, and edges route it to that as
// their datacenter learns; where all let go of it they drop it.
func TestMoveSix(t *testing.T) {
	s := withSix(overlapping())
	lhr, cdg := s.Datacenters[0].ID, s.Datacenters[1].ID
	s.Datacenters[0].Egress = append(s.Datacenters[0].Egress, spec.Egress{Prefix: prefix("2001:db8:900::/64"), Spare: true})
	s.Faults = []spec.Fault{
		{ID: "m", Do: spec.Move, On: lhr, To: cdg, Address: "2001:db8:100::2", Wait: 1_000_000_000},
		{ID: "r", Do: spec.Release, On: lhr, Address: "2001:db8:100::1"},
		{ID: "a", Do: spec.Allocate, On: cdg, Address: "2001:db8:900::1"},
	}
	p := compile(t, s)
	edge := func(dc string) *Node { n, _ := p.Node(dc + ".edge"); return n }
	by := func(n *Node, f *Fault, steps int) string {
		all := p.Rerouted(n, nil, func(string) bool { return false }, f.Moves[:steps])
		if len(all) != 1 || all[0].To != host(addr(f.Address)) {
			t.Fatalf("%s after %d steps of %s: %v, want a route to %s", n.ID, steps, f.ID, all, f.Address)
		}
		if len(all[0].Hops) == 0 {
			return "nobody"
		}
		if !all[0].Hops[0].Via.Is6() {
			t.Errorf("%v goes by %v", all[0].To, all[0].Hops)
		}
		return all[0].Hops[0].Interface
	}
	m, r, a := &p.Faults[0], &p.Faults[1], &p.Faults[2]
	closed := len(p.Datacenters) // each has learned that it will
	for _, tt := range []struct {
		dc    string
		fault *Fault
		steps int
		want  string
	}{
		{lhr, m, closed, lhr + "-2"}, {cdg, m, closed, lhr + "-edge"},
		{lhr, m, len(m.Moves), cdg + "-edge"}, {cdg, m, len(m.Moves), cdg + "-2"},
		{lhr, r, len(r.Moves), "nobody"}, {cdg, r, len(r.Moves), "nobody"},
		{lhr, a, len(a.Moves), cdg + "-edge"}, {cdg, a, len(a.Moves), cdg + "-1"},
	} {
		if got := by(edge(tt.dc), tt.fault, tt.steps); got != tt.want {
			t.Errorf("%s after %d steps of %s: by %s, want %s", tt.dc, tt.steps, tt.fault.ID, got, tt.want)
		}
	}
	for _, step := range slices.Concat(m.Moves, r.Moves, a.Moves) {
		if _, err := egress.NewDirectory([]egress.Address{step.Entry}); err != nil {
			t.Error(err)
		}
	}
}

// Moves at one time leave one another's what is taken alone.
func TestMovesAbreast(t *testing.T) {
	at := func(text string) hub.Held { return hub.Held{Egress: netip.MustParseAddrPort(text), Server: 1} }
	c := &hub.Config{}
	first := MoveStep{Entry: egress.Address{Addr: addr("198.51.100.1")}}
	second := MoveStep{Entry: egress.Address{Addr: addr("198.51.100.2")}}
	first.Apply(c, []hub.Held{at("198.51.100.1:2048")})
	second.Apply(c, []hub.Held{at("198.51.100.2:2048")})
	if first.Apply(c, []hub.Held{at("198.51.100.1:2049")}); len(c.Held) != 2 {
		t.Errorf("held is %v, want what was said last of each", c.Held)
	}
	second.Done = true
	if second.Apply(c, nil); len(c.Held) != 1 || c.Held[0].Egress.Addr() != first.Entry.Addr {
		t.Errorf("held is %v, want the first's alone", c.Held)
	}
}
