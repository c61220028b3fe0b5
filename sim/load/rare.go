package load

import (
	"fmt"
	"math"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/sim/stat"
)

// Blocking that is too rare to wait for is found by splitting (RESTART,
// Villén-Altamirano 1991): whenever more ports are taken than for some time, the run
// is continued several times from there, each by chance of its own, until it is back;
// what those see counts for as much less. No threshold makes the mean wrong, a good
// one makes it sure: these are chosen so that about one of splitFactor visits to each
// goes on to the next.
const (
	splitFactor = 4
	mostSplits  = 40
	// often is the share of tries that plain runs see well.
	often      = 1e-3
	mostTrials = 2_000_000
)

// Rare is what a Group did, by splitting: as Played has it, but each count is a
// weighted sum whose mean is the count's.
type Rare struct {
	Flows, Tries, Refused, Lost []float64
	Peak, Ports                 int
	// Share is the part of all flows that was played.
	Share float64
	// Trials are how many continuations there were.
	Trials int
}

// PlayRare plays it once by splitting: Only servers, each by itself where none takes
// over from another. It is a pure function of the Group.
func (g *Group) PlayRare() (*Rare, error) {
	n := len(g.Rate)
	out := &Rare{Flows: make([]float64, n), Tries: make([]float64, n), Refused: make([]float64, n), Lost: make([]float64, n)}
	servers := max(g.Servers, 1)
	if g.OnExhaustion == hub.ExhaustionAnotherServer {
		return out, g.splitOne(out)
	}
	if g.Only > 0 {
		servers = min(g.Only, servers)
	}
	for i := range servers {
		one := *g
		one.alone = i + 1
		one.Seed, _ = newStream(g.Seed, fmt.Sprint("server ", i)).words(forSite, 0)
		if err := one.splitOne(out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// splitOne adds one run and all its continuations.
func (g *Group) splitOne(out *Rare) error {
	main, err := g.game()
	if err != nil {
		return err
	}
	main.begin()
	s := &splitting{Group: g, out: out, marks: main.marks()}
	s.weights = []float64{1}
	for range s.marks {
		s.weights = append(s.weights, s.weights[len(s.weights)-1]/splitFactor)
	}
	out.Share, out.Ports = out.Share+main.share, main.out.Ports
	todo := []trial{{game: main}}
	for len(todo) > 0 {
		last := len(todo) - 1
		t := todo[last]
		todo = s.run(t, todo[:last])
		if out.Trials > mostTrials {
			return fmt.Errorf("more than %d continuations of a group with %.4g Erlang at %d ports: want a shorter run", mostTrials, g.most()*main.share*g.Mean, main.out.Ports)
		}
	}
	return nil
}

// trial is a run from some moment on, which ends when it is below its mark.
type trial struct {
	*game
	mark int // 0: never
	in   int // the region that it is in: marks passed
}

type splitting struct {
	*Group
	out     *Rare
	marks   []int
	weights []float64 // by region
}

// run plays a trial to its end, and adds those that it begins.
func (s *splitting) run(t trial, todo []trial) []trial {
	todo = s.rise(&t, todo)
	for {
		from := t.interval
		more := t.step()
		s.harvest(&t, from)
		now := s.region(t.level())
		if !more || now < t.mark {
			return todo
		}
		t.in = min(t.in, now)
		todo = s.rise(&t, todo)
	}
}

// rise begins continuations for each mark that a trial has passed.
func (s *splitting) rise(t *trial, todo []trial) []trial {
	reached := s.region(t.level())
	for t.in < reached {
		t.in++
		for range splitFactor - 1 {
			s.out.Trials++
			todo = append(todo, trial{t.clone(newStream(s.Seed, fmt.Sprint("continuation ", s.out.Trials))), t.in, t.in})
		}
	}
	return todo
}

func (s *splitting) region(level int) int {
	n := 0
	for n < len(s.marks) && level >= s.marks[n] {
		n++
	}
	return n
}

// harvest takes over what a step counted, with the weight of where it began.
func (s *splitting) harvest(t *trial, from int) {
	w := s.weights[t.in]
	for k := from; k <= min(t.interval, len(s.Rate)-1); k++ {
		for _, x := range []struct {
			to   []float64
			from []int
		}{{s.out.Flows, t.out.Flows}, {s.out.Tries, t.out.Tries}, {s.out.Refused, t.out.Refused}, {s.out.Lost, t.out.Lost}} {
			x.to[k] += w * float64(x.from[k])
			x.from[k] = 0
		}
	}
	s.out.Peak = max(s.out.Peak, t.out.Peak)
}

// level is how near a game is to refusing: ports taken, of what refuses first.
func (p *game) level() int {
	switch p.OnExhaustion {
	case hub.ExhaustionAnotherServer:
		return p.all
	case hub.ExhaustionRefuse:
		most := 0
		for k := range p.pool {
			most = max(most, p.ledgers[0].Taken(k))
		}
		return most
	}
	return p.taken[0]
}

// bound is what refuses first: its load in Erlang, and its ports.
func (p *game) bound() (load float64, ports int) {
	load, ports = p.most()*p.share*p.Mean, p.out.Ports
	switch p.OnExhaustion {
	case hub.ExhaustionAnotherServer:
		return load, ports * p.played
	case hub.ExhaustionRefuse:
		load, ports = load/float64(p.pool), ports/p.pool
	}
	return load / float64(p.played), ports
}

// marks are the levels at which to split, by the share of time that each would be
// reached in if none was refused: a Poisson number of flows, cut at what there is.
func (p *game) marks() []int {
	load, ports := p.bound()
	if load == 0 {
		return nil
	}
	above := make([]float64, ports+2) // share of time, by ports taken or more
	for n := ports; n >= 0; n-- {
		gamma, _ := math.Lgamma(float64(n + 1))
		above[n] = above[n+1] + math.Exp(float64(n)*math.Log(load)-load-gamma)
	}
	var marks []int
	want := 1.0 / splitFactor
	for n := 0; n <= ports && len(marks) < mostSplits; n++ {
		if above[n] <= want*above[0] {
			marks = append(marks, n)
			for want*above[0] >= above[n] {
				want /= splitFactor
			}
		}
	}
	return marks
}

// clone is the game as it is, with other chance from now on.
func (p *game) clone(chance stream) *game {
	c := *p
	c.chance = chance
	c.ledgers = slices.Clone(p.ledgers)
	for i, l := range c.ledgers {
		c.ledgers[i] = l.Clone()
	}
	c.taken, c.later, c.wheel = slices.Clone(p.taken), slices.Clone(p.later), p.wheel.clone()
	n := len(p.Rate)
	c.out.Flows, c.out.Tries, c.out.Refused, c.out.Lost = make([]int, n), make([]int, n), make([]int, n), make([]int, n)
	c.ready = c.free
	return &c
}

// certain is Played as a Rare, each count for itself.
func (p *Played) certain() *Rare {
	whole := func(all []int) []float64 {
		out := make([]float64, len(all))
		for i, x := range all {
			out[i] = float64(x)
		}
		return out
	}
	return &Rare{Flows: whole(p.Flows), Tries: whole(p.Tries), Refused: whole(p.Refused), Lost: whole(p.Lost), Peak: p.Peak, Ports: p.Ports, Share: p.Share}
}

// rarely says whether splitting is worth its time: where chance refuses often, a plain
// run sees it.
func (g *Group) rarely() bool {
	main, err := g.game()
	if err != nil {
		return false
	}
	load, ports := main.bound()
	return stat.ErlangB(ports, load) < often
}
